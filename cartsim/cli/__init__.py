"""The command line: cartsim trial, simulate, models, show, judge, respond and nca."""

from cartsim.cli.app import app, main

__all__ = ["app", "main"]
