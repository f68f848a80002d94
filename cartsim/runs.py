"""Work done in pieces: generated one by one, shared among threads, kept in a run folder, gone on with when interrupted.

A run is so many items (patients of arms, cells of a grid), in pieces of items START to STOP - 1. With a checkpoint, a
folder that may serve many runs, each run has its own folder ``KIND-KEY`` there::

    trial-0f3a5c.../manifest.json                what is run, to read: nothing is read from it
    trial-0f3a5c.../part_0_2000.npz              one finished piece
    trial-0f3a5c.../part_2000_4000.npz

The key is the SHA-256 of all that the results depend on, as canonical JSON: format, kind, versions, the package's
code, chunk, total and the inputs (see `describe`). Another model, seed or version is another key and another folder.

Work of steps that each go on from the last keeps its state in the same way (see `Trail`).

A part is an npz archive, not compressed, of plain arrays (``allow_pickle=False``): ``about``, UTF-8 JSON as bytes with
``key``, ``start``, ``stop``, the ``names`` of the arrays and ``checksum``; then ``array_0``, ``array_1``, ... in the
order of the names. The checksum is the SHA-256 of key, start, stop and of name, type, shape and bytes of each array.
A part is read only if its key, range, checksum and lengths are right; any other is named on stderr and computed again.
So a part that is damaged, cut short, swapped or of another run does no harm, and no part can run code. Whoever may
write into the folder can still make up a part with a right checksum: let nobody do so whose results you do not trust.

Parts are written beside and renamed, so several processes may fill one run folder.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypedDict, TypeVar

from cartsim import memory
from cartsim.errors import InputError, brief, check_kind, say
from cartsim.files import tidy, write_whole
from cartsim.threads import in_threads, threads
from cartsim.version import __version__

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

T = TypeVar("T")

FORMAT = 1
PATIENT = 50e-6  # s on one core, about: one patient simulated over two years and judged
TOO_LONG = 365.25 * 86400  # s
# Columns that are no arrays, by pandas' name of their type, and what may stand in them.
_LISTED = {"object": (str,), "str": (str,), "string": (str, type(None)), "boolean": (bool, type(None))}


class Running(TypedDict, total=False):
    """How long work is done, as for `cartsim.Trial.run`: threads, whether a bar is shown, a folder to go on from."""

    n_jobs: int
    progress: bool
    checkpoint: str | Path | None


class Work(Protocol[T]):
    """What a run does. Results go into a part as arrays, and come back from it equal to the last bit."""

    def __call__(self, start: int, stop: int) -> T:
        """Do items start..stop-1."""

    def pack(self, result: T) -> Arrays:
        """The result as arrays of plain types."""

    def unpack(self, arrays: Arrays, n: int) -> T:
        """The result again; any exception if these arrays are not that of n items."""


class ArrayWork:
    """Work that gives arrays by name, each with an entry an item; the base of such work."""

    def pack(self, result: Arrays) -> Arrays:
        return result

    def unpack(self, arrays: Arrays, n: int) -> Arrays:
        for name, values in arrays.items():
            if values.shape[:1] != (n,):
                raise ValueError(f"{name} has shape {values.shape} for {n} items")
        return arrays


@dataclass(frozen=True)
class Kept:
    """Where finished pieces are kept. folder: of the checkpoint; kind: of the run, a word; inputs: see `describe`."""

    folder: str | Path
    kind: str
    inputs: Mapping[str, Any]


def run_pieces(
    work: Work[T] | Callable[[int, int], T],
    blocks: Sequence[int],
    chunk: int,
    *,
    what: str,
    n_jobs: int = -1,
    progress: bool = False,
    kept: Kept | None = None,
) -> Iterator[T]:
    """``work(start, stop)`` for all items, piece by piece, the results in order.

    blocks: numbers of items that no piece reaches across (the patients of each arm), numbered on from 0. chunk: items
        of a piece. what: name of the items. n_jobs: threads, -1 for all cores. kept: without it any function will do.

    Pieces are made when a thread is free for them: there may be any number. Raises `InputError`, before any work, for a
    chunk below 1, n_jobs of 0, inputs that cannot be described and a folder that cannot be written.
    """
    check_work(chunk, n_jobs)
    parts = None if kept is None else _open(kept, chunk, sum(blocks))
    return _results(work, blocks, chunk, what, n_jobs, progress, parts)


class Trail:
    """The latest state of work whose steps each go on from what the one before left.

    The state after ``done`` steps is the part 0 to ``done``, and takes the place of that before. Without ``kept``
    nothing is kept. Raises `InputError` as `run_pieces`.
    """

    def __init__(self, kept: Kept | None) -> None:
        self._parts = None if kept is None else _open(kept, 1, 0)

    def latest(self, unpack: Callable[[Arrays], T]) -> tuple[int, T | None]:
        """How many steps are done, and the state after them as ``unpack`` gives it; 0 and None to begin with."""
        for stop in self._stops():
            found = None if self._parts is None else self._parts.of(lambda arrays, _: unpack(arrays), 0, stop)
            if self._parts is not None and found is not None:
                say(f"{stop} steps taken from {self._parts.folder}")
                return stop, found[0]
        return 0, None

    def keep(self, done: int, pack: Callable[[], Arrays]) -> None:
        """Keep the state after ``done`` steps, and no other."""
        if self._parts is None:
            return
        earlier = [stop for stop in self._stops() if stop != done]
        self._parts.write(pack(), 0, done)
        for stop in earlier:
            self._parts.path(0, stop).unlink(missing_ok=True)

    def _stops(self) -> list[int]:
        """After how many steps there is a state, the latest first."""
        if self._parts is None:
            return []
        names = [path.stem.removeprefix("part_0_") for path in self._parts.folder.glob("part_0_*.npz")]
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def check_work(chunk: Any, n_jobs: Any) -> None:
    """Raise `InputError` unless both are whole numbers that a run can have."""
    whole = hasattr(chunk, "__index__") and hasattr(n_jobs, "__index__")
    if not whole or chunk < 1 or n_jobs == 0:
        raise InputError(
            f"chunks of {brief(chunk)}, {brief(n_jobs)} jobs; give 1 or more of both, or -1 jobs for all cores"
        )


def pieces(blocks: Sequence[int], chunk: int) -> Iterator[tuple[int, int]]:
    """Start and stop of every piece, in order."""
    first = 0
    for n in blocks:
        for start in range(first, first + n, chunk):
            yield start, min(start + chunk, first + n)
        first += n


def joined(results: Iterator[Arrays]) -> Arrays:
    """The arrays of all pieces put together."""
    import numpy as np

    found = list(results)
    return {name: np.concatenate([result[name] for result in found]) for name in found[0]}


def check_size(
    n: int, what: str, *, kept: int, working: int = 0, at_once: int = 1, seconds: float = PATIENT, n_jobs: int = 1
) -> None:
    """Raise `InputError` for what this machine cannot hold or would not end within a year.

    n items named ``what``; kept: bytes that stay of all; working: bytes that each takes while it is worked on,
    ``at_once`` in each of ``n_jobs`` threads; seconds: of one item on one core.
    """
    cores = threads(n_jobs)
    size, place = kept + working * min(n, at_once * cores), memory.available()
    takes = n * int(seconds * 1e9) // (1_000_000_000 * cores)  # whole numbers have no largest one
    if (place is None or size <= place) and takes <= TOO_LONG:
        return
    free = "" if place is None else f" ({place / 1e9:.0f} are free)"
    on = f"{cores} core{'s' if cores > 1 else ''}"
    raise InputError(
        f"{_count(n)} {what} would take {_count(-(-size // 10**9))} GB of memory{free} "
        f"and {_duration(takes)} on {on}, about; ask for fewer, or keep less of each"
    )


# --- what a run is ------------------------------------------------------------------------------------


def describe(value: Any) -> Any:
    """Inputs as what JSON can say, equal for equal inputs in every process and on every machine.

    Numbers, texts, lists, mappings, arrays and frames (large ones by their SHA-256), and cartsim's own frozen
    objects by their fields, or by what their method ``inputs`` returns. Raises `InputError` for anything else, such as
    a function: it cannot be known whether it is the same the next time.
    """
    import numpy as np
    import pandas as pd

    if value is None or isinstance(value, (bool, str)) or type(value) is int:
        return value
    if isinstance(value, Enum):
        return [type(value).__name__, value.name]
    if isinstance(value, (np.bool_, np.integer, np.floating)):
        return describe(value.item())
    if type(value) is float:
        return value if math.isfinite(value) else ["float", repr(value)]
    if isinstance(value, (tuple, list)):
        return [describe(each) for each in value]
    if isinstance(value, Mapping):
        if all(isinstance(name, str) for name in value):
            return {name: describe(each) for name, each in value.items()}
        return ["mapping", *([describe(name), describe(each)] for name, each in value.items())]
    if isinstance(value, np.ndarray):
        return _describe_array(value)
    if isinstance(value, pd.DataFrame):
        columns = {str(name): describe(value[name].to_numpy()) for name in value}
        return {"frame": columns, "index": describe(value.index.to_numpy())}
    kind = type(value)
    if is_dataclass(value) and not isinstance(value, type) and kind.__module__.partition(".")[0] == "cartsim":
        own = value.inputs() if hasattr(value, "inputs") else {f.name: getattr(value, f.name) for f in fields(value)}
        return {kind.__name__: describe(own)}
    raise InputError(
        f"checkpoint: it cannot be told whether {_brief(value)} will be the same the next time; "
        "use cartsim's own objects, or run without a checkpoint"
    )


def _describe_array(array: NDArray[Any]) -> Any:
    import numpy as np

    if array.dtype.kind in "biufU":
        if array.size <= 16 and array.ndim == 1:
            return [array.dtype.str, describe(array.tolist())]
        digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
        return {"array": array.dtype.str, "shape": list(array.shape), "sha256": digest}
    text = json.dumps(describe(array.tolist()))
    return {"array": "text", "shape": list(array.shape), "sha256": hashlib.sha256(text.encode()).hexdigest()}


@cache
def _versions() -> dict[str, str]:
    """Of what the numbers are computed with. The code too: a version is not renewed with each edit."""
    here = Path(__file__).parent
    code = hashlib.sha256()
    for path in sorted(here.rglob("*.py")):
        code.update(str(path.relative_to(here).as_posix()).encode() + b"\0" + path.read_bytes())
    found = {name: version(name) for name in ("numpy", "numba", "scipy")}
    return {"cartsim": __version__, "code": code.hexdigest()} | found


# --- the run folder -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Parts:
    """The parts of one run."""

    folder: Path
    key: str

    def path(self, start: int, stop: int) -> Path:
        return self.folder / f"part_{start}_{stop}.npz"

    def read(self, work: Work[T], start: int, stop: int) -> tuple[T] | None:
        """The result of a piece, or None if it is not there or not right, which is said."""
        return self.of(work.unpack, start, stop)

    def of(self, unpack: Callable[[Arrays, int], T], start: int, stop: int) -> tuple[T] | None:
        """What ``unpack`` makes of a part and its number of items, or None if it is not there or not right."""
        path = self.path(start, stop)
        if not os.path.lexists(path):
            return None
        try:
            return (unpack(self._arrays(path, start, stop), stop - start),)
        except Exception as error:  # whatever is wrong with a file, the piece can be computed again
            say(f"{path}: {' '.join(str(error).split()) or type(error).__name__}; it is computed again")
            return None

    def _arrays(self, path: Path, start: int, stop: int) -> Arrays:
        import numpy as np

        if not path.is_file() or not zipfile.is_zipfile(path):
            raise ValueError("not a part of a run")
        with np.load(path, allow_pickle=False) as file:
            if any(info.compress_type != zipfile.ZIP_STORED for info in file.zip.infolist()):
                raise ValueError("compressed, as no part is")  # little can then unfold into more than memory holds
            about = json.loads(file["about"].tobytes())
            if about["key"] != self.key:
                raise ValueError("of another run")
            if (about["start"], about["stop"]) != (start, stop):
                raise ValueError(f"holds {about['start']} to {about['stop']}")
            arrays = {name: file[f"array_{k}"] for k, name in enumerate(about["names"])}
        if about["checksum"] != _checksum(self.key, start, stop, arrays):
            raise ValueError("damaged, its checksum is wrong")
        return arrays

    def write(self, arrays: Arrays, start: int, stop: int) -> None:
        import numpy as np

        about = {
            "key": self.key,
            "start": start,
            "stop": stop,
            "names": list(arrays),
            "checksum": _checksum(self.key, start, stop, arrays),
        }
        numbered = {f"array_{k}": values for k, values in enumerate(arrays.values())}

        def save(path: Path) -> None:
            with path.open("wb") as file:
                np.savez(file, about=as_bytes(about), **numbered)  # type: ignore[arg-type]

        write_whole(self.path(start, stop), save)


def _open(kept: Kept, chunk: int, total: int) -> _Parts:
    check_kind("the checkpoint", kept.folder, (str, Path), "a folder")
    run, key = _identity(kept, chunk, total)
    folder = Path(kept.folder) / f"{kept.kind}-{key[:16]}"
    text = json.dumps({"key": key, **run}, indent=1) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "manifest.json", lambda path: path.write_text(text, "utf-8"))
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(f"checkpoint folder {kept.folder}: {why}; choose one that is writable") from None
    tidy(folder)
    return _Parts(folder, key)


def _identity(kept: Kept, chunk: int, total: int) -> tuple[dict[str, Any], str]:
    """All that the results of a run depend on, and its key."""
    run = {
        "format": FORMAT,
        "kind": kept.kind,
        "versions": _versions(),
        "chunk": chunk,
        "total": total,
        "inputs": describe(kept.inputs),
    }
    return run, hashlib.sha256(json.dumps(run, allow_nan=False).encode()).hexdigest()


def refuse_other(kept: Kept) -> None:
    """Raise `InputError` where the folder has another `Trail` of this kind and not this one, naming what differs.

    For a folder that is of one piece of work, which another would otherwise begin beside it.
    """
    check_kind("the checkpoint", kept.folder, (str, Path), "a folder")
    run, key = _identity(kept, 1, 0)
    others = sorted(Path(kept.folder).glob(f"{kept.kind}-*/manifest.json"))
    if not others or any(path.parent.name == f"{kept.kind}-{key[:16]}" for path in others):
        return
    try:
        other = json.loads(others[0].read_text("utf-8"))
        inputs = {**run["inputs"], "version of cartsim or its code": run["versions"]}
        known = {**other["inputs"], "version of cartsim or its code": other["versions"]}
        names = [name for name in inputs if json.loads(json.dumps(inputs[name])) != known.get(name)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        names = []
    differ = f"other {', '.join(names)}" if names else "other inputs"
    raise InputError(f"{kept.folder} holds a {kept.kind} with {differ}; choose another folder, or remove it")


def _checksum(key: str, start: int, stop: int, arrays: Arrays) -> str:
    import numpy as np

    found = hashlib.sha256(json.dumps([key, start, stop]).encode())
    for name, values in arrays.items():
        if values.dtype.kind not in "biufU":
            raise TypeError(f"{name} holds {values.dtype} values; a part holds numbers and texts")
        found.update(json.dumps([name, values.dtype.str, values.shape]).encode())
        found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()


# --- tables as arrays ---------------------------------------------------------------------------------


def as_bytes(value: Any) -> NDArray[np.uint8]:
    """What JSON can say as an array of bytes; `from_bytes` gives it back."""
    import numpy as np

    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def from_bytes(array: NDArray[np.uint8]) -> Any:
    """What `as_bytes` was given."""
    return json.loads(array.tobytes())


def pack_frame(frame: pd.DataFrame) -> Arrays:
    """A frame, its index 0..n-1, as arrays of plain types: numbers, truth values, categories, texts."""
    import numpy as np
    import pandas as pd

    columns: list[dict[str, Any]] = []
    arrays: Arrays = {}
    for name, column in frame.items():
        about: dict[str, Any] = {"name": name, "dtype": str(column.dtype)}
        if isinstance(column.dtype, pd.CategoricalDtype):
            about |= {"categories": list(column.cat.categories), "ordered": bool(column.cat.ordered)}
            arrays[str(len(columns))] = column.cat.codes.to_numpy()
        elif isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
            arrays[str(len(columns))] = column.to_numpy()
        else:
            listed = [None if value is pd.NA else value for value in column.tolist()]
            if not all(type(value) in _LISTED.get(about["dtype"], ()) for value in listed):
                raise TypeError(f"column {name} is of type {about['dtype']}, which a part cannot hold")
            arrays[str(len(columns))] = as_bytes(listed)
        columns.append(about)
    return {"columns": as_bytes(columns), **arrays}


def unpack_frame(arrays: Arrays, n: int) -> pd.DataFrame:
    """The frame of n rows that `pack_frame` was given. Raises ValueError or the like if it is not one."""
    import pandas as pd

    made: dict[str, Any] = {}
    for k, about in enumerate(from_bytes(arrays["columns"])):
        values: Any = arrays[str(k)]
        if "categories" in about:
            values = pd.Categorical.from_codes(values, about["categories"], ordered=about["ordered"])
        elif str(values.dtype) != about["dtype"]:
            if about["dtype"] not in _LISTED:
                raise ValueError(f"{about['name']} holds {values.dtype} where {about['dtype']} is said")
            values = pd.array(from_bytes(values), dtype=about["dtype"])
        if len(values) != n:
            raise ValueError(f"{len(values)} rows of {about['name']} where there should be {n}")
        made[about["name"]] = values
    return pd.DataFrame(made)


# --- doing it -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Done(Generic[T]):
    result: T
    n: int
    taken: bool  # from a part


def _results(
    work: Any, blocks: Sequence[int], chunk: int, what: str, n_jobs: int, progress: bool, parts: _Parts | None
) -> Iterator[T]:
    total, taken = sum(blocks), 0
    tasks = (partial(_piece, work, parts, start, stop) for start, stop in pieces(blocks, chunk))
    with bar(progress, what, total) as advance:
        for done in in_threads(tasks, min(threads(n_jobs), sum(-(-n // chunk) for n in blocks))):
            taken += done.n * done.taken
            advance(done.n)
            yield done.result
    if parts is not None and taken:
        say(f"{taken:,} of {total:,} {what} taken from {parts.folder}")


def _piece(work: Any, parts: _Parts | None, start: int, stop: int) -> _Done[Any]:
    if parts is None:
        return _Done(work(start, stop), stop - start, False)
    found = parts.read(work, start, stop)
    if found is not None:
        return _Done(found[0], stop - start, True)
    result = work(start, stop)
    parts.write(work.pack(result), start, stop)
    return _Done(result, stop - start, False)


@contextmanager
def bar(shown: bool, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar over items on stderr, or nothing."""
    if not shown:
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda n: progress.advance(task, n)


def _count(n: int) -> str:
    return f"{n:,}" if n < 10**15 else "more than 10^15"


def _duration(seconds: int) -> str:
    for unit, length in (("years", 31_557_600), ("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{_count(seconds // length)} {unit}"
    return f"{seconds} seconds"


def _brief(value: Any) -> str:
    name = getattr(value, "__name__", None)
    return str(name) if name else f"a {type(value).__name__}"
