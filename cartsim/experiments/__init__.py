"""Questions asked of many simulations or trials: grids, doses, regimens, plausible patients."""
