"""Model files that say only what differs from another: their entries are merged over those of a base."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cartsim.errors import InputError
from cartsim.model.model import choices, shown

Sections = dict[str, Any]

MAX_CHAIN = 10
NUMBERS = ("constants", "parameters", "covariates", "unused")
TABLES = (*NUMBERS, "definitions", "states", "outputs")
CHANGED = {"model": ("doc", "source"), "dosing": ("state", "per_dose", "dose", "unit")}
_MEASURED = {"value", "rse", "iiv"}


def merged(base: Mapping[str, Any], changes: Mapping[str, Any], where: str) -> Sections:
    """The sections of a base with those of a derived model over them.

    An entry's keys override one by one, new entries follow the base's, and a number alone is a new value. What is not
    changed is the very object of the base. Raises InputError for a parameter that is otherwise, without a source.
    """
    found = dict(base)
    for section, own in changes.items():
        old = base.get(section, {})
        if not isinstance(own, dict) or not isinstance(old, dict):
            found[section] = own  # refused by whoever reads it
        elif section in NUMBERS:
            found[section] = old | {n: _number(old.get(n), e, f"{where}{section}.{n}") for n, e in own.items()}
        elif section in TABLES:
            found[section] = old | {n: _over(old.get(n), e) for n, e in own.items()}
        else:
            found[section] = _over(old, own)
    return found


def _over(old: Any, new: Any) -> Any:
    return old | new if isinstance(old, dict) and isinstance(new, dict) else new


def _number(old: Any, new: Any, where: str) -> Any:
    if isinstance(old, dict) and isinstance(new, dict) and new.keys() & _MEASURED and "source" not in new:
        raise InputError(f"{where}: source missing; add it")
    if isinstance(old, dict) and not isinstance(new, dict):
        return old | {"value": new}
    return _over(old, new)


def variants(sections: Mapping[str, Any], file: str) -> dict[str, Sections]:
    """The sections of each variant of a file, whole, those that extend another variant included.

    Raises InputError for what is no table of sections, an unknown variant, and circles of them.
    """
    given = sections.get("variants", {})
    if not isinstance(given, dict):
        raise InputError(f"{file}: variants must be a table: write [variants.NAME.parameters]")
    base = {section: own for section, own in sections.items() if section != "variants"}
    found: dict[str, Sections] = {}

    def build(name: str, chain: tuple[str, ...]) -> Sections:
        if name in found:
            return found[name]
        where, own = f"{file}: variants.{name}", given[name]
        _check_variant(own, base, where)
        under = base
        if "extends" in own:
            other = own["extends"]
            if not isinstance(other, str) or other not in given:
                raise InputError(f"{where}.extends: no variant {shown(other)}{choices(str(other)[:100], given)}")
            check_chain((*chain, name), other, f"{where}.extends")
            under = build(other, (*chain, name))
        changes = {section: value for section, value in own.items() if section != "extends"}
        found[name] = merged(under, changes, f"{where}.")
        return found[name]

    for name in given:
        build(name, ())
    return {name: found[name] for name in given}


def check_chain(chain: tuple[str, ...], following: str, where: str) -> None:
    """Raise InputError where models, by name or path, extend one another in a circle, or through too many."""
    if following in chain:
        circle = (Path(each).name for each in (*chain[chain.index(following) :], following))
        raise InputError(f"{where}: circular: {' -> '.join(circle)}; break the circle")
    if len(chain) > MAX_CHAIN:
        raise InputError(f"{where}: more than {MAX_CHAIN} models extend one another; bring some into one")


def _check_variant(own: Any, base: Mapping[str, Any], where: str) -> None:
    if not isinstance(own, dict):
        raise InputError(f"{where}: a variant is a table of sections: write [{where.split(': ')[-1]}.parameters]")
    allowed: Iterable[str] = ("extends", *CHANGED, *TABLES)
    for key in own:
        if key not in allowed:
            section = next((each for each in NUMBERS if key in base.get(each, ())), None)
            if section is not None:
                raise InputError(f"{where}: unknown entry {key!r}; write {section}.{key}, within the variant")
            raise InputError(f"{where}: unknown entry {key!r}{choices(key, allowed)}")
    for section, keys in CHANGED.items():
        table = own.get(section, {})
        if not isinstance(table, dict):
            raise InputError(f"{where}.{section}: must be a table with any of {', '.join(keys)}, not {shown(table)}")
        for key in table:
            if key not in keys:
                raise InputError(f"{where}.{section}: unknown entry {key!r}{choices(key, keys)}")
