"""What decides an endpoint: elasticities, tornado, Sobol and eFAST indices, responders against the others."""
