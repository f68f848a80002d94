"""``python -m cartsim.cli`` is the command ``cartsim``."""

from cartsim.cli import main

main()
