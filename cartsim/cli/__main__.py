"""``python -m cartsim.cli`` is the command ``cartsim``."""

from cartsim.cli import main

if __name__ == "__main__":  # not in a second process
    main()
