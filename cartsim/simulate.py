"""simulate(model, patients, regimen, times, outputs) -> Simulation: every patient's outputs at every time."""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartsim import memory
from cartsim.errors import InputError
from cartsim.model import Model, load
from cartsim.population import Population, patients_from_table
from cartsim.regimen import Regimen
from cartsim.version import __version__

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from cartsim.engine.rodas import Trajectories

RTOL = 1e-6
LOOSEST, TIGHTEST = (
    1e-4,
    1e-11,
)  # looser than this, rare patients come out wrong; tighter, rounding takes over


@dataclass(frozen=True)
class Simulation:
    """Outputs of all patients, how each one's integration ended, and what made them.

    ``values[name]`` is an array (patients, times): NaN for a patient that failed (or from the time on at which its
    tumor outgrew every limit), and as it was computed where the model's formula gives no finite number. ``ids`` (n,),
    ``times`` (m,) in the model's time unit, ``status`` (n,) codes of :class:`cartsim.engine.rodas.Status`, ``steps``
    (n,) integration steps, ``retreated`` (n,) the time of the first conditional infusion or NaN. ``made_by`` holds
    model, seed, settings and versions.
    """

    model: Model
    ids: NDArray[Any]
    times: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]
    status: NDArray[np.int64]
    steps: NDArray[np.int64]
    retreated: NDArray[np.float64]
    made_by: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, output: str) -> NDArray[np.float64]:
        """The array (patients, times) of one output."""
        if output not in self.values:
            raise InputError(f"no output {output!r} in this simulation; it holds {', '.join(self.values)}")
        return self.values[output]

    def frame(self) -> pd.DataFrame:
        """Long table: ``id``, ``time`` and a column for each output."""
        import numpy as np
        import pandas as pd

        n, m = len(self.ids), len(self.times)
        columns = {"id": np.repeat(self.ids, m), "time": np.tile(self.times, n)}
        return pd.DataFrame(columns | {name: values.reshape(-1) for name, values in self.values.items()})

    def patients(self) -> pd.DataFrame:
        """How each patient went: ``id``, ``status``, ``steps``, ``retreated``."""
        import pandas as pd

        from cartsim.engine.rodas import Status

        names = [Status(code).name for code in self.status]
        return pd.DataFrame(
            {"id": self.ids, "status": names, "steps": self.steps, "retreated": self.retreated}
        )

    def failures(self) -> pd.DataFrame:
        """The patients without a finite value of every output at every time."""
        patients = self.patients()
        return patients[patients["status"] != "ok"].reset_index(drop=True)

    def to_xarray(self) -> Any:
        """An xarray Dataset with dimensions ``id`` and ``time`` (needs xarray, an optional extra)."""
        try:
            import xarray
        except ImportError:
            raise InputError("to_xarray needs the package xarray; install cartsim[xarray]") from None
        data = {name: (("id", "time"), values) for name, values in self.values.items()}
        return xarray.Dataset(data, coords={"id": self.ids, "time": self.times})


def simulate(
    model: str | Path | Model,
    patients: int | Population | pd.DataFrame | Mapping[str, ArrayLike] | str | Path | None = None,
    regimen: float | Regimen | None = None,
    times: ArrayLike | None = None,
    outputs: Sequence[str] | None = None,
    *,
    n: int | None = None,
    rtol: float = RTOL,
    extinction: float | None = None,
    n_jobs: int = 1,
    max_steps: int = 20_000,
    announce: Callable[[str], None] | None = None,
) -> Simulation:
    """Simulate patients under a regimen.

    model: a packaged model's name, a path to a ``.toml`` file, or a :class:`Model`.
    patients: nothing (the typical patient), a number of virtual patients drawn by the model's own variability, a
        :class:`Population` together with ``n``, or a table (data frame, mapping of columns, CSV file) with a row a
        patient and columns named as parameters or covariates, optionally ``id`` and ``dose``.
    regimen: a dose at time 0 or a :class:`Regimen`; else each patient's ``dose`` column, else the model's own dose.
    times: where to read the outputs, increasing, from 0, in the model's time unit.
    outputs: names of outputs and states; all outputs of the model file if not given.
    rtol: relative tolerance, 1e-4 to 1e-11; log-scaled states keep it however small they become.
    extinction: cells below which a pool is gone until the next dose; by default none ever is.
    n_jobs: threads among which the patients are shared.

    Raises InputError before any work for bad input. A patient whose integration fails does not raise: it has its
    status, and NaN for its outputs.
    """
    import numpy as np

    from cartsim.engine.rodas import Trajectories

    model = load(model)
    if isinstance(patients, Population):
        if patients.model.digest != model.digest:
            raise InputError("the population was made for another model; make it with Population(model)")
        model = patients.model  # with the values that its patients were drawn around
    times = _times(times)
    names = _outputs(model, outputs)
    asked = n if n is not None else patients
    if isinstance(asked, numbers.Integral):  # before they are drawn
        memory.require_simulation(int(asked), len(times), len(names), len(model.parameters))
    table, ids, own_dose, seed = _table(model, patients, n)
    memory.require_simulation(len(ids), len(times), len(names), len(model.parameters))
    if not (isinstance(rtol, (int, float)) and TIGHTEST <= rtol <= LOOSEST):
        raise InputError(f"rtol is {rtol}; give a number from {TIGHTEST:g} to {LOOSEST:g} (default {RTOL:g})")
    if extinction is not None and not (math.isfinite(extinction) and extinction >= 0):
        raise InputError(f"extinction is {extinction}; give a number of cells, 0 or more")
    regimen = _regimen(model, regimen, own_dose)
    parameters = model.values(table, len(ids))
    if patients is None:  # the typical patient: all of the run
        model.check_start(dict(zip(model.parameters, parameters[0].tolist(), strict=True)))
    dose_times, dose_amounts = _schedule(model, regimen, len(ids), own_dose)
    integrate = _integrator(
        model, regimen, times, names, extinction, rtol, max_steps, announce if announce else _say
    )

    shares = min(max(1, n_jobs if n_jobs > 0 else _cores()), max(1, len(ids) // 64))
    edges = np.linspace(0, len(ids), shares + 1).astype(int)
    parts = [slice(a, b) for a, b in pairwise(edges)]
    found = Trajectories.empty(len(names), len(ids), len(times))
    if shares == 1:
        integrate(parameters, dose_times, dose_amounts, found)
    else:
        from joblib import Parallel, delayed

        Parallel(n_jobs=shares, prefer="threads")(
            delayed(integrate)(parameters[part], dose_times, dose_amounts[part], found.part(part)) for part in parts
        )
    return Simulation(
        model=model,
        ids=ids,
        times=times,
        values=dict(zip(names, found.outputs, strict=True)),
        status=found.status,
        steps=found.steps,
        retreated=found.retreated,
        made_by=made_by(model, seed=seed, rtol=rtol, extinction=extinction, regimen=regimen),
    )


def made_by(model: Model, **settings: Any) -> dict[str, Any]:
    """What a result came from: model, settings and the versions that computed it."""
    return {
        "model": model.name,
        "model_file": Path(model.path).name,
        "model_digest": model.digest,
        "values": {name: p.value for name, p in model.parameters.items() if p.value is not None},
        "cartsim": __version__,
        "numpy": _version("numpy"),
        "numba": _version("numba"),
        **{
            name: value if isinstance(value, (int, float, str, type(None))) else repr(value)
            for name, value in settings.items()
        },
    }


@cache
def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def _say(message: str) -> None:
    print(f"cartsim: {message}", file=sys.stderr)


def _cores() -> int:
    from joblib import cpu_count

    return int(cpu_count())


def _table(
    model: Model, patients: Any, n: int | None
) -> tuple[Any, NDArray[Any], NDArray[np.float64] | None, int | None]:
    """Patients in any of their forms as columns, ids, own doses and (for virtual ones) the seed."""
    import numpy as np

    if isinstance(patients, (int, np.integer)) and not isinstance(patients, bool):
        patients, n = Population(model), int(patients)
    if isinstance(patients, Population):
        if n is None or n < 1:
            raise InputError(f"{n} virtual patients; say how many with n, 1 or more")
        frame = patients.table(0, n)
        return frame, frame.index.to_numpy(), None, patients.seed
    if n is not None:
        raise InputError("n goes with a Population; a table of patients has as many as its rows")
    if patients is None:
        return {}, np.zeros(1, np.int64), None, None
    if isinstance(patients, Mapping):
        import pandas as pd

        patients = pd.DataFrame({name: np.atleast_1d(column) for name, column in patients.items()})
    frame = patients_from_table(model, patients)
    ids = frame["id"].to_numpy() if "id" in frame.columns else frame.index.to_numpy()
    dose = frame["dose"].to_numpy(float) if "dose" in frame.columns else None
    return frame, ids, dose, None


def _times(times: Any) -> NDArray[np.float64]:
    import numpy as np

    if times is None:
        raise InputError("give the times at which to read the outputs, for example range(0, 365)")
    try:
        values = np.atleast_1d(np.asarray(times, float))
    except (TypeError, ValueError):
        raise InputError(f"times are {times!r}; give numbers, increasing, from 0") from None
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise InputError("times must be a list of finite numbers, increasing, from 0")
    if values[0] < 0 or (np.diff(values) <= 0).any():
        at = 0 if values[0] < 0 else int(np.argmax(np.diff(values) <= 0)) + 1
        raise InputError(f"time {values[at]:g} at place {at + 1}: times must increase and none be negative")
    return values


def _outputs(model: Model, outputs: Sequence[str] | None) -> list[str]:
    known = [*model.outputs, *model.states]
    if outputs is None:
        return list(model.outputs) or known
    names = [outputs] if isinstance(outputs, str) else list(outputs)
    for name in names:
        if name not in known:
            raise InputError(f"model {model.name!r} has no output {name!r}; it has {', '.join(known)}")
    if len(set(names)) < len(names) or not names:
        raise InputError(f"outputs {', '.join(names) or '(none)'}: name at least one, each once")
    return names


def _regimen(model: Model, regimen: Any, own_dose: Any) -> Regimen:
    if isinstance(regimen, Regimen):
        return regimen
    if regimen is None:
        if own_dose is not None:
            return Regimen.single()
        return Regimen.single(model.dosing.dose) if model.dosing else Regimen.none()
    try:
        dose = float(regimen)
    except (TypeError, ValueError):
        raise InputError(f"the regimen is {regimen!r}; give a dose in cells or a Regimen") from None
    return Regimen.single(dose)


def _schedule(model: Model, regimen: Regimen, n: int, own_dose: Any) -> tuple[Any, Any]:
    if regimen.doses and model.dosing is None:
        raise InputError(f"model {model.name!r} has no [dosing] section, so nothing can be infused")
    if any(infusion.amount is None for infusion in regimen.doses) and own_dose is None and model.dosing:
        own_dose = model.dosing.dose
    return regimen.schedule(n, own_dose)


def _integrator(
    model: Model,
    regimen: Regimen,
    times: NDArray[np.float64],
    names: list[str],
    extinction: float | None,
    rtol: float,
    max_steps: int,
    announce: Callable[[str], None],
) -> Callable[[Any, Any, Any, Trajectories], None]:
    """The engine with everything but the patients filled in."""
    import numpy as np

    from cartsim.engine import kernel, rodas

    states = list(model.states)
    compiled = kernel.compile_model(model, announce)
    every = [*model.outputs, *states]
    columns = np.array([names.index(name) if name in names else -1 for name in every], np.int64)
    needed = np.array(sorted(states.index(s) for s in _states_read(model, names)), np.int64)
    log_scaled = np.array([s.scale == "log" for s in model.states.values()])
    retreatment = None
    rule = regimen.retreatment
    if rule is not None:
        if rule.state not in model.states:
            raise InputError(
                f"retreatment watches {rule.state!r}; it can watch the states {', '.join(states)}"
            )
        retreatment = rodas.Retreatment(
            state=states.index(rule.state),
            factor=rule.above_nadir if rule.above_nadir is not None else -math.inf,
            above=rule.above if rule.above is not None else -math.inf,
            earliest=rule.earliest,
            delay=rule.delay,
            maximum=rule.maximum,
        )

    def integrate(parameters: Any, dose_times: Any, dose_amounts: Any, into: Trajectories) -> None:
        limits = None
        if extinction:
            place = list(model.parameters).index
            limits = np.zeros((len(parameters), len(states)))
            for i, state in enumerate(model.states.values()):
                if state.volume is not None:
                    limits[:, i] = extinction / parameters[:, place(state.volume)]
        amounts = None
        if rule is not None:
            amounts = dose_amounts[:, 0] if rule.dose is None else np.full(len(parameters), rule.dose)
        rodas.integrate(
            compiled,
            parameters,
            dose_times,
            dose_amounts,
            times,
            columns,
            into,
            log_scaled=log_scaled,
            negligible=np.array([s.negligible for s in model.states.values()]),
            ceilings=np.array([s.ceiling or np.inf for s in model.states.values()]),
            needed=needed,
            seeded=any(s.seed is not None for s in model.states.values()),
            extinction=limits,
            retreatment=retreatment,
            retreatment_amounts=amounts,
            rtol=rtol,
            max_steps=max_steps,
        )

    return integrate


def _states_read(model: Model, names: Sequence[str]) -> set[str]:
    """The states from which the named outputs are computed."""
    read: set[str] = set()
    waiting = list(names)
    done: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        if name in model.states:
            read.add(name)
        elif name in model.outputs:
            waiting.extend(model.outputs[name].value.names)
        elif name in model.definitions:
            waiting.extend(model.definitions[name].names)
    return read
