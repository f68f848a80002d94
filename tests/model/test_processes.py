"""Processes read off equations: they add up to the rates, keep cells, and are those the paper draws."""

from __future__ import annotations

import numpy as np
import pytest

from cartsim.model.expression import parse
from cartsim.model.processes import processes
from cartsim.model.reader import load

MODELS = ("bb2121_invitro:Daudi", "bb2121_xenograft", "bb2121_clinical")


def values(model, seed):
    """Parameters, states at random and the definitions that follow."""
    rng = np.random.default_rng(seed)
    known = dict(zip(model.parameters, model.values({}, 1)[0], strict=True)) | {"time": 0.0}
    known |= {name: 10 ** rng.uniform(0, 2) for name in model.states}
    for name, definition in model.definitions.items():
        known[name] = definition.evaluate(known)
    return known


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", range(3))
def test_the_processes_add_up_to_the_rates(name, seed):
    model = load(name)
    known = values(model, seed)
    total = dict.fromkeys(model.states, 0.0)
    for each in processes(model):
        if each.gain is not None:
            total[each.target] += parse(each.gain, "gain").evaluate(known)
        if each.loss is not None:
            total[each.source] -= parse(each.loss, "loss").evaluate(known)
    for state, rate in total.items():
        assert rate == pytest.approx(model.states[state].rate.evaluate(known), rel=1e-9), state


@pytest.mark.parametrize("name", MODELS[1:])
def test_flows_between_volumes_keep_cells(name):
    """What leaves one volume, times that volume, arrives in the other."""
    model = load(name)
    known = values(model, 1)
    volume = {state: known[each.volume] for state, each in model.states.items() if each.volume}
    if name == "bb2121_xenograft":
        volume["CART_tumor"] = known["tissue"]  # cells per mL of a volume that changes
    moved = 0
    for each in processes(model):
        if each.kind == "flow" and each.source in volume and each.target in volume:
            out = parse(each.loss, "loss").evaluate(known) * volume[each.source]
            assert parse(each.gain, "gain").evaluate(known) * volume[each.target] == pytest.approx(out, rel=1e-12)
            moved += 1
    assert moved == {"bb2121_xenograft": 2, "bb2121_clinical": 5}[name]


def test_the_clinical_model_is_that_of_figure_1b():
    """Singh 2021, Figure 1b as its legend tells it."""
    found = {(p.kind, p.source, p.target, p.rate) for p in processes(load("bb2121_clinical"))}
    assert found == {
        ("flow", "CARTe_PB", "CARTe_BM", "K12"),
        ("flow", "CARTm_PB", "CARTm_BM", "K12"),
        ("flow", "CARTe_BM", "CARTe_PB", "K21"),
        ("flow", "CARTm_BM", "CARTm_PB", "K21"),
        ("flow", "CARTe_BM", "CARTm_BM", "Rm"),
        ("loss", "CARTe_PB", None, "Kel_e"),
        ("loss", "CARTm_PB", None, "Kel_m"),
        ("growth", None, "CARTe_BM", "expansion"),
        ("production", None, "complex", "kon"),
        ("loss", "complex", None, "koff"),
        ("growth", None, "Tumor", "Kg"),
        ("loss", "Tumor", None, "kill"),
        ("production", None, "mprotein", "Km"),
        ("loss", "mprotein", None, "Km"),
        ("production", None, "sBCMA", "Kb"),
        ("loss", "sBCMA", None, "Kb"),
    }
    drivers = {(p.kind, p.target or p.source): p.drivers for p in processes(load("bb2121_clinical"))}
    assert drivers["loss", "Tumor"] == ("complex",)
    assert "complex" in drivers["growth", "CARTe_BM"]
    assert drivers["production", "mprotein"] == drivers["production", "sBCMA"] == ("Tumor",)


def test_killing_of_mice_passes_four_transits():
    found = processes(load("bb2121_xenograft"))
    assert [(p.source, p.target) for p in found if p.rate == "1/transit" and p.kind == "flow"] == [
        ("K1", "K2"),
        ("K2", "K3"),
        ("K3", "K4"),
    ]
    (kill,) = [p for p in found if p.source == "V"]
    assert (kill.kind, kill.rate, kill.drivers) == ("loss", "K4", ("K4",))
