"""Estimates of a population found from what trials published: priors, likelihood of aggregates, search, sampling."""
