"""cartsim: virtual trials of anti-BCMA CAR-T cell therapy."""

__version__ = "0.1.0"
