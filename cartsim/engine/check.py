"""The generated source held against what it may be, before anything runs it.

``source`` writes arithmetic on numbered names and nothing else; this is the proof of it, made anew for every model. It
knows nothing of how the source is written, so that a fault there, or a text that found its way in, ends here.
"""

from __future__ import annotations

import ast
import math
import re

_DOCSTRING = re.compile(r"Written by cartsim [0-9A-Za-z.+]+; made anew when the model changes\.")
_IMPORTS = (
    "from math import sqrt",
    "from cartsim.engine.arithmetic import FAST, quick_exp, fast_exp as exp, fast_log as log",
    "from cartsim.engine.piece import piece",
)
_SETTINGS = ("EMPTY_BELOW", "N_CONSTANTS", "N_FACTORS")
_PLAIN = "kept('void({})', error_model='numpy', nogil=True)"
_ROW = "float64[::1]"
_FUNCTIONS = {
    "stage": "piece(fastmath=FAST)",
    "attempt": f"kept('void({_ROW}, float64)', error_model='numpy', fastmath=FAST, nogil=True)",
    "constants": _PLAIN.format(f"{_ROW}, {_ROW}"),
    "initial": _PLAIN.format(f"{_ROW}, {_ROW}"),
    "infuse": _PLAIN.format(f"{_ROW}, float64, {_ROW}"),
    "rates": _PLAIN.format(f"float64, {_ROW}, {_ROW}, {_ROW}"),
    "outputs": _PLAIN.format(f"{_ROW}, {_ROW}, float64[:, ::1], int64[::1], int64, int64, float64[:, :, :]"),
}
_CALLS = frozenset({"abs", "quick_exp", "exp", "log", "range", "sqrt", "stage"})
_VARIABLES = re.compile(
    r"[pxycfdvrusekq]_[0-9]+|[jm]_[0-9]+_[0-9]+|(alive|new|size)_[0-9]+"
    r"|amount|at|c|column|diagonal|done|dx|h|inv_h|j|l|out|p|rtol|strict|t|taken|times|total|w|who|x"
)
_NODES = (
    ast.Assign, ast.AugAssign, ast.BinOp, ast.Call, ast.Compare, ast.Constant, ast.Expr, ast.For, ast.If, ast.IfExp,
    ast.Name, ast.Return, ast.Subscript, ast.Tuple, ast.UnaryOp,
    ast.Load, ast.Store, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.Eq, ast.Gt, ast.GtE, ast.Lt,
)  # fmt: skip
MAX_POWER = 1000


def checked(source: str) -> str:
    """The source itself, once it is known to be arithmetic on numbered names.

    Raises RuntimeError for anything else: that is a bug of cartsim, not bad input.
    """
    if not (source.isascii() and source.replace("\n", "").isprintable() and "#" not in source):
        raise RuntimeError("generated source: a character that is never written; this is a bug of cartsim")
    docstring, *rest = ast.parse(source).body
    _hold(isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant), docstring)
    assert isinstance(docstring, ast.Expr)
    assert isinstance(docstring.value, ast.Constant)
    _hold(isinstance(docstring.value.value, str) and _DOCSTRING.fullmatch(docstring.value.value), docstring)
    _hold(len(rest) == len(_IMPORTS) + len(_SETTINGS) + len(_FUNCTIONS), docstring)
    for node, line in zip(rest, _IMPORTS, strict=False):
        _hold(isinstance(node, ast.ImportFrom) and ast.unparse(node) == line, node)
    rest = rest[len(_IMPORTS) :]
    for node, name in zip(rest, _SETTINGS, strict=False):
        _hold(isinstance(node, ast.Assign) and re.fullmatch(rf"{name} = -?[0-9.]+", ast.unparse(node)), node)
    for node, (name, decorator) in zip(rest[len(_SETTINGS) :], _FUNCTIONS.items(), strict=True):
        _hold(isinstance(node, ast.FunctionDef) and node.name == name, node)
        assert isinstance(node, ast.FunctionDef)
        _hold([ast.unparse(each) for each in node.decorator_list] == [decorator], node)
        arguments = ast.unparse(node.args).split(", ")
        _hold(all(_VARIABLES.fullmatch(each) for each in arguments) and node.returns is None, node)
        for statement in node.body:
            _check_body(statement)
    return source


def _check_body(statement: ast.stmt) -> None:
    called = set()  # names of functions, which are no variables
    for node in ast.walk(statement):  # from the outside in, so that a call comes before the name that it calls
        _hold(isinstance(node, _NODES), node)
        match node:
            case ast.Call(func=ast.Name(id=name), keywords=[]):
                _hold(name in _CALLS and len(node.args) == 1, node)
                called.add(node.func)
            case ast.Call():
                _hold(False, node)
            case ast.Expr(value=value):
                _hold(isinstance(value, ast.Call) and ast.unparse(value.func) == "stage", node)
            case ast.Name(id=name):
                reading = isinstance(node.ctx, ast.Load)
                _hold(node in called or _VARIABLES.fullmatch(name) or (reading and name == "EMPTY_BELOW"), node)
            case ast.Constant(value=value):
                _hold(type(value) in (int, float) and math.isfinite(value), node)  # type: ignore[arg-type]
            case ast.BinOp(op=ast.Pow(), right=right):
                whole = isinstance(right, ast.Constant) and type(right.value) is int and right.value <= MAX_POWER
                _hold(whole, node)
            case ast.Subscript(value=value):
                _hold(isinstance(value, ast.Name), node)
            case ast.For(target=target, iter=over):
                counted = isinstance(over, ast.Call) and ast.unparse(over.func) == "range"
                _hold(counted and isinstance(target, ast.Name) and not node.orelse, node)


def _hold(true: object, node: ast.AST) -> None:
    if not true:
        line = getattr(node, "lineno", 0)
        raise RuntimeError(f"generated source, line {line}: {type(node).__name__} that is never written; "
                           "this is a bug of cartsim")  # fmt: skip
