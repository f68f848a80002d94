"""What a result came from: model, settings, versions."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cartsim.model.model import Model
from cartsim.version import __version__


def made_by(model: Model, **settings: Any) -> dict[str, Any]:
    """Model, typical values, settings, and the versions that computed a result, as plain values."""
    return {
        "model": model.name,
        "model_file": Path(model.path).name,
        "model_digest": model.digest,
        "values": {name: p.value for name, p in model.parameters.items() if p.value is not None},
        "cartsim": __version__,
        "numpy": _version("numpy"),
        "numba": _version("numba"),
        **{
            name: value if isinstance(value, (int, float, str, dict, type(None))) else repr(value)
            for name, value in settings.items()
        },
    }


@cache
def _version(package: str) -> str:
    return version(package)
