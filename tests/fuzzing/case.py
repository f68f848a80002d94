"""One case: its dice, its folder, calls of the command line, and what every one of them has to keep."""

from __future__ import annotations

import faulthandler
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

RIGHT, REFUSED = "right", "refused"
LONGEST = 3000  # characters of an error message
# What a hostile text would do if it ran. Every case works in a folder of its own, where the file would lie.
PLANT = 'open("planted","w").write("x")'
# Commands that end with exit code 1 and all files written when a search did not converge, and one of these files.
UNCONVERGED = {"fit": "fit.json", "fit-responses": "fits.json", "population": "population.json"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Bad(Exception):
    """A case that ended as none may."""


@dataclass(frozen=True)
class Call:
    """How a call of the command line ended."""

    words: tuple[str, ...]
    code: int | None
    out: str
    err: str
    seconds: float


class Case:
    """(seed, kind, index), a folder ``work`` to work in, and ``stage``, what all cases of this kind share."""

    def __init__(self, seed: int, kind: str, index: int, home: Path, stage: Path) -> None:
        self.index = index
        self.rng = random.Random(f"{seed}:{kind}:{index}")
        self.home, self.stage = home, stage
        self.work, self.temporary, self.cache = home / "work", home / "tmp", home / "cache"
        for folder in (self.work, self.temporary):
            folder.mkdir(parents=True)

    def enter(self) -> None:
        """Make the folder of this case the place of all that this process does."""
        os.chdir(self.work)
        own = {"TMPDIR": self.temporary, "CARTSIM_CACHE": self.cache, "HOME": self.home, "XDG_CACHE_HOME": self.home}
        os.environ |= {name: str(path) for name, path in own.items()}
        tempfile.tempdir = None

    def tell(self, text: str) -> None:
        """Note what is being tried; it is shown when the case fails, also when it hangs or crashes."""
        with (self.home / "story").open("a", errors="backslashreplace") as file:
            file.write(text + "\n")

    # --- calls --------------------------------------------------------------------------------------------

    def call(self, *words: object) -> Call:
        """The command line in this process."""
        from cartsim.cli import main

        texts = tuple(map(str, words))
        self.tell(f"cartsim {shown(texts)}")
        out, err = self.home / "out", self.home / "err"
        start = time.monotonic()
        sys.argv = ["cartsim", *texts]
        code: int | None
        with _streams(out, err):
            try:
                main()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) or end.code is None else 1
        return Call(texts, code or 0, _read(out), _read(err), time.monotonic() - start)

    def fresh(self, *words: object, env: Mapping[str, str] | None = None) -> Call:
        """The command line in a process of its own."""
        import cartsim

        texts = tuple(map(str, words))
        self.tell(f"cartsim {shown(texts)}  (a fresh process)")
        path = os.pathsep.join([str(Path(cartsim.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "cartsim.cli", *texts],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": path} | dict(env or {}),
            check=False,
        )
        out, err = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
        return Call(texts, done.returncode, out, err, time.monotonic() - start)

    def run(self, *words: object) -> Call:
        """`call`, held against what every call has to keep."""
        before = self.files()
        call = self.call(*words)
        self.hold(call, before)
        return call

    def files(self) -> list[str]:
        """All that lies in the working folder."""
        return sorted(str(path.relative_to(self.work)) for path in self.work.rglob("*"))

    def hold(self, call: Call, before: list[str]) -> None:
        """Raise `Bad` unless the call ended in a result or in one line with exit code 2 and nothing written."""
        self.no_trace()
        said = f"exit {call.code}; stderr: {shown(call.err[-1500:])}"
        if "Traceback" in call.err or "bug of cartsim" in call.err:
            raise Bad(said)
        if call.code == 2:
            if not re.fullmatch(r"cartsim: [^\n]+\n", call.err):
                raise Bad(f"not one line; {said}")
            if _CONTROL.search(call.err.rstrip("\n")):
                raise Bad(f"control characters in a message; {said}")
            if len(call.err) > LONGEST:
                raise Bad(f"a message of {len(call.err)} characters; {said[:400]}")
            if call.out:
                raise Bad(f"refused after {len(call.out)} characters of output; {said}")
            if self.files() != before:
                raise Bad(f"refused, yet written: {shown(sorted(set(self.files()) - set(before)))}; {said}")
        elif call.code != 0 and not self._unconverged(call):
            raise Bad(said)

    def _unconverged(self, call: Call) -> bool:
        name = next((UNCONVERGED[word] for word in call.words[:1] if word in UNCONVERGED), None)
        return call.code == 1 and name is not None and any(self.work.rglob(name))

    def no_trace(self) -> None:
        """Raise `Bad` if anything ran that should not have, or lies where nothing should."""
        for folder in (self.work, self.temporary, self.home):
            if (folder / "planted").exists():
                raise Bad("a planted text was executed")
        left = [
            path
            for folder in (self.work, self.temporary)
            for path in folder.rglob("*")
            if path.name.startswith(".cartsim-") or path.suffix == ".part"
        ]
        if left:
            raise Bad(f"left over: {shown([path.name for path in left])}")


class _streams:
    """Standard output and error of this process into files, also what is written below Python."""

    def __init__(self, out: Path, err: Path) -> None:
        self.paths = {1: out, 2: err}

    def __enter__(self) -> None:
        for number, path in self.paths.items():
            target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(target, number)
            os.close(target)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)
        faulthandler.enable(sys.stderr)

    def __exit__(self, *_: object) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()


def shown(value: object) -> str:
    """Any value for a report, cut to a few lines."""
    text = value if isinstance(value, str) else ascii(value)
    return ascii(text)[1:-1] if len(text) <= 1500 else ascii(text[:700])[1:-1] + " ... " + ascii(text[-700:])[1:-1]


def _read(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")
