"""cartsim: virtual trials of anti-BCMA CAR-T cell therapy."""
