"""The one reader of users' CSV files: text in, a table of text out, or one line that says what is wrong.

A file is data and its name no more than a name: it is never unpacked or fetched, whatever the name ends or begins
with, and nothing but a regular file is opened, so that a pipe cannot make cartsim wait for ever.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from cartsim import memory
from cartsim.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 2**30
"""Bytes of a file that is read."""

WIDEST = 10_000
"""Columns of a table that is read."""

MISSING = ("NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A")
"""What a cell without a value may say, beside nothing."""

_TEXT = 24  # bytes of memory that a byte of a file takes as a table: 16 with cells of ten digits, 24 of one
WHOLE = r"0|[1-9][0-9]{0,17}"
"""What an id says that is a whole number (of 64 bits); any other id is text."""
LARGEST_WHOLE = 10**18 - 1
"""The largest of them."""

_PADDING = re.compile(r'[ \t\v\f\x1c-\x1f"]')
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def read_table(path: str | Path, *, missing: bool = True, comments: bool = False) -> pd.DataFrame:
    """A CSV file (UTF-8, commas between) as a frame of text, columns named by its first line.

    Spaces around cells are left out, rows that end early are filled up, empty lines are passed over. missing: NaN for
    cells that are empty or say so (`MISSING`), else they stay the text that they are. comments: lines that begin with
    # are passed over.

    Raises `InputError`, naming the file and the line where there is one, for what is no regular file, cannot be read,
    is larger than `LARGEST` or than memory allows, no UTF-8 text or no table: a row with more cells than the header,
    an open quotation mark, a column name that is there twice or more than `WIDEST` columns.
    """
    import pandas as pd

    rows = _rows(path, _text(path, _content(path)), comments)
    if not rows:
        raise InputError(f"{path}: cannot be read as a table: empty; give a header line and a row for each observation")
    header, *body = rows
    seen: set[str] = set()
    for name in header:
        if name in seen:
            raise InputError(f"{path}: the column {name} is there twice; give it once")
        seen.add(name)
    table = pd.DataFrame(body, columns=pd.Index(header), dtype=object)
    return table.mask(table.isin(["", *MISSING])) if missing else table


def finite_number(text: str) -> float:
    """The finite decimal number that a cell holds, NaN for anything else: no 1_000, no digits but 0 to 9."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else math.nan


def regular_file(path: str | Path, largest: int = LARGEST) -> int:
    """The size in bytes. Raises `InputError` for what is not a regular file of at most ``largest`` bytes."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:  # ValueError: no path at all, such as one with a null byte
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"{path}: cannot be read: a folder; give a file")
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path}: cannot be read: a pipe or device; write it to a file and give that")
    if found.st_size > largest:
        raise InputError(f"{path}: {found.st_size:,} bytes; at most {largest:,} are read, so divide the file")
    return found.st_size


def _content(path: str | Path) -> bytes:
    size = regular_file(path)
    memory.require(_TEXT * size, f"{path}: reading {size:,} bytes", "divide the file")
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)  # a file that grows, or of /proc, is longer than it says
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > LARGEST:
        raise InputError(f"{path}: more than {LARGEST:,} bytes; divide the file")
    return content


def _text(path: str | Path, content: bytes) -> str:
    where = content.find(b"\0")
    if where < 0:
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            where = error.start
    line = content.count(b"\n", 0, where) + 1
    raise InputError(f"{path}, line {line}: cannot be read as a table: no UTF-8 text; save it as CSV in UTF-8")


def _rows(path: str | Path, text: str, comments: bool) -> list[list[str]]:
    """The header and all rows, of one length."""
    lines = io.StringIO(text, newline="")
    kept = ("\n" if comments and line.lstrip().startswith("#") else line for line in lines)
    reader = csv.reader(kept, skipinitialspace=True, strict=True)
    padded = not text.isascii() or _PADDING.search(text) is not None  # else nothing is stripped, which takes a while
    rows: list[list[str]] = []
    width = 0
    try:
        for row in reader:
            cells = [cell.strip() for cell in row] if padded else row
            if len(cells) == width and width > 1:
                rows.append(cells)
                continue
            if len(cells) < 2 and not any(cells):  # an empty line
                continue
            if not rows:
                width = len(cells)
            if width > WIDEST:
                raise InputError(f"{path}: {width:,} columns; at most {WIDEST:,} are read")
            if len(cells) > width:
                raise InputError(
                    f"{path}, line {reader.line_num}: cannot be read as a table: {len(cells)} cells under a header "
                    f"of {width}; give a cell for each column"
                )
            rows.append(cells + [""] * (width - len(cells)))
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: cannot be read as a table: {error}") from None
    return rows
