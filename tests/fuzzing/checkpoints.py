"""Damaged checkpoints: the trial that goes on from them has to come out as the one that was never interrupted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fuzzing import hostile
from fuzzing.case import RIGHT, Bad, Case

TRIAL = ("trial", "--n", "6", "--dose", "150e6,450e6", "--chunk", "2", "--jobs", "1", "--no-pictures", "--out", "out")


def prepare(case: Case) -> None:
    """The trial itself with its checkpoint, and checkpoints of another one."""
    _done(case, "--checkpoint", "kept")
    (case.work / "out").rename(case.work / "reference")
    _done(case, "--checkpoint", "foreign", "--seed", "7")
    shutil.rmtree(case.work / "out")


def run(case: Case) -> str:
    shutil.copytree(case.stage / "kept", case.work / "kept")
    for _ in range(case.rng.choice([1, 1, 2, 3])):
        _damage(case)
    _done(case, "--checkpoint", "kept")
    if (case.work / "out" / "patients.parquet").read_bytes() != (
        case.stage / "reference" / "patients.parquet"
    ).read_bytes():
        raise Bad("another table of patients than without the damage")
    return RIGHT


def _done(case: Case, *more: str) -> None:
    call = case.run(*TRIAL, *more)
    if call.code != 0:
        raise Bad(f"exit {call.code}: {call.err}")


def _damage(case: Case) -> None:
    rng = case.rng
    files = sorted(path for path in (case.work / "kept").rglob("*") if path.is_file() and not path.is_symlink())
    if not files:
        return
    path = rng.choice(files)
    pick = rng.randrange(10)
    if pick <= 3:
        what, content = hostile.damaged(rng, path.read_bytes())
        path.write_bytes(content)
    elif pick == 4:
        other = rng.choice(files)
        what = f"swapped with {other.name}"
        mine, its = path.read_bytes(), other.read_bytes()
        path.write_bytes(its)
        other.write_bytes(mine)
    elif pick == 5:
        what = "gone"
        path.unlink()
    elif pick == 6:
        what = "a pickle that runs a command"
        path.write_bytes(hostile.malice())
    elif pick == 7:
        what = _foreign(case, path)
    elif pick == 8:
        what = "a folder in its place"
        path.unlink()
        path.mkdir()
    else:
        what = rng.choice(["a link to nowhere", "a link to itself", "a pipe"])
        path.unlink()
        if what == "a pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(path if "itself" in what else "nowhere")
    case.tell(f"{path.name}: {what}")


def _foreign(case: Case, path: Path) -> str:
    """A part of another trial, or of another chunk, under this one's name."""
    foreign = sorted(
        each for each in (case.stage / "foreign").rglob("*") if each.is_file() and each.suffix == path.suffix
    )
    same = [each for each in foreign if each.name == path.name]
    if not foreign:
        return "as it was"
    other = case.rng.choice(same or foreign)
    path.write_bytes(other.read_bytes())
    return f"that of another trial ({other.name})"
