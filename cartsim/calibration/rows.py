"""What each published row is in simulated patients: its statistic, and how its patients fall into classes.

`Sample` holds the judged patients of a trial under many draws of its population. `statistic` makes of it what the trial
would have published. `terms` divides the rows that count into pieces that share no patient's outcome, each with the
numbers observed in a few classes; under a draw they have the shares that `Term.read` gives.

* Responses of the same patients (ORR, VGPR or better, CR, ...) are one multinomial. A row of several arms, whose arms
  have rows of their own, adds only what these leave open: VGPR or better of all, between CR and ORR by dose, counts
  among those with PR or VGPR.
* Of a Kaplan-Meier median half the patients are free of the event at the published time, half are not. It counts as so
  many patients as its limits are worth (an exponential survival without censoring has a median whose logarithm has
  variance 1/(n ln(2)^2)), at most n.
* Of any other median half the values lie below; where many are the same, such as times of visits, the half may fall
  among these.
* A ratio of medians: half of the one group lies above the ratio times the median of the other. It counts as the
  harmonic size of the two groups, each taken as half of n.
* A correlation: patients on the same side of both medians, 1/2 + asin(r)/pi of a normal pair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cartsim.calibration import weighted
from cartsim.calibration.scores import DIGIT
from cartsim.calibration.weighted import Floats, Truths
from cartsim.endpoints.categories import response_codes
from cartsim.endpoints.kinetics import PERSISTENCE
from cartsim.endpoints.rules import Response
from cartsim.errors import InputError
from cartsim.schedule import MONTH
from cartsim.trial.measurements import Measurements
from cartsim.trial.outcome import Readout
from cartsim.trial.published import PublishedTrial, Row

COLUMNS = (
    "best",
    "response_day",
    "cr_day",
    "pfs_day",
    "pfs_event",
    "Cmax",
    "Tmax_day",
    "AUC0-28",
    *PERSISTENCE.values(),
    "mrd_lowest",
)
"""Columns of judged patients that rows are read off."""

Z = 1.959963984540054
"""Standard errors from the middle to the end of limits of 95 %."""

_LEAST = {
    "ORR": Response.PR,
    "VGPR or better": Response.VGPR,
    "CR": Response.CR,
}
_CODES: dict[str, frozenset[int]] = {
    **{name: frozenset(range(least, Response.CR + 1)) for name, least in _LEAST.items()},
    **{f"best response {each.name}": frozenset([int(each)]) for each in Response},
    "below PR": frozenset(range(Response.PR)),
}
_QUARTILES = {f"AUC quartile {k}": frozenset([k]) for k in (1, 2, 3, 4)}


@dataclass(frozen=True, eq=False)
class Sample:
    """Judged patients of the arms of one trial under k draws.

    Attributes
    ----------
    arm
        (p,) Name of the arm of each patient.
    weight
        (p,) Of each patient: published over simulated number of the arm.
    columns
        `COLUMNS` by name, (k, p) each: responses as codes, persistence as 1, 0 and NaN, days and values NaN for none.
    """

    arm: NDArray[np.str_]
    weight: Floats
    columns: Mapping[str, Floats]

    @classmethod
    def of(cls, trial: PublishedTrial, judged: Mapping[str, Mapping[str, Any]], draws: int) -> Sample:
        """The patients of each arm by its name, columns of draws*n values, those of a draw in succession."""
        arms, weights, parts = [], [], []
        for arm in trial.arms:
            columns = {name: _numbers(name, judged[arm.name][name]).reshape(draws, -1) for name in COLUMNS}
            n = columns["best"].shape[1]
            arms.append(np.full(n, arm.name))
            weights.append(np.full(n, (arm.n or n) / n))
            parts.append(columns)
        joined = {name: np.concatenate([part[name] for part in parts], axis=1) for name in COLUMNS}
        return cls(np.concatenate(arms), np.concatenate(weights), joined)

    @classmethod
    def measured(cls, trial: PublishedTrial, seen: Iterable[Measurements], draws: int) -> Sample:
        """As `of`, of what was measured in each arm, judged as the trial did."""
        judge = Readout(trial.protocol, keep_visits=False, columns=COLUMNS)
        return cls.of(trial, {arm.arm: arm.patients for arm in map(judge, seen)}, draws)

    def __getitem__(self, name: str) -> Floats:
        return self.columns[name]

    @cached_property
    def quartile(self) -> Floats:
        """(k, p) Quartile, 1 to 4, of AUC0-28 among all arms; NaN where it is not known."""
        area, everybody = self["AUC0-28"], np.ones_like(self["AUC0-28"], bool)
        edges = [weighted.quantile(area, self.weight, everybody, p)[:, None] for p in (0.25, 0.5, 0.75)]
        with np.errstate(invalid="ignore"):
            above = sum((area > edge).astype(float) for edge in edges)
        return np.where(np.isnan(area), np.nan, 1 + above)

    def members(self, row: Row) -> Truths:
        """(k, p) Who belongs to the arms and the subset of a row."""
        own = np.broadcast_to(np.isin(self.arm, row.arms), self["best"].shape)
        if not row.subset:
            return own
        best = self["best"]
        if row.subset.startswith("AUC"):
            return own & ((self.quartile == 1) if row.subset == "AUC quartile 1" else (self.quartile > 1))
        return own & ((best >= Response.PR) if row.subset == "responders" else (best == Response[row.subset]))


def statistic(row: Row, sample: Sample) -> Floats:
    """(k,) What the trial would have published under each draw, in the row's unit.

    NaN where there is nobody to tell of; infinite for a median that is not reached.
    """
    member, w = sample.members(row), sample.weight
    if row.statistic == "share":
        of, having = _sharing(row, sample)
        return 100 * row.evaluable * weighted.share(w, of, having)
    if row.statistic in ("KM median", "KM percent"):
        curves = _survival(row, sample)
        return curves.median() if row.statistic == "KM median" else 100 * curves.at(row.month or 0.0)
    if row.statistic == "median":
        return weighted.quantile(_values(row, sample), w, member, 0.5)
    if row.statistic == "correlation":
        return weighted.correlation(*_logarithms(sample), w, member)
    values, responders = _exposure(row, sample), sample["best"] >= Response.PR
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.divide(
            weighted.quantile(values, w, member & responders, 0.5),
            weighted.quantile(values, w, member & ~responders, 0.5),
        )
    return found


class Reading(NamedTuple):
    """Shares of the classes of a term (k, c), and of how many simulated patients (k,); NaN of none."""

    shares: Floats
    simulated: Floats


@dataclass(frozen=True)
class Term:
    """Rows that are one piece of the likelihood.

    Attributes
    ----------
    ids
        Of the rows.
    classes
        What the classes are, in words.
    observed
        (c,) Patients in each class; need not be whole numbers.
    read
        From a `Sample` the `Reading`.
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    observed: Floats
    read: Callable[[Sample], Reading]


def terms(trial: PublishedTrial, roles: Sequence[str] = ("fit",)) -> list[Term]:
    """The pieces of the likelihood of a trial, of the rows in these roles.

    Raises
    ------
    InputError
        For counts that contradict one another, and a row that adds nothing to the others and ought to be a repeat.
    """
    rows = [row for row in trial.rows if row.role in roles]
    found = []
    by_group: dict[tuple[str, tuple[str, ...], int, float], list[Row]] = {}
    for row in rows:
        if row.endpoint in _CODES and not row.subset:
            by_group.setdefault(("best", row.arms, row.n or 0, row.evaluable), []).append(row)
        elif row.endpoint in _QUARTILES and not row.subset:
            by_group.setdefault(("quartile", row.arms, row.n or 0, row.evaluable), []).append(row)
        elif row.statistic == "share":
            found.append(_share_term(row))
        elif row.statistic in ("KM median", "median"):
            found.append(_median_term(row))
        elif row.statistic == "correlation":
            found.append(_correlation_term(row))
        elif row.statistic == "ratio of medians":
            found.append(_ratio_term(row))
        else:
            found.append(_percent_term(row))
    groups = [_Group(trial, *key, own) for key, own in by_group.items()]
    return [group.term(groups) for group in groups] + found


class _Group:
    """Rows that count the same patients by category: the smallest sets of categories whose numbers they tell."""

    def __init__(
        self, trial: PublishedTrial, by: str, arms: tuple[str, ...], n: int, evaluable: float, rows: list[Row]
    ) -> None:
        self.trial, self.by, self.arms, self.n, self.evaluable, self.rows = trial, by, arms, n, evaluable, rows
        known = _CODES if by == "best" else _QUARTILES
        sets = [known[row.endpoint] for row in rows]
        every = range(7) if by == "best" else range(1, 5)
        cells: dict[tuple[bool, ...], list[int]] = {}
        for code in every:
            cells.setdefault(tuple(code in own for own in sets), []).append(code)
        self.cells = [frozenset(own) for own in cells.values()]
        inside = np.array([*zip(*cells, strict=True), np.ones(len(cells))], float)
        told = np.array([*(_events(row) for row in rows), n], float)
        numbers, _, rank, _ = np.linalg.lstsq(inside, told, rcond=None)
        names = ", ".join(row.id for row in rows)
        if not np.allclose(inside @ numbers, told) or (numbers < -1e-6).any():
            raise InputError(f"{trial.name}: {names} contradict one another; check events and n")
        if rank < len(numbers):
            raise InputError(f"{trial.name}: {names} do not tell how many had each; add the row between them")
        self.numbers = numbers.clip(min=0).round(9)

    def term(self, groups: list[_Group]) -> Term:
        parts = [g for g in groups if g is not self and g.by == self.by and set(g.arms) < set(self.arms)]
        covered = {arm for part in parts for arm in part.arms}
        ids = tuple(row.id for row in self.rows)
        if covered != set(self.arms):
            if covered:
                raise InputError(
                    f"{self.trial.name}: {', '.join(ids)} repeat some arms of other rows; make them repeats"
                )
            return self._term(ids, self.cells, self.numbers)
        # The coarsest division that every part knows, and what this group adds to it.
        sums = [_sums(part) for part in parts]
        common = _common([part.cells for part in parts])
        taken = [(cell, sum(own[cell] for own in sums)) for cell in common]
        open_ = [(cell, n) for cell, n in taken if not any(cell <= own for own in self.cells)]
        if len(open_) != 1:
            raise InputError(f"{self.trial.name}: {', '.join(ids)} add nothing to the rows by arm; make them repeats")
        whole, n = open_[0]
        inner, numbers = [], []
        for own, number in zip(self.cells, self.numbers, strict=True):
            if own & whole:
                inner.append(own & whole)
                numbers.append(number - sum(count for cell, count in taken if cell < own or cell == own))
        if min(numbers) < 0 or abs(sum(numbers) - n) > 0.5:
            raise InputError(f"{self.trial.name}: {', '.join(ids)} contradict the rows by arm; check events and n")
        return self._term(ids, inner, np.array(numbers))

    def _term(self, ids: tuple[str, ...], cells: list[frozenset[int]], numbers: Floats) -> Term:
        names = tuple(_cell_name(self.by, cell) for cell in cells)
        return Term(ids, names, numbers, partial(_read_cells, self.by, self.arms, self.evaluable, cells))


def _sums(group: _Group) -> dict[frozenset[int], float]:
    """Numbers of every union of a group's cells."""
    found: dict[frozenset[int], float] = {frozenset(): 0.0}
    for cell, number in zip(group.cells, group.numbers, strict=True):
        found |= {union | cell: count + number for union, count in found.items()}
    return found


def _common(divisions: list[list[frozenset[int]]]) -> list[frozenset[int]]:
    """The finest sets that are unions of cells of every division."""
    sets = [cell for cells in divisions for cell in cells]
    merged: list[frozenset[int]] = []
    for cell in sets:
        joined = cell.union(*[own for own in merged if own & cell])
        merged = [own for own in merged if not own & cell] + [joined]
    return merged


def _cell_name(by: str, cell: frozenset[int]) -> str:
    return " or ".join(Response(code).name if by == "best" else f"quartile {code}" for code in sorted(cell))


def _read_cells(
    by: str, arms: tuple[str, ...], evaluable: float, cells: list[frozenset[int]], sample: Sample
) -> Reading:
    codes, w = sample["best"] if by == "best" else sample.quartile, sample.weight
    own = np.isin(sample.arm, arms) & ~np.isnan(codes)
    union = frozenset().union(*cells)
    lowest = 0 if by == "best" else 1
    if lowest in union and evaluable < 1:  # who was not evaluable stands in the lowest class
        shares = np.stack([weighted.share(w, own, np.isin(codes, [*cell])) for cell in cells], axis=1) * evaluable
        shares[:, [lowest in cell for cell in cells].index(True)] += 1 - evaluable
        return Reading(shares, weighted.size(w, own))
    member = own & np.isin(codes, [*union])
    shares = np.stack([weighted.share(w, member, np.isin(codes, [*cell])) for cell in cells], axis=1)
    return Reading(shares, weighted.size(w, member))


def _share_term(row: Row) -> Term:
    def read(sample: Sample) -> Reading:
        of, having = _sharing(row, sample)
        had = row.evaluable * weighted.share(sample.weight, of, having)
        return Reading(np.stack([had, 1 - had], axis=1), weighted.size(sample.weight, of))

    n, events = row.n or 0, _events(row)
    counted = (row.counted or n) / n
    return Term((row.id,), (row.endpoint, "not"), counted * np.array([events, n - events], float), read)


def _percent_term(row: Row) -> Term:
    def read(sample: Sample) -> Reading:
        free = _survival(row, sample).at(row.month or 0.0)
        return Reading(np.stack([free, 1 - free], axis=1), weighted.size(sample.weight, sample.members(row)))

    n, share = row.counted or row.n or 0, row.value / 100
    return Term((row.id,), ("free", "not"), n * np.array([share, 1 - share]), read)


def _median_term(row: Row) -> Term:
    """Half free of the event, or below the value, at the published median."""

    def read(sample: Sample) -> Reading:
        member, w = sample.members(row), sample.weight
        if row.statistic == "KM median":
            early = 1 - _at_or_last(_survival(row, sample), row.value)
        else:
            values = _values(row, sample)
            extent = 0.0 if row.unit == "days" else DIGIT["months"]
            under, upto = (
                weighted.below(values, w, member, level)
                for level in (np.nextafter(row.value - extent, -np.inf), row.value + extent)
            )
            early = np.clip(0.5, under, upto)
        return Reading(np.stack([early, 1 - early], axis=1), weighted.size(w, member))

    half = worth(row) / 2
    return Term((row.id,), ("by the median", "later"), np.array([half, half]), read)


def _at_or_last(curves: weighted.Curves, time: float) -> Floats:
    """(k,) Survival at a time; where the curve ends before, its last value."""
    found = curves.at(time)
    return np.where(np.isnan(found) & ~np.isnan(curves.known_to), curves.survival[:, -1], found)


def worth(row: Row) -> float:
    """As how many patients a median counts: those of its limits, at most n, times the share that is counted."""
    n = float(row.n) if row.n else math.inf
    spread = half_width(row) if row.statistic == "KM median" else math.nan
    known = (Z / (math.log(2) * spread)) ** 2 if spread > 0 else math.inf
    share = row.counted / row.n if row.counted and row.n else 1.0
    return share * min(n, known)


def half_width(row: Row) -> float:
    """Half of the limits of a median, of its logarithm; the lower half where the upper limit is not reached, or NaN."""
    if not math.isfinite(row.low):
        return math.nan
    return math.log(row.high / row.low) / 2 if math.isfinite(row.high) else math.log(row.value / row.low)


def _ratio_term(row: Row) -> Term:
    def read(sample: Sample) -> Reading:
        member, w, values = sample.members(row), sample.weight, _exposure(row, sample)
        responders = sample["best"] >= Response.PR
        level = row.value * weighted.quantile(values, w, member & ~responders, 0.5)[:, None]
        under = weighted.below(values, w, member & responders, level)
        sizes = (weighted.size(w, member & who & ~np.isnan(values)) for who in (responders, ~responders))
        return Reading(np.stack([under, 1 - under], axis=1), _harmonic(*sizes))

    half = (row.counted or row.n or 0) / 4
    return Term((row.id,), ("below the ratio", "above"), np.array([half / 2, half / 2]), read)


def _harmonic(a: Floats, b: Floats) -> Floats:
    return np.divide(a * b, a + b, out=np.zeros_like(a), where=a + b > 0)


def _correlation_term(row: Row) -> Term:
    def read(sample: Sample) -> Reading:
        r = weighted.correlation(*_logarithms(sample), sample.weight, sample.members(row))
        same = 0.5 + np.arcsin(np.clip(r, -1, 1)) / math.pi
        return Reading(np.stack([same, 1 - same], axis=1), weighted.size(sample.weight, sample.members(row)))

    n, same = row.counted or row.n or 0, 0.5 + math.asin(row.value) / math.pi
    return Term((row.id,), ("same side of both medians", "not"), n * np.array([same, 1 - same]), read)


def _sharing(row: Row, sample: Sample) -> tuple[Truths, Truths]:
    """(k, p) each: of whom a share is, and who has it."""
    member, best = sample.members(row), sample["best"]
    if row.endpoint in _CODES:
        return member, np.isin(best, [*_CODES[row.endpoint]])
    if row.endpoint in _QUARTILES:
        return member & ~np.isnan(sample.quartile), np.isin(sample.quartile, [*_QUARTILES[row.endpoint]])
    if row.endpoint.startswith("MRD"):
        lowest = sample["mrd_lowest"]
        with np.errstate(invalid="ignore"):
            negative = lowest < 1e5 * (row.limit or 0.0)
        if row.endpoint == "MRD-negative CR":
            return member, negative & (best == Response.CR)
        return member & ~np.isnan(lowest), negative
    if row.endpoint == "relapse":
        return member, sample["pfs_event"] > 0
    seen = sample[PERSISTENCE[round(row.month or 0)]]
    return member & ~np.isnan(seen), seen > 0


def _survival(row: Row, sample: Sample) -> weighted.Curves:
    time, event = sample["pfs_day"], sample["pfs_event"] > 0
    if row.endpoint == "DOR":
        responded = sample["response_day"] <= time
        time = np.where(responded, time - sample["response_day"], np.nan)
    return weighted.kaplan_meier(time / MONTH, event, sample.weight, sample.members(row))


def _values(row: Row, sample: Sample) -> Floats:
    """Values of which a median is published, in its unit."""
    if row.endpoint == "Tmax":
        return sample["Tmax_day"]
    return sample["cr_day" if row.endpoint == "TTCR" else "response_day"] / MONTH


def _exposure(row: Row, sample: Sample) -> Floats:
    return sample["Cmax" if row.endpoint.startswith("Cmax") else "AUC0-28"]


def _logarithms(sample: Sample) -> tuple[Floats, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(sample["Cmax"]), np.log(sample["AUC0-28"])


def _events(row: Row) -> int:
    return round((row.n or 0) * row.value / 100) if row.events is None else row.events


def _numbers(name: str, column: Any) -> Floats:
    """A column of judged patients as numbers: responses by code, what is missing NaN."""
    if name == "best" and not isinstance(column, np.ndarray):
        return np.maximum(response_codes(column), 0).astype(float)
    if isinstance(column, np.ndarray):
        return column.astype(float)
    return np.asarray(column.to_numpy(dtype=float, na_value=np.nan))
