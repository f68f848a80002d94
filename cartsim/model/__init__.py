"""Model files: formulas, units, and the frozen `Model` that a file becomes."""

from cartsim.model.model import Dosing, Model, Output, Parameter, State, Variability
from cartsim.model.reader import load, names

__all__ = ["Dosing", "Model", "Output", "Parameter", "State", "Variability", "load", "names"]
