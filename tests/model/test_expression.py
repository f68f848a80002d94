"""Formulas: what is read, what is refused, and that the numbers are right."""

from __future__ import annotations

import pickle
import warnings

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cartsim.errors import InputError
from cartsim.model.expression import MAX_DEPTH, MAX_LENGTH, Expression, parse

VALUES = {"a": 2.0, "b": 3.0, "Kon": 0.25, "x_1": 7.5}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 + 3*4", 14),
        ("(2 + 3)*4", 20),
        ("8/4/2", 1),
        ("8 - 4 - 2", 2),
        ("2**3**2", 512),
        ("-2**2", -4),
        ("2**-1", 0.5),
        ("+a", 2),
        ("--a", 2),
        ("a/b*3", 2),
        ("1e-6", 1e-6),
        ("1_000", 1000),
        ("0x10", 16),
        ("exp(log(a))*sqrt(4)", 4),
        ("(a)", 2),
        ("a*\n  b", 6),
        (" 5 ", 5),
        (7, 7),
        (0.25, 0.25),
        (-3, -3),
        (1e-300, 1e-300),
        ("b**-a", 1 / 9),
        ("Kon*x_1", 1.875),
    ],
)
def test_value(text, expected):
    assert parse(text, "here").evaluate(VALUES) == pytest.approx(expected, rel=1e-15)


@st.composite
def formulas(draw, depth=4):
    """A formula as text beside its value at 30 digits, computed along the way, and the largest piece."""
    kind = draw(st.sampled_from("nv+-*/^efs" if depth else "nv"))
    if kind == "n":
        number = draw(st.integers(1, 40)) / 8
        return repr(number), mpmath.mpf(number), mpmath.mpf(number)
    if kind == "v":
        name = draw(st.sampled_from(sorted(VALUES)))
        return name, mpmath.mpf(VALUES[name]), mpmath.mpf(VALUES[name])
    text, value, largest = draw(formulas(depth=depth - 1))
    if kind in "efs":
        assume(kind == "e" or value > 1e-3)
        assume(kind != "e" or value < 10)
        name = {"e": "exp", "f": "log", "s": "sqrt"}[kind]
        value = getattr(mpmath, name)(value)
        return f"{name}({text})", value, max(largest, abs(value))
    other_text, other, other_largest = draw(formulas(depth=depth - 1))
    if kind == "^":
        assume(value > 1e-3 and abs(other) < 5)
        text, value = f"({text})**({other_text})", value**other
    elif kind == "/":
        assume(abs(other) > 1e-3)
        text, value = f"({text})/({other_text})", value / other
    else:
        operations = {"+": mpmath.fadd, "-": mpmath.fsub, "*": mpmath.fmul}
        text, value = f"({text}) {kind} ({other_text})", operations[kind](value, other)
    return text, value, max(largest, other_largest, abs(value))


@settings(max_examples=150, deadline=None)
@given(formulas())
def test_random_formulas_against_mpmath(case):
    text, expected, largest = case
    assume(largest < 1e6)
    formula = parse(text, "here")
    assert formula.evaluate(VALUES) == pytest.approx(float(expected), rel=1e-6, abs=1e-6)
    assert formula.names <= VALUES.keys()
    assert pickle.loads(pickle.dumps(formula)).evaluate(VALUES) == formula.evaluate(VALUES)


def test_arrays_broadcast():
    formula = parse("a*b + 1", "here")
    column, row = np.arange(3.0)[:, None], np.arange(4)
    np.testing.assert_array_equal(formula.evaluate({"a": column, "b": row}), column * row + 1)


def test_infinite_results_come_without_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse("1/a", "here").evaluate({"a": 0}) == np.inf
        assert parse("9**a**9**a", "here").evaluate({"a": 9}) == np.inf
        assert parse("exp(a)", "here").evaluate({"a": 1000}) == np.inf
        assert np.isnan(parse("log(a)", "here").evaluate({"a": -1}))
        assert np.isnan(parse("a**0.5", "here").evaluate({"a": -1}))


def test_names_equality_and_missing_values():
    formula = parse("exp(a) + b*time", "here")
    assert formula.names == {"a", "b", "time"}
    assert formula == parse("exp(a)  +  b*time", "elsewhere")
    assert hash(formula) == hash(parse("exp(a) + b*time", "here"))
    assert formula != parse("exp(a) + time*b", "here")
    assert "ast" not in repr(formula)
    with pytest.raises(KeyError, match="time"):
        formula.evaluate({"a": 1, "b": 2})


HOSTILE = [
    "__import__('os').system('true')",
    "__import__",
    "a.b",
    "a.__class__",
    "a[0]",
    "lambda: 1",
    "[1]",
    "(1, 2)",
    "{1}",
    "{}",
    "'x'",
    "b'x'",
    "f'{a}'",
    "a if b else 1",
    "a < b",
    "a and b",
    "not a",
    "~a",
    "a // b",
    "a % b",
    "a @ b",
    "a << 2",
    "a | b",
    "exp(a, b)",
    "exp()",
    "exp(x=a)",
    "exp(*a)",
    "exp(**a)",
    "sin(a)",
    "eval(a)",
    "exp",
    "exp + 1",
    "exp(log)",
    "exp(a)(b)",
    "(a + b)(1)",
    "exp.real(1)",
    "a(1)",
    "1j",
    "True",
    "None",
    "...",
    "1e999",
    "-1e999",
    "9" * 400,
    "(x := 1)",
    "a; b",
    "a = 1",
    "yield a",
    "(yield)",
    "await a",
    "*a",
    "[x for x in a]",
    "__a",
    "a__b",
    "µ",
    "ａ",
    "a\x00",
    "",
    "  \n ",
    "#",
    "a # b",
    "a\n)",
    "(a",
    "a b",
    "a +",
    "1..2",
    "exp(",
    ")",
    "if",
    "import os",
    "a\\",
    "$a",
    "a?",
    "`a`",
    "a!",
    "12x",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_refused_in_one_line(text):
    with pytest.raises(InputError, match=r"^file\.toml: entry: ") as caught:
        parse(text, "file.toml: entry")
    message = str(caught.value)
    assert message.isprintable()  # one line
    assert len(message) < 400
    assert "+ - * / **" in message  # what is allowed


@pytest.mark.parametrize("value", [None, True, [1], {"a": 1}, b"a", float("nan"), float("inf")])
def test_not_a_formula(value):
    # nan and inf read as names, which a model then does not define
    if isinstance(value, float):
        assert parse(value, "here").names
    else:
        with pytest.raises(InputError, match="text or a number"):
            parse(value, "here")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 900 + "a" + ")" * 900,
        "-" * 1900 + "a",
        "exp(" * 150 + "a" + ")" * 150,
        "+".join(["a"] * 300),
        "**".join(["a"] * 300),
        "a" * (MAX_LENGTH + 1),
        "a+" * MAX_LENGTH + "a",
        "(" * 10**6,
        "-" * 10**6,
    ],
)
def test_long_and_deep_formulas_are_refused(text):
    with pytest.raises(InputError, match=r"deep|characters|cannot read"):
        parse(text, "here")


def test_parentheses_alone_are_not_depth():
    assert parse("(" * 50 + "a" + ")" * 50, "here").evaluate({"a": 1}) == 1
    assert parse("+".join(["a"] * MAX_DEPTH), "here").evaluate({"a": 1}) == MAX_DEPTH


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.text(alphabet="ab01.+-*/()e,_[]'\" =<lx", max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        formula = parse(text, "here")
    except InputError:
        return
    assert isinstance(formula, Expression)
    formula.evaluate(dict.fromkeys(formula.names, 1.0))
