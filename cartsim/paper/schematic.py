"""Figure 1: the three models as graphs of their states, with the processes that their equations hold."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cartsim.model.processes import Process, processes
from cartsim.model.reader import load
from cartsim.paper.drawn import Drawn, paragraphs
from cartsim.plots.style import COLORS, INK, legend_below, line

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from cartsim.model.model import Model

Point = tuple[float, float]

FLOW, GAIN, LOSS, DRIVE = INK, COLORS[2], COLORS[1], COLORS[0]
HALF = (0.85, 0.4)  # inches from the middle of a box to its sides
OUT = 0.62  # length of the arrow of a loss
STEEP = 0.7  # slope of an arrow from which its word stands beside it
LETTER = 0.062  # width of a letter of it
SIDES: dict[str, Point] = {"left": (-1, 0), "right": (1, 0), "up": (0, 1), "down": (0, -1)}


@dataclass(frozen=True)
class Layout:
    """Where a model is drawn, in inches. What is drawn is the model's: states, processes, words.

    places: middle of each state's box; regions: name, left, bottom, width and height of a ground; exits: the side to
    which a state is lost, by default down; bends: curvature of
    the arrow from a driver (first) to the process of a state.
    """

    letter: str
    title: str
    size: Point
    places: dict[str, Point]
    regions: dict[str, tuple[float, float, float, float]]
    exits: dict[str, str]
    bends: dict[tuple[str, str], float]


LAYOUTS = {
    "bb2121_invitro": Layout(
        "a",
        "In vitro coculture",
        (11.8, 2.3),
        {"Ne": (2.6, 1.15), "cplx": (5.9, 1.15), "Nt": (9.2, 1.15)},
        {"Well": (1.2, 0.05, 9.4, 2.2)},
        {"cplx": "up"},
        {("cplx", "Nt"): 0.15},
    ),
    "bb2121_xenograft": Layout(
        "b1",
        "Xenograft mice",
        (11.8, 3.85),
        {
            "CART_PB": (1.85, 2.5),
            "CART_tumor": (4.8, 2.5),
            "complex": (7.4, 2.5),
            "K1": (2.5, 0.9),
            "K2": (5.0, 0.9),
            "K3": (7.5, 0.9),
            "K4": (10.0, 0.9),
            "V": (10.0, 2.5),
        },
        {"Blood": (0.1, 1.5, 2.85, 2.25), "Tumor": (3.65, 1.5, 8.1, 2.25)},
        {"CART_PB": "left", "complex": "up", "V": "right"},
        {("K4", "V"): 0.15},
    ),
    "bb2121_clinical": Layout(
        "b2",
        "Patients with multiple myeloma",
        (11.8, 4.0),
        {
            "CARTe_PB": (1.85, 2.75),
            "CARTm_PB": (1.85, 0.75),
            "CARTe_BM": (4.75, 2.75),
            "CARTm_BM": (4.75, 0.75),
            "complex": (7.2, 1.15),
            "Tumor": (8.65, 2.75),
            "mprotein": (10.85, 2.75),
            "sBCMA": (10.85, 0.95),
        },
        {"Blood": (0.1, 0.05, 2.85, 3.9), "Bone marrow": (3.65, 0.05, 5.95, 3.9), "Serum": (9.85, 0.05, 1.9, 3.9)},
        {"CARTe_PB": "left", "CARTm_PB": "left", "mprotein": "up"},
        {("CARTm_BM", "CARTe_BM"): 1.15, ("complex", "CARTe_BM"): 0.4},
    ),
}


def figure_1() -> Drawn:
    """The states of the three models and the processes between them, read off their equations.

    The frame holds a row for each process: model, kind (flow, growth, production, loss), source, target, rate, what
    drives it, and its terms in the rates of target and source.
    """
    import pandas as pd
    from matplotlib.figure import Figure

    models = {name: load(name) for name in LAYOUTS}
    found = {name: processes(model) for name, model in models.items()}
    sizes = [layout.size for layout in LAYOUTS.values()]
    figure = Figure(figsize=(sizes[0][0], sum(size[1] for size in sizes) + 1.3), layout="constrained")
    axes = figure.subplots(len(sizes), 1, height_ratios=[size[1] for size in sizes])
    for axis, (name, layout) in zip(axes, LAYOUTS.items(), strict=True):
        _draw(axis, models[name], found[name], layout)
    legend_below(figure, _handles())
    rows = [{"model": name, **vars(each)} for name, processes_ in found.items() for each in processes_]
    table = pd.DataFrame(rows).assign(drivers=lambda frame: frame["drivers"].str.join(", "))
    return Drawn(figure, table, _caption(models, table))


def _draw(axis: Axes, model: Model, found: list[Process], layout: Layout) -> None:
    from matplotlib.patches import FancyBboxPatch

    axis.set_xlim(0, layout.size[0])
    axis.set_ylim(0, layout.size[1])
    axis.set_aspect("equal")
    axis.set_axis_off()
    axis.set_title(layout.letter, loc="left", fontweight="bold", fontsize=11)
    axis.set_title(f"{layout.title} ({model.name})", fontsize=11)
    for region, (left, bottom, width, height) in layout.regions.items():
        ground = FancyBboxPatch((left, bottom), width, height, "round,pad=0,rounding_size=0.12", fc="#F3F5F7", lw=0)
        axis.add_patch(ground)
        axis.text(left + 0.1, bottom + height - 0.08, region, va="top", fontsize=10, color="#5A6570", style="italic")
    boxes = {}
    for name, (x, y) in layout.places.items():
        corner = (x - HALF[0], y - HALF[1])
        boxes[name] = FancyBboxPatch(
            corner, 2 * HALF[0], 2 * HALF[1], "round,pad=0,rounding_size=0.1", fc="white", ec=INK, lw=1.1, zorder=3
        )
        axis.add_patch(boxes[name])
        words = textwrap.fill(re.split(r"[,;:(]", model.states[name].doc)[0].strip(), 20)
        axis.text(x, y + 0.22, name, ha="center", va="center", fontsize=10, fontweight="bold", zorder=4)
        axis.text(x, y - 0.1, words, ha="center", va="center", fontsize=8.5, zorder=4, linespacing=1.0)
    pen = _Pen(axis, boxes, layout)
    if model.dosing is not None:
        x, y = layout.places[model.dosing.state]
        pen.arrow((x, y + HALF[1] + 0.42), (x, y + HALF[1]), FLOW)
        pen.say((x + 0.08, y + HALF[1] + 0.26), "dose", FLOW, ha="left")
    pairs = {(each.source, each.target) for each in found if each.kind == "flow"}
    for each in found:
        pen.process(each, both_ways=(each.target, each.source) in pairs)


class _Pen:
    """Draws the processes of one model between its boxes."""

    def __init__(self, axis: Axes, boxes: dict[str, Any], layout: Layout) -> None:
        self.axis, self.boxes, self.layout = axis, boxes, layout

    def process(self, each: Process, *, both_ways: bool) -> None:
        """The process, and an arrow from each state that drives it."""
        if each.kind == "flow":
            self.flow(each, both_ways)
            return
        if each.kind == "production":
            for driver in each.drivers:
                self.production(driver, each)
            return
        end = self.growth(each) if each.kind == "growth" else self.loss(each)
        for driver in each.drivers:
            bend = self.layout.bends.get((driver, each.source or each.target or ""), 0.0)
            style: dict[str, Any] = {"ls": (0, (1, 1.5)), "lw": 1.2, "rad": bend}
            self.arrow(self.layout.places[driver], end, DRIVE, start=self.boxes[driver], **style)

    def flow(self, each: Process, both_ways: bool) -> None:
        assert each.source is not None
        assert each.target is not None
        (x0, y0), (x1, y1) = self.layout.places[each.source], self.layout.places[each.target]
        size = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        across = (-(y1 - y0) / size, (x1 - x0) / size)
        aside = 0.11 if both_ways else 0.0
        dx, dy = aside * across[0], aside * across[1]
        self.arrow(
            (x0 + dx, y0 + dy), (x1 + dx, y1 + dy), FLOW, start=self.boxes[each.source], end=self.boxes[each.target]
        )
        away = aside + (0.12 if abs(across[1]) > 0.5 else 0.2)
        self.say(((x0 + x1) / 2 + away * across[0], (y0 + y1) / 2 + away * across[1]), each.rate, FLOW)

    def growth(self, each: Process) -> Point:
        x, y = self.layout.places[each.target or ""]
        top = y + HALF[1]
        self.arrow((x - 0.3, top), (x + 0.3, top), GAIN, rad=-1.1)
        self.say((x, top + 0.43), each.rate, GAIN)
        return x + 0.24, top + 0.22

    def loss(self, each: Process) -> Point:
        name = each.source or ""
        x, y = self.layout.places[name]
        dx, dy = SIDES[self.layout.exits.get(name, "down")]
        start = (x + dx * HALF[0], y + dy * HALF[1])
        end = (start[0] + dx * OUT, start[1] + dy * OUT * 0.75)
        self.arrow(start, end, LOSS)
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        if dx:
            self.say((middle[0], middle[1] + 0.13), each.rate, LOSS)
        else:
            self.say((middle[0] + 0.08, middle[1]), each.rate, LOSS, ha="left")
        return middle

    def production(self, driver: str, each: Process) -> None:
        name = each.target or ""
        start, end = self.layout.places[driver], self.layout.places[name]
        self.arrow(start, end, GAIN, start=self.boxes[driver], end=self.boxes[name], ls=(0, (4, 2)))
        x, y, slope = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2, (end[1] - start[1]) / (end[0] - start[0])
        if abs(slope) > STEEP:  # beside the arrow, else above it
            self.say((x - 0.12 * np.sign(slope), y + 0.06), each.rate, GAIN, ha="right" if slope > 0 else "left")
        else:
            self.say((x, y + 0.12 + LETTER / 2 * len(each.rate) * abs(slope)), each.rate, GAIN)

    def arrow(
        self, a: Point, b: Point, color: str, *, start: Any = None, end: Any = None, rad: float = 0.0, **style: Any
    ) -> None:
        from matplotlib.patches import FancyArrowPatch

        shape = f"arc3,rad={rad}"
        options = {"lw": 1.4, "mutation_scale": 10, "zorder": 2} | style
        ends: dict[str, Any] = {"patchA": start, "patchB": end, "shrinkA": 0, "shrinkB": 1, "connectionstyle": shape}
        self.axis.add_patch(FancyArrowPatch(a, b, arrowstyle="-|>", color=color, **ends, **options))

    def say(self, at: Point, text: str, color: str, ha: str = "center") -> None:
        from matplotlib.patheffects import withStroke

        halo = [withStroke(linewidth=2.5, foreground="white")]
        self.axis.text(*at, text, fontsize=9.5, color=color, ha=ha, va="center", zorder=5, path_effects=halo)


def _handles() -> list[Any]:
    lines: dict[str, dict[str, Any]] = {
        "flow": {"color": FLOW},
        "growth": {"color": GAIN},
        "production, from what it depends on": {"color": GAIN, "ls": (0, (4, 2))},
        "loss": {"color": LOSS},
        "drives this process": {"color": DRIVE, "ls": (0, (1, 1.5)), "lw": 1.2},
    }
    return [line(label, **{"lw": 1.4, **style}) for label, style in lines.items()]


def _caption(models: dict[str, Model], table: pd.DataFrame) -> str:
    counts = table.groupby("model", sort=False).size()
    said = "; ".join(f"{name} {len(model.states)} states, {counts[name]} processes" for name, model in models.items())
    rates = []
    for name, model in models.items():
        used = [x for x in ("expansion", "kill", "signal", "transit") if x in model.definitions]
        shown = "; ".join(f"{x} = {model.definitions[x].text}" for x in used)
        rates.append(f"{name}: {shown}")
    return paragraphs(
        f"""Figure 1. Cell-level model (a) and models of cell kinetics and response in mice (b1) and patients (b2), each
        drawn from its own model file: a box is a state, an arrow a term of the equations ({said}). Only the places of
        the boxes are chosen by hand.""",
        """Cells flow between volumes, so that a concentration that leaves one enters the other times the ratio of both
        volumes. Binding (kon) makes complexes of what is free of both partners and does not use up cells. Rates that
        are not constants, as the files define them:""",
        *rates,
        """As the paper draws it: memory cells in patients only, killing delayed by transits in mice only, expansion and
        killing both driven by complexes. Where it differs: expansion in patients is per CAR-T cell of both phenotypes,
        hence the arrow from memory cells.""",
    )
