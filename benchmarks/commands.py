"""Every command as a whole process: seconds cold and warm, and where they go.

    python benchmarks/commands.py                          # all, writes benchmarks/results/commands.md
    python benchmarks/commands.py --commands trial,sweep --repeats 7 --other ../cartsim-before

Cold: an empty folder for everything that cartsim keeps, so that the model is compiled first. Warm: the median of
repeats, seconds on the wall and of processor time. Shares are of one warm run, told by looking every two milliseconds
at what its threads are doing: the first that fits of import, pictures, engine (machine code of a model at work), and
else judging, tables and files. ``--other`` times the same words with another checkout's package, by turns.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
CLINICAL = "bb2121_clinical"
COMMANDS = {
    "help": ["--help"],
    "simulate": ["simulate", CLINICAL, "--times", "0:364:1"],
    "simulate 1000": ["simulate", CLINICAL, "--times", "0:364:7", "--n", "1000", "--out", "{out}.parquet"],
    "trial": ["trial", "--out", "{out}"],
    "trial without pictures": ["trial", "--out", "{out}", "--no-pictures"],
    "dose-response": ["dose-response", "--out", "{out}"],
    "regimens": ["regimens", "--out", "{out}"],
    "sweep": ["sweep", "--over", "dose=50e6:800e6:24", "--over", "burden=5:95:24", "--out", "{out}"],
    "contour 24 x 24 x 500": [
        *("sweep", "--rate", "--n", "500", "--over", "dose=50e6:800e6:24", "--over", "burden=5:95:24"),
        *("--out", "{out}"),
    ],
    "sensitivity": ["sensitivity", CLINICAL, "--method", "local", "--endpoint", "Cmax", "--out", "{out}"],
    "figure 6b": ["figure", "6b", "--out", "{out}"],
}  # fmt: skip
KINDS = ("imports", "pictures", "engine", "rest")
EVERY = 0.002  # seconds between two looks


def main() -> None:
    settings = arguments()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in settings.commands:
            row: dict[str, object] = {"command": name}
            cold = {"CARTSIM_CACHE": str(Path(folder) / f"cold {name}")}
            row["cold s"] = run(HERE, COMMANDS[name], folder, cold)[0] if settings.cold else float("nan")
            places = {"": HERE} | ({"other ": settings.other} if settings.other else {})
            for place in places.values():
                run(place, COMMANDS[name], folder)  # kernels and the system's file cache
            seen: dict[str, list[tuple[float, float]]] = {each: [] for each in places}
            for _ in range(settings.repeats):
                for each, place in places.items():
                    seen[each].append(run(place, COMMANDS[name], folder))
            for each, pairs in seen.items():
                row[f"{each}warm s"] = statistics.median(wall for wall, _ in pairs)
                row[f"{each}processor s"] = statistics.median(cpu for _, cpu in pairs)
            row |= {f"{kind} %": share for kind, share in shares(COMMANDS[name], folder).items()}
            rows.append(row)
            print(row, flush=True)
    write(rows, settings.out)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=lambda text: text.split(","), default=list(COMMANDS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--other", type=Path, help="another checkout, timed beside this one")
    parser.add_argument("--cold", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "commands.md")
    parser.add_argument("--share", nargs=argparse.REMAINDER, help="run these words, print JSON of shares to stderr")
    settings = parser.parse_args()
    if settings.share is not None:
        share(settings.share)
        sys.exit()
    if unknown := [name for name in settings.commands if name not in COMMANDS]:
        parser.error(f"no command {', '.join(unknown)}; there are {'; '.join(COMMANDS)}")
    if settings.other is not None:
        settings.other = settings.other.resolve()
    return settings


def run(place: Path, words: list[str], folder: str, more: dict[str, str] | None = None) -> tuple[float, float]:
    """Seconds on the wall and of the processor that a command takes, with the package of a checkout."""
    own = [word.replace("{out}", str(Path(folder) / "out")) for word in words]
    before, began = _processor(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "cartsim.cli", *own], env=_environment(place) | (more or {}), check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - began, _processor() - before


def shares(words: list[str], folder: str) -> dict[str, float]:
    own = [word.replace("{out}", str(Path(folder) / "out")) for word in words]
    done = subprocess.run(
        [sys.executable, __file__, "--share", *own], env=_environment(HERE), check=True, capture_output=True, text=True
    )
    return json.loads(done.stderr.splitlines()[-1])


def share(words: list[str]) -> None:
    """Run a command here, and look at what its threads are doing."""
    seen: Counter[str] = Counter()
    ended = threading.Event()
    me = []

    def look() -> None:
        me.append(threading.get_ident())
        while not ended.wait(EVERY):
            stacks = [_files(frame) for thread, frame in sys._current_frames().items() if thread not in me]  # noqa: SLF001 (a public function)
            seen[min((_kind(stack) for stack in stacks), key=KINDS.index)] += 1

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    sys.argv = ["cartsim", *words]
    try:
        from cartsim.cli import main as command

        command()
    except SystemExit:
        pass
    ended.set()
    watcher.join()
    total = sum(seen.values()) or 1
    print(json.dumps({kind: round(100 * seen[kind] / total, 1) for kind in KINDS}), file=sys.stderr)


def _files(frame: object) -> list[str]:
    names = []
    while frame is not None:
        names.append(frame.f_code.co_filename)  # type: ignore[attr-defined]
        frame = frame.f_back  # type: ignore[attr-defined]
    return names


def _kind(stack: list[str]) -> str:
    if any("importlib" in name for name in stack):
        return "imports"
    if any("matplotlib" in name or "/cartsim/plots/" in name or "/cartsim/paper/" in name for name in stack):
        return "pictures"
    return "engine" if any("/cartsim/engine/" in name for name in stack) else "rest"


def _environment(place: Path) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(place), os.environ.get("PYTHONPATH")]))
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": path}


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write(rows: list[dict[str, object]], path: Path) -> None:
    columns = list(rows[0])
    lines = [
        "# Commands as whole processes",
        "",
        f"| {' | '.join(columns)} |",
        "|---|" + "---:|" * (len(columns) - 1),
        *(
            "| "
            + " | ".join(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values())
            + " |"
            for row in rows
        ),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
