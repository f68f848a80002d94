"""Where cartsim keeps what it can make again: generated code, machine code, unit-check marks."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path


def cache_dir() -> Path:
    """The folder for cached files, made if need be.

    ``$CARTSIM_CACHE`` if set, else ``cartsim`` in the user's cache folder, else (when that cannot be
    written, as in a locked-down container) a folder of the user's own in the temporary directory.
    """
    chosen = os.environ.get("CARTSIM_CACHE")
    for folder in (Path(chosen) if chosen else _user_cache() / "cartsim", _temporary()):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="cartsim-"))


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local").expanduser()
    if sys.platform == "darwin":
        return Path("~/Library/Caches").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


def _temporary() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"cartsim-{user}"
