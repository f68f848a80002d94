"""The version of cartsim."""

__version__ = "0.1.0"
