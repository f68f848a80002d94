"""What questions of many simulations share: work in pieces that can be interrupted, and tables written whole."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartsim.errors import InputError
from cartsim.trial.outcome import writable_folder, write_whole

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


def run_pieces(
    work: Callable[[int, int], dict[str, NDArray[Any]]],
    n: int,
    chunk: int,
    *,
    what: str,
    n_jobs: int = -1,
    progress: bool = False,
    checkpoint: str | Path | None = None,
    key: Any = None,
) -> dict[str, NDArray[Any]]:
    """``work(start, stop)`` for 0..n in pieces of ``chunk``, the arrays of all pieces joined in order.

    ``work`` is a picklable function that returns arrays of length stop - start. ``what`` names the items in
    the progress bar. With ``checkpoint``, a folder, each piece is written there as it is done, under a name
    made of ``key``, which has to hold all that the result depends on; a run that was interrupted goes on.
    Raises InputError for a chunk below 1, n_jobs of 0 or a folder that cannot be written.
    """
    import numpy as np
    from joblib import Parallel, delayed, hash
    from rich.console import Console
    from rich.progress import Progress

    from cartsim.version import __version__

    if chunk < 1 or n_jobs == 0:
        raise InputError(f"chunks of {chunk}, {n_jobs} jobs; give 1 or more of both, or -1 jobs for all cores")
    folder = None
    if checkpoint is not None:
        folder = _folder(Path(checkpoint) / hash((__version__, chunk, n, key)))
    pieces = [(start, min(start + chunk, n)) for start in range(0, n, chunk)]
    parallel = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
    done: Iterator[dict[str, NDArray[Any]]] = parallel(delayed(_kept)(work, folder, *p) for p in pieces)
    results = []
    with Progress(console=Console(stderr=True), transient=True, disable=not progress) as bar:
        task = bar.add_task(what, total=n)
        for (start, stop), result in zip(pieces, done, strict=True):
            results.append(result)
            bar.advance(task, stop - start)
    return {name: np.concatenate([result[name] for result in results]) for name in results[0]}


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"checkpoint folder {path.parent}: {error.strerror}; choose another") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise InputError(f"checkpoint folder {path.parent}: no permission to write; choose another")
    return path


def _kept(
    work: Callable[[int, int], dict[str, NDArray[Any]]], folder: Path | None, start: int, stop: int
) -> dict[str, NDArray[Any]]:
    """One piece, from the checkpoint if it is there."""
    import numpy as np

    if folder is None:
        return work(start, stop)
    path = folder / f"{start}_{stop}.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as kept:
            return dict(kept)
    result: dict[str, Any] = work(start, stop)
    handle, beside = tempfile.mkstemp(dir=folder, suffix=".part")
    with os.fdopen(handle, "wb") as file:
        np.savez(file, **result)
    os.replace(beside, path)  # whole or not at all
    return result


def save_tables(
    folder: str | Path, tables: Mapping[str, pd.DataFrame], about: tuple[str, Mapping[str, Any]]
) -> list[Path]:
    """Write each table as a CSV file by name, and ``about`` (name, what made them) as JSON; return the paths."""
    folder = writable_folder(folder)
    written = [write_whole(folder / name, partial(_write_csv, table)) for name, table in tables.items()]
    name, facts = about
    text = json.dumps(facts, indent=2) + "\n"
    return [*written, write_whole(folder / name, lambda path: path.write_text(text))]


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, lineterminator="\n")
