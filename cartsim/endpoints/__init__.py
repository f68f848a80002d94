"""Endpoints: pure functions of arrays and tables, which know nothing of simulation."""
