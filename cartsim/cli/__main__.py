"""``python -m cartsim.cli`` is the command ``cartsim``."""

from cartsim.cli import command

if __name__ == "__main__":  # not in a second process
    command()
