"""What commands share: messages, tables, files read and written whole."""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from cartsim.cli.process import note
from cartsim.errors import InputError
from cartsim.files import tidy, write_whole

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from cartsim.results import Result

T = TypeVar("T")

WIDTH = 100  # columns of tables that go to a file or a pipe
_LONGEST_NAME = 240  # bytes; file systems allow 255, and a file is written under a longer name first
SHOWN = 10  # failures listed one by one


def interruptible(work: Callable[[], T]) -> T:
    """What work returns or raises, done in a thread: Ctrl-C need not wait for machine code to end."""
    found: Future[T] = Future()

    def run() -> None:
        try:
            found.set_result(work())
        except BaseException as error:
            found.set_exception(error)

    Thread(target=run, daemon=True).start()
    return found.result()


def show_tables(*parts: Any) -> None:
    """Print rich tables and texts on stdout, a blank line after each, as wide as the terminal or 100 columns."""
    from rich.console import Console

    fits = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(width=None if fits else WIDTH, highlight=False)
    for part in parts:
        console.print(part)
        console.print()


def new_table(title: str, *columns: str, right: Sequence[str] = (), caption: str = "") -> Table:
    """An empty table without vertical lines; the columns named in ``right`` hold numbers."""
    from rich import box
    from rich.table import Column, Table
    from rich.text import Text

    heads = [
        Column(Text(name), justify="right" if name in right else "left", overflow="fold", no_wrap=k == 0)
        for k, name in enumerate(columns)
    ]
    table = Table(*heads, title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    table.padding = (0, 1, 0, 0)
    table.caption, table.caption_justify = caption, "left"
    return table


def table_of(
    title: str,
    rows: pd.DataFrame,
    columns: Mapping[str, Any],
    *,
    text: int | Sequence[str] = 1,
    caption: str = "",
) -> Table:
    """A table of a frame: by its head, each column's format of a row, as "{low:.3g} to {high:.3g}", or function of it.

    The first ``text`` columns, or those of which it has the names, hold text, the others numbers.
    """
    from rich.text import Text

    heads = list(columns)
    words = heads[:text] if isinstance(text, int) else text
    table = new_table(title, *heads, right=[head for head in heads if head not in words], caption=caption)
    for row in rows.to_dict("records"):
        cells = (form.format_map(row) if isinstance(form, str) else form(row) for form in columns.values())
        table.add_row(*map(Text, cells))
    return table


def number(value: float, form: str = "") -> str:
    """A number, by default three digits or all before the point; NE for what cannot be estimated."""
    if math.isnan(value):
        return "NE"
    return format(value, form or (",.0f" if abs(value) >= 100 else ".3g"))


def ranged(
    row: Mapping[Any, Any], key: str, shape: str, form: str = "", ends: Sequence[str] = ("", "_low", "_high")
) -> str:
    """A value with its limits, such as "12 (10, NE)", the value alone where neither limit can be estimated.

    key: the columns' name with {} where ``ends`` come in.
    """
    shown = [number(row[key.format(end)], form) for end in ends]
    return shown[0] if shown[1:] == ["NE", "NE"] else shape.format(*shown)


def limited(row: Mapping[Any, Any], value: str, low: str, high: str) -> str:
    """A value with its limits, such as "19 (11.3, NR)" (NR: not reached), the value alone where it has no limits."""
    shown = ["NR" if math.isinf(row[name]) else number(row[name], ".3g") for name in (value, low, high)]
    return shown[0] if math.isnan(row[low]) and math.isnan(row[high]) else f"{shown[0]} ({shown[1]}, {shown[2]})"


def show_result(result: Result, *parts: Any) -> None:
    """Print what is shown of a result on stdout, and on stderr what a reader should know of it."""
    show_tables(*parts)
    for warning in result.warnings:
        note(warning)


def note_failures(failures: pd.DataFrame, n: int) -> None:
    """Say on stderr which of n patients have no complete result, and why."""
    if failures.empty:
        return
    named = [
        f"{row.id}{f' of arm {row.arm}' if 'arm' in failures else ''} ({row.status})"
        for row in failures.head(SHOWN).itertuples()
    ]
    rest = f" and {len(failures) - SHOWN} more" if len(failures) > SHOWN else ""
    note(f"{len(failures)} of {n} patients have no complete result: id {', '.join(named)}{rest}")


def check_file(path: Path | None) -> None:
    """Raise InputError unless a table can be written to this file (None is stdout)."""
    if path is None:
        return
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"{path}: results are written as .csv or .parquet; choose one of these endings")
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        raise InputError(f"cannot write {path}: the name is too long; at most {_LONGEST_NAME} letters are possible")
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"cannot write {path}: its folder must exist, and it must not be a folder itself")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose another folder") from None


def write_table(table: pd.DataFrame, path: Path | None) -> None:
    """A table to a .csv or .parquet file, whole or not at all; as CSV to stdout without a path."""
    if path is None:
        table.to_csv(sys.stdout, index=False, lineterminator="\n")
        return
    tidy(path.parent)
    if path.suffix == ".parquet":
        write_whole(path, lambda beside: table.to_parquet(beside, index=False))
    else:
        write_whole(path, lambda beside: table.to_csv(beside, index=False, lineterminator="\n"))
