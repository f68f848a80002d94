"""Damaged caches: numbers as ever, exit code 0, and the second run finds the cache healed."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from cartsim.engine import rodas
from fuzzing import hostile
from fuzzing.case import RIGHT, Bad, Case

MODEL = Path(__file__).parents[1] / "models" / "van_der_pol.toml"
OTHER = Path(__file__).parents[1] / "models" / "robertson.toml"
TIMES = ("--times", "0:3:0.5")


def prepare(case: Case) -> None:
    """A cache with two models, what the first one gives, and which files are its own."""
    rodas.driver()
    rodas._code()._made = True  # the driver, which takes longest to compile, is in memory
    rodas._code().keep()
    reference = _done(case, MODEL)
    own = [str(path.relative_to(case.cache)) for path in _files(case)]
    _done(case, OTHER)
    (case.work / "reference").write_text(reference)
    (case.work / "own").write_text("\n".join(own))
    shutil.copytree(case.cache, case.work / "cache")


def run(case: Case) -> str:
    shutil.copytree(case.stage / "cache", case.cache, symlinks=True)
    kept = case.rng.random() >= 0.25
    if kept:
        for _ in range(case.rng.choice([1, 1, 3])):
            _damage(case)
    else:
        _misplace(case)
    reference = (case.stage / "reference").read_text()
    if _done(case, MODEL) != reference:
        raise Bad("other numbers than with a whole cache")
    case.tell("once more")
    start = _done(case, MODEL, quiet=kept)
    if start != reference:
        raise Bad("other numbers in the second run")
    return RIGHT


def _done(case: Case, model: Path, *, quiet: bool = False) -> str:
    """What ``simulate`` prints; with ``quiet`` it must not need to compile."""
    before = case.files()
    call = case.fresh("simulate", model, *TIMES)
    case.hold(call, before)
    if call.code != 0:
        raise Bad(f"exit {call.code}: {call.err}")
    if quiet and "compil" in call.err:
        raise Bad("the cache is not healed: compiled again")
    return call.out


def _files(case: Case) -> list[Path]:
    return sorted(path for path in case.cache.rglob("*") if path.is_file() and not path.is_symlink())


def _damage(case: Case) -> None:
    """Change one file or folder in the cache."""
    rng, files = case.rng, _files(case)
    if not files:
        return
    own = {case.cache / name for name in (case.stage / "own").read_text().splitlines()}
    path = rng.choice([each for each in files if each in own and "kernels" in each.parts] or files)
    if rng.random() < 0.15:
        path = rng.choice(files)
    pick = rng.randrange(12)
    if pick <= 4:
        what, content = hostile.damaged(rng, path.read_bytes())
        path.write_bytes(content)
    elif pick == 5:
        what = "gone"
        path.unlink()
    elif pick == 6:
        other = rng.choice([each for each in files if each.suffix == path.suffix])
        what = f"swapped with {other.name}"
        mine, its = path.read_bytes(), other.read_bytes()
        path.write_bytes(its)
        other.write_bytes(mine)
    elif pick == 7:
        what = "a folder in its place"
        path.unlink()
        path.mkdir()
        (path / "x").write_text("x")
    elif pick == 8:
        what = "a pickle that runs a command"
        path.write_bytes(hostile.malice())
    elif pick == 9:
        what = "another source, without its machine code"
        for code in case.cache.rglob("*.nb?"):
            code.unlink()
        for path in case.cache.rglob("*.py"):
            text = path.read_text()
            numbers = list(re.finditer(r"\b\d+\.\d+\b", text))
            if numbers and rng.random() < 0.7:
                found = rng.choice(numbers)
                text = f"{text[: found.start()]}7.25{text[found.end() :]}"
            else:
                text += "\nopen('planted', 'w')\n"
            path.write_text(text)
    elif pick == 10:
        what = rng.choice(["a link to nowhere", "a link to itself", "a pipe"])
        path.unlink()
        if what == "a pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(path if "itself" in what else "nowhere")
    else:
        what = "old"
        os.utime(path, (0, 0))
    case.tell(f"{path.relative_to(case.cache)}: {what}")


def _misplace(case: Case) -> None:
    """Something else in the place of the cache, or of a folder in it."""
    rng = case.rng
    folders = [case.cache, *sorted(path for path in case.cache.rglob("*") if path.is_dir())]
    path = rng.choice(folders)
    what = rng.choice(["a file", "a link elsewhere", "a link to itself", "open to all", "closed", "a pipe", "gone"])
    aside = case.home / "aside"
    if what in ("open to all", "closed"):
        path.chmod(0o777 if what == "open to all" else 0o500)
    else:
        path.rename(aside)
        if what == "a file":
            path.write_text("x")
        elif what == "a link elsewhere":
            path.symlink_to(aside)
        elif what == "a link to itself":
            path.symlink_to(path)
        elif what == "a pipe":
            os.mkfifo(path)
    case.tell(f"{path.relative_to(case.home)}: {what}")
