"""What cartsim can make again and keeps in the user's cache folder: machine code, marks of checked units.

Machine code that is loaded is run, so that only what this user wrote is believed: the folder and each entry belong to
the user and nobody else can write them, and an entry is one file that begins with its checksum. Whatever is damaged,
foreign or out of reach counts as absent, and is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SUFFIX = ".cartsim"
PART = ".cartsim-part"  # an entry that is being written, or was when its process died
LARGEST = 2**28  # bytes of an entry; a kernel has less than 2**20
LIMIT = 2**30  # bytes of all entries
UNUSED = 90 * 86400.0  # seconds after which an entry is removed
ABANDONED = 3600.0  # seconds after which nobody goes on writing a part


def cache_dir() -> Path:
    """The folder for cached files, made if need be: ``$CARTSIM_CACHE``, else ``cartsim`` in the user's cache folder.

    Raises
    ------
    OSError
        No such folder can be made, or it is not the user's own. Nothing can be kept then.
    """
    chosen = os.environ.get("CARTSIM_CACHE")
    folder = Path(chosen).absolute() if chosen else _user_cache() / "cartsim"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{str(folder)!r} is a symbolic link")
    if not _ours(found):
        raise PermissionError(f"{str(folder)!r} belongs to another user")
    if _loose(found):
        if found.st_mode & stat.S_ISVTX:  # /tmp, for root: closing it would break the machine
            raise PermissionError(f"{str(folder)!r} is shared with other users")
        folder.chmod(stat.S_IMODE(found.st_mode) & ~0o022)
    return folder


def read(name: str) -> bytes | None:
    """The content of an entry, or None if there is none that can be believed."""
    try:
        path = cache_dir() / f"{name}{SUFFIX}"
        with open(path, "rb", buffering=0, opener=_open_plainly) as file:
            found = os.fstat(file.fileno())
            if not (stat.S_ISREG(found.st_mode) and _ours(found) and not _loose(found) and found.st_size <= LARGEST):
                return None
            whole = file.read()
    except OSError:
        return None
    checksum, content = whole[:32], whole[32:]
    if checksum != _checksum(name, content):
        return None
    if time.time() - found.st_mtime > 86400:
        with contextlib.suppress(OSError):
            os.utime(path)  # the time of its last use, to a day
    return content


def write(name: str, content: bytes) -> None:
    """Keep an entry, whole or not at all; what stands in its place is replaced.

    Raises
    ------
    OSError
        It cannot be kept: no folder of the user's own, no room, a read-only disk.
    """
    folder = cache_dir()
    handle, part = tempfile.mkstemp(suffix=PART, dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_checksum(name, content))
            file.write(content)
        path = folder / f"{name}{SUFFIX}"
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        os.replace(part, path)
    except BaseException:  # Ctrl-C too
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
    _prune(folder)


def _user_cache() -> Path:
    place = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    default = {"win32": "~/AppData/Local", "darwin": "~/Library/Caches"}.get(sys.platform, "~/.cache")
    chosen = None if sys.platform == "darwin" else os.environ.get(place)
    try:
        return Path(chosen or default).expanduser().absolute()
    except RuntimeError:  # a container's user without a name and without $HOME
        raise FileNotFoundError("there is no home folder") from None


def _ours(found: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or found.st_uid == os.geteuid()


def _loose(found: os.stat_result) -> bool:
    """Whether others may write it; Windows does not tell by these bits."""
    return sys.platform != "win32" and bool(found.st_mode & 0o022)


def _open_plainly(path: str, flags: int) -> int:
    """No symbolic link is followed, and no pipe waited for."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _checksum(name: str, content: bytes) -> bytes:
    """Of the name too, so that an entry under another's name is not believed."""
    checksum = hashlib.sha256(name.encode() + b"\n")
    checksum.update(content)
    return checksum.digest()


def _prune(folder: Path) -> None:
    """Remove what was long not used, what exceeds the limit (least recently used first) and abandoned parts."""
    now, total = time.time(), 0
    for path, found in sorted(_entries(folder), key=lambda entry: entry[1].st_mtime, reverse=True):
        total += found.st_size
        part = path.suffix == PART
        if now - found.st_mtime > (ABANDONED if part else UNUSED) or (total > LIMIT and not part):
            with contextlib.suppress(OSError):
                path.unlink()


def _entries(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The files of this module; whatever else lies in the folder is left alone."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith((SUFFIX, PART)):
                with contextlib.suppress(OSError):  # another process was faster
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(found.st_mode):
                        yield Path(entry.path), found
