"""The notebooks: stored whole, without errors or traces of the machine, and their code still runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 600_000  # bytes

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path: Path) -> list[dict[str, Any]]:
    notebook = json.loads(path.read_text("utf-8"))
    assert notebook["nbformat"] == 4
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_is_stored_as_run_from_top_to_bottom(path: Path) -> None:
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert cell["outputs"], "".join(cell["source"])
        for output in cell["outputs"]:
            assert output["output_type"] in ("execute_result", "display_data", "stream")
            assert output.get("name") != "stderr", output


def test_is_small_and_tells_nothing_of_the_machine(path: Path) -> None:
    assert path.stat().st_size < LARGEST
    text = path.read_text("utf-8")
    assert not re.search(r"(?<![\w.])/(home|Users|tmp|root|work|opt|usr)/", text)
    assert not re.search(r"[A-Z]:\\\\", text)


def test_links_lead_somewhere(path: Path) -> None:
    cells = json.loads(path.read_text("utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("https://doi.org/")]
    for link in links:
        assert (FOLDER / link).is_file(), link


def test_code_runs(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with matplotlib.rc_context(), pd.option_context("display.precision", 6, "display.max_colwidth", 50):
        plt.switch_backend("agg")
        try:
            for number, cell in enumerate(code_cells(path), 1):
                exec(compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec"), namespace)
        finally:
            plt.close("all")
    assert not list(tmp_path.iterdir())
