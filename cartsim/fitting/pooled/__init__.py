"""Estimation by maximum likelihood on pooled data, with priors from earlier fits."""
