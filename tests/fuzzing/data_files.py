"""Data files that were changed by bytes, cells, rows and columns, packed, or replaced by something else."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path
from random import Random
from typing import Any

from fuzzing import data, hostile
from fuzzing.case import REFUSED, RIGHT, Case

# Which file each call reads; "stored/..." is a stored trial's.
_READERS: tuple[tuple[str, str, dict[str, str | None]], ...] = (
    ("respond", "respond.csv", {}),
    ("respond", "listed.csv", {"--events": "listed.csv"}),
    ("nca", "nca.csv", {}),
    ("simulate", "patients.csv", {"--patients": "patients.csv"}),
    ("fit", "fit.csv", {}),
    ("fit", "prior.csv", {"--prior": "prior.csv"}),
    ("fit-responses", "responses.csv", {}),
    ("population", "responses.csv", {}),
    ("judge", "stored/patients.parquet", {}),
    ("judge", "stored/visits.parquet", {}),
    ("judge", "stored/summary.json", {}),
)
_CELLS = (
    "",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "-1",
    "0",
    "<50",
    "<",
    "< -1e999",
    "NA",
    "PR",
    "pr",
    "XX",
    "transgene",
    "1",
)


def prepare(case: Case) -> None:
    """Valid files and a stored trial."""
    data.written(case.work)
    data.stored(case)


def run(case: Case) -> str:
    rng = case.rng
    shutil.copytree(case.stage, case.work, dirs_exist_ok=True)
    command, name, more = rng.choice(_READERS)
    arguments, options = list(data.TINY[command][0]), data.TINY[command][1] | more
    path = case.work / name
    if rng.random() < 0.12:
        new = _replaced(case, path)
    elif path.suffix == ".parquet":
        new = _parquet(case, path)
    elif path.suffix == ".json":
        new = _json(case, path)
    else:
        new = _csv(case, path)
    if "/" not in name:  # where another name was chosen, it is given
        arguments = [new if each == name else each for each in arguments]
        options = {key: new if value == name else value for key, value in options.items()}
    return REFUSED if case.run(*data.words(command, arguments, options)).code == 2 else RIGHT


def _replaced(case: Case, path: Path) -> str:
    """Something that is no file of this kind in the file's place, or an archive of it."""
    rng = case.rng
    pick = rng.randrange(8)
    if pick >= 4:
        ending, content = hostile.packed(rng, path.read_bytes())
        new = path.with_name(path.name + ending)
        (new if path.suffix == ".csv" else path).write_bytes(content)
        case.tell(f"{path.name} as {ending}")
        return new.name
    path.unlink()
    if pick == 0:
        path.mkdir()
    elif pick == 1:
        os.mkfifo(path)
    elif pick == 2:
        path.symlink_to(rng.choice(["/dev/zero", "/dev/null", path.name, "/proc/self/mem", "nowhere"]))
    else:
        path.write_bytes(hostile.malice())
    case.tell(f"{path.name} replaced ({['a folder', 'a pipe', 'a link', 'a pickle'][pick]})")
    return path.name


def _csv(case: Case, path: Path) -> str:
    rng, text = case.rng, path.read_text()
    pick = rng.random()
    if pick < 0.15:
        what, content = hostile.damaged(rng, text.encode())
    elif pick < 0.25:
        what, content = hostile.recoded(rng, text)
    else:
        rows = list(csv.reader(io.StringIO(text)))
        what = "; ".join(_row_or_cell(rng, rows) for _ in range(rng.choice([1, 1, 1, 2, 3])))
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows(rows)
        content = file.getvalue().encode("utf-8", "surrogatepass")
    path.write_bytes(content)
    case.tell(f"{path.name}: {what[:1000]}")
    return path.name


def _row_or_cell(rng: Random, rows: list[list[str]]) -> str:
    """Change rows (the first is the header) in one place; return what was done."""
    if len(rows) < 2 or not rows[0]:
        rows[:] = [["id"], ["1"]]
        return "all gone"
    at, column = rng.randrange(1, len(rows)), rng.randrange(len(rows[0]))
    pick = rng.randrange(14)
    if pick <= 6:
        value = rng.choice([rng.choice(_CELLS), hostile.number(rng), hostile.text(rng)])
        if column < len(rows[at]):
            rows[at][column] = value
        return f"row {at} column {column} = {value[:200]!r}"
    if pick == 7:
        rows[0][column] = value = rng.choice([rng.choice(rows[0]), hostile.text(rng), "value", "time", "id", "dose"])
        return f"column {column} called {value[:200]!r}"
    if pick == 8:
        for row in rows:
            del row[column : column + 1]
        return f"column {column} gone"
    if pick == 9:
        rows.insert(rng.randrange(len(rows) + 1), list(rows[at]))
        return f"row {at} twice"
    if pick == 10:
        del rows[rng.randrange(len(rows))]
        return "a row gone"
    if pick == 11:
        rng.shuffle(rows)
        return "rows shuffled"
    if pick == 12:
        rows[at] += rng.choice([[""], ["7"], ["7"] * 1000])
        return f"row {at} longer"
    rows[at] = rows[at][: rng.randrange(len(rows[at]) + 1)]
    return f"row {at} shorter"


def _json(case: Case, path: Path) -> str:
    rng = case.rng
    if rng.random() < 0.3:
        what, content = hostile.damaged(rng, path.read_bytes())
        path.write_bytes(content)
    else:
        raw: Any = json.loads(path.read_text())
        table, what = raw, ""
        while True:
            key = rng.choice(list(table)) if isinstance(table, dict) else rng.randrange(len(table))
            what += f".{key}"
            below = table[key]
            if not isinstance(below, (dict, list)) or not below or rng.random() < 0.2:
                break
            table = below
        new = rng.choice(
            [None, [], {}, "x", hostile.text(rng), 0, -1, 1e308, 10**400, float("nan"), float("inf"), [1], True]
        )
        if rng.random() < 0.3:
            del table[key]
            what += " gone"
        else:
            table[key] = new
            what += f" = {str(new)[:100]!r}"
        path.write_text(json.dumps(raw))
    case.tell(f"{path.name}: {what}")
    return path.name


def _parquet(case: Case, path: Path) -> str:
    import pandas as pd

    rng = case.rng
    if rng.random() < 0.5:
        what, content = hostile.damaged(rng, path.read_bytes())
        path.write_bytes(content)
        case.tell(f"{path.name}: {what}")
        return path.name
    table = pd.read_parquet(path)
    name = rng.choice(list(table.columns))
    pick = rng.randrange(8)
    if pick == 0:
        table = table.drop(columns=name)
    elif pick == 1:
        table[name] = table[name].astype(str)
    elif pick == 2:
        table = table.iloc[: rng.randrange(len(table))]
    elif pick == 3:
        table = pd.concat([table, table.iloc[[rng.randrange(len(table))]]], ignore_index=True)
    elif pick == 4:
        table = table.sample(frac=1, random_state=case.index)
    elif pick == 5:
        table[name] = None
    elif pick == 6:
        table = table.rename(columns={name: hostile.text(rng).encode("ascii", "replace").decode()})
    else:
        table[name] = [rng.choice([float("nan"), float("inf"), -1e308, 0.0, 1e308]) for _ in range(len(table))]
    case.tell(f"{path.name}: column {name}, change {pick}")
    table.to_parquet(path, index=False)
    return path.name
