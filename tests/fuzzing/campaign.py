"""Many cases of one kind: how many, for how long, and how they ended."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Kind:
    """name: the module that makes the cases; cases: how many by default; share: of --fuzz-cases.

    limit: seconds of processor time that a case, and each process that it starts, may take.
    """

    name: str
    cases: int
    share: float
    limit: int


# The limits are far above what a case takes.
KINDS = (
    Kind("model_files", 120, 1, 40),
    Kind("options", 120, 1, 40),
    Kind("data_files", 120, 1, 40),
    Kind("formulas", 5, 1 / 20, 120),
    Kind("caches", 4, 1 / 20, 180),
    Kind("checkpoints", 12, 1 / 5, 60),
)


@dataclass
class Tally:
    """How the cases of a kind ended."""

    kind: str
    right: int = 0
    refused: int = 0
    bad: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        n = self.right + self.refused + len(self.bad)
        return f"{self.kind.replace('_', ' ')} {n} ({self.right} right, {self.refused} refused, {len(self.bad)} bad)"


class Server:
    """The process that runs the cases, ``jobs`` of them at a time."""

    def __init__(self, root: Path) -> None:
        self.root, self.jobs = root, max(2, os.cpu_count() or 1)
        self.prepared: dict[str, Path] = {}

    def __enter__(self) -> Server:
        import cartsim

        places = [str(Path(__file__).parents[1]), str(Path(cartsim.__file__).parents[1])]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([*places, os.environ.get("PYTHONPATH", "")]),
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        environment.pop("COLUMNS", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fuzzing.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._answer()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def run(self, kind: Kind, seed: int, cases: int, minutes: float | None = None, only: int | None = None) -> Tally:
        """``cases`` cases, or as many as ``minutes`` hold, or one."""
        tally = Tally(kind.name)
        stage = self._stage(kind, seed)
        if isinstance(stage, str):
            tally.bad.append(stage)
            return tally
        end = None if minutes is None else time.monotonic() + 60 * minutes
        indices = iter([only]) if only is not None else iter(itertools.count() if end else range(cases))
        waiting = 0
        more = True
        while more or waiting:
            while more and waiting < self.jobs:
                index = next(indices, None)
                if index is None or (end is not None and time.monotonic() > end):
                    more = False
                    break
                self._ask(kind, seed, index, self.root / kind.name / str(index), stage)
                waiting += 1
            if waiting:
                self._count(self._answer(), seed, tally)
                waiting -= 1
        return tally

    def _stage(self, kind: Kind, seed: int) -> Path | str:
        """The folder with what all cases of a kind share, or how making it failed."""
        if kind.name not in self.prepared:
            home = self.root / kind.name / "stage"
            self._ask(kind, seed, -1, home, home)
            found = self._answer()
            if found["verdict"] == "bad":
                return f"{kind.name}: what its cases share could not be made: {found['story']}"
            self.prepared[kind.name] = home / "work"
        return self.prepared[kind.name]

    def _ask(self, kind: Kind, seed: int, index: int, home: Path, stage: Path) -> None:
        shutil.rmtree(home, ignore_errors=True)
        request = {"kind": kind.name, "seed": seed, "index": index, "home": str(home), "stage": str(stage)}
        assert self.process.stdin
        self.process.stdin.write(json.dumps(request | {"limit": kind.limit if index >= 0 else 600}) + "\n")
        self.process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the fuzzer's server ended with {self.process.wait()}; its errors are above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _count(self, answer: dict[str, Any], seed: int, tally: Tally) -> None:
        home = self.root / answer["kind"] / str(answer["index"])
        if answer["verdict"] == "bad":
            name = f"{seed}:{answer['kind']}:{answer['index']}"
            tally.bad.append(f"--fuzz-replay {name}\n{answer['story'].rstrip()}\nfiles: {home}")
            return
        shutil.rmtree(home, ignore_errors=True)
        if answer["verdict"] == "right":
            tally.right += 1
        else:
            tally.refused += 1
