"""Model files and models from strangers: none runs code, hangs, steers the terminal or ends in a traceback."""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from counting import python_calls
from processes import LONGEST
from typer.testing import CliRunner

from cartsim.cli.app import app
from cartsim.engine import check, source
from cartsim.engine.check import checked
from cartsim.engine.kernel import compile_model
from cartsim.errors import InputError
from cartsim.model.expression import parse
from cartsim.model.reader import Model, check_extents, load, names

MODELS = sorted((Path(__file__).parents[1] / "models").glob("*.toml"))
HEAD = '[model]\nname = "small"\nsource = "nobody"\ntime = "h"\n'


def text(rate: str = "A", *, definitions: str = "", head: str = HEAD, scale: str = "linear", more: str = "") -> str:
    """A model file with one state."""
    return (
        f'{head}[parameters]\nd = {{ value = 1, unit = "1", source = "made up" }}\n'
        'r = { value = 1, unit = "1/h", source = "made up" }\n'
        f'[definitions]\n{definitions}\n[states.A]\nunit = "1"\nscale = "{scale}"\ninitial = "1"\nrate = "r*({rate})"\n'
        + ("negligible = 1e-6\n" if scale == "linear" else "")
        + more
    )


@pytest.fixture
def write(tmp_path):
    def to_file(content: str | bytes, name: str = "small.toml") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file


def cli(*words: object, **settings: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cartsim.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, **settings)


def here(*words: object) -> subprocess.CompletedProcess[str]:
    """The same in this process, which is quicker."""
    done = CliRunner().invoke(app, [*map(str, words)])
    return subprocess.CompletedProcess([], done.exit_code, done.stdout, done.stderr)


# --- no text becomes code ----------------------------------------------------------------------------

PLANT = 'x""";open("planted","a").write("x");"""'


@pytest.mark.parametrize("name", [PLANT, r"C:\Users\me", "x\ny", "a b", "a" * 65, "", "é", "-a", "\x1b[31mred"])
def test_a_model_name_is_a_plain_word(write, name):
    quoted = '"' + "".join(f"\\u{ord(c):04x}" for c in name) + '"'
    with pytest.raises(InputError, match=r"model\.name") as caught:
        load(write(text(head=HEAD.replace('"small"', quoted))))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", [PLANT, r"C:\Users\me", "x\ny"])
def test_a_name_given_in_python_does_not_reach_the_kernel(name):
    model = load(MODELS[0])
    named = dataclasses.replace(model, name=name, source=name, doc=name, time=name, path=name)
    assert source.generate(named) == source.generate(model)


def test_names_of_states_and_parameters_do_not_reach_the_source(write):
    long = {"r": "quitelongparameter", "d": "anotherparameter", "A": "somestate", "small": "other"}
    plain = text("A/(A + d)", more='[outputs.o]\nunit = "1"\nvalue = "A + d"\n')
    renamed = re.sub(r"\b(r|d|A|small)\b", lambda found: long[found[0]], plain)
    renamed = renamed.replace("[definitions]", "[definitions]\nunused_one = 'somestate'")
    written = source.generate(load(write(renamed)))
    words = set(re.findall(r"[A-Za-z_]\w*", written))
    assert not words & {*long.values(), "unused_one", "o", "nobody"}


@pytest.mark.parametrize("field", ["rate", "initial", "seed"])
def test_a_formula_made_in_python_cannot_bring_code(field):
    """A tree that the parser would refuse does not get through the translation either."""
    model = load(MODELS[0])
    name, state = next(iter(model.states.items()))
    formula = dataclasses.replace(parse("1", "here"), tree=ast.parse("open('planted', 'w')", mode="eval").body)
    hostile = dataclasses.replace(model, states=model.states | {name: dataclasses.replace(state, **{field: formula})})
    with pytest.raises((TypeError, InputError)):
        source.generate(hostile)


BODY = "    c[0] = p_0\n    return\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    return\n", "    open('planted', 'w')\n    return\n"),
        ("    return\n", "    import os\n    return\n"),
        ("    return\n", "    f_0 = t.real\n    return\n"),
        ("    return\n", "    f_0 = 'text'\n    return\n"),
        ("    return\n", "    f_0 = p_secret\n    return\n"),
        ("    return\n", "    f_0 = (lambda: 1)()\n    return\n"),
        ("    return\n", "    f_0 = exp(1.0, out=c)\n    return\n"),
        ("    return\n", "    f_0 = [t]\n    return\n"),
        ("    return\n", "    f_0 = 1e999\n    return\n"),
        ("    return\n", "    f_0 = True\n    return\n"),
        ("    return\n", "    f_0 = 9**9**9\n    return\n"),
        ("    return\n", "    exp = t\n    return\n"),
        ("    return\n", "    while t: t = t\n    return\n"),
        ("    return\n", "    return  # words\n"),
        ("from math import sqrt", "from os import system as sqrt"),
        ("from math import sqrt", "from math import sqrt\nimport os"),
        ("piece(fastmath=FAST", "piece(fastmath=open('planted', 'w')"),
        ("(p, c):", "(p, c=open('planted', 'w')):"),
        ("(p, c):", "(p, c: open('planted', 'w')):"),
        ("EMPTY_BELOW = ", "EMPTY_BELOW = print() or "),
        ('made anew when the model changes."""', 'made anew when the model changes.""";print();"""'),
        ("made anew", "made anew by someone"),
        ("def rates(", "def other("),
        ("def rates(", "def rates(x_0, *"),
        ("void(", "int64("),
    ],
)
def test_the_checker_refuses_what_is_never_written(old, new):
    written = source.generate(load(MODELS[0]))
    assert checked(written) is written
    assert old in written
    with pytest.raises((RuntimeError, SyntaxError)):
        checked(written.replace(old, new, 1))


@pytest.mark.parametrize("model", [*names(), *MODELS], ids=str)
def test_the_checker_knows_every_model(model):
    written = source.generate(load(model))
    tree = ast.parse(written)
    assert {type(node) for node in ast.walk(tree)} <= {
        *check._NODES, ast.Module, ast.Expr, ast.ImportFrom, ast.alias, ast.FunctionDef, ast.arguments, ast.arg,
        ast.keyword,
    }  # fmt: skip


# --- the digest covers the source --------------------------------------------------------------------


def changes(model: Model) -> dict[str, Model]:
    """The model with each of its fields, and those of its parts, changed in turn."""
    formula = parse("7.25", "here")
    found = {
        field: dataclasses.replace(model, **{field: "changed"}) for field in ("name", "source", "doc", "time", "path")
    }
    for field in ("variants", "unused"):
        found[field] = dataclasses.replace(model, **{field: {}})
    found["no dosing"] = dataclasses.replace(model, dosing=None)
    found["no outputs"] = dataclasses.replace(model, outputs={})
    for field in ("parameters", "states", "outputs"):
        found[f"order of {field}"] = dataclasses.replace(
            model, **{field: dict(reversed(getattr(model, field).items()))}
        )
    values = {
        "scale": "linear", "initial": formula, "seed": formula, "rate": formula, "negligible": 7.25, "ceiling": 7.25,
        "volume": "Vb", "unit": "h", "doc": "changed", "value": 7.25, "expression": formula, "low": None, "high": 7.25,
        "iiv": None, "rse": 7.25, "source": "changed", "role": "constant", "replaced": formula,
        "per_dose": formula, "state": "CARTe_BM", "dose": 7.25, "name": "changed", "renewed": True,
    }  # fmt: skip
    parts = (("states", "Tumor"), ("states", "mprotein"), ("parameters", "Tumor0"), ("outputs", "cart_blood"))
    for section, name in parts:
        part = getattr(model, section)[name]
        for field in dataclasses.fields(part):
            value = formula if section == "outputs" and field.name == "value" else values[field.name]
            changed = getattr(model, section) | {name: dataclasses.replace(part, **{field.name: value})}
            found[f"{section}.{name}.{field.name}"] = dataclasses.replace(model, **{section: changed})
    for field in dataclasses.fields(model.dosing):
        dosing = dataclasses.replace(model.dosing, **{field.name: values[field.name]})
        found[f"dosing.{field.name}"] = dataclasses.replace(model, dosing=dosing)
    for name in ("kon", "burden_ratio"):
        found[f"definitions.{name}"] = dataclasses.replace(model, definitions=model.definitions | {name: formula})
    return found


CHANGES = changes(load("bb2121_clinical"))


@pytest.mark.parametrize("change", CHANGES)
def test_another_source_has_another_digest(change):
    model = load("bb2121_clinical")
    assert CHANGES[change].digest != model.digest or source.generate(CHANGES[change]) == source.generate(model)


def test_the_same_source_in_another_process():
    """Nothing of a hash's order gets into it, which Python salts anew in each process."""
    code = "import sys; from cartsim.engine.source import generate; from cartsim.model.reader import load; " \
           "sys.stdout.write(generate(load('bb2121_clinical')))"  # fmt: skip
    found = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {source.generate(load("bb2121_clinical")).encode()}


# --- sizes -------------------------------------------------------------------------------------------


def doubling(step: str, n: int) -> str:
    return "d0 = 'A'\n" + "".join(f"d{i} = '{step.format(f'd{i - 1}')}'\n" for i in range(1, n + 1))


def fraction(n: int) -> str:
    formula = "A"
    for _ in range(n):
        formula = f"A/(d + {formula})"
    return formula


def tower(form: str, n: int) -> str:
    formula = "A"
    for _ in range(n):
        formula = form.format(formula)
    return formula


HUGE = {
    "9**9**9": text("9**9**9*A"),
    "2**3**4**5": text("A*2**3**4**5"),
    "(-1)**0.5": text("(-1)**0.5*A"),
    "log(-1)": text("log(-1)*A"),
    "overflow": text("1e308*10*A"),
    "exp(1000)": text("exp(1000)*A"),
    "by zero": text("A/(2 - 2)"),
    "constants through definitions": text("b*A", definitions="a = '9**9'\nb = 'a**a'"),
    "overflow through definitions": text("b*A", definitions="a = '10**200'\nb = 'a*a'"),
    "complex through definitions": text("b*A", definitions="a = '1 - 2'\nb = 'a**0.5'"),
    "zero through definitions": text("A/b", definitions="b = '1 - 1'"),
    "a large power": text("A**1000000000"),
    "powers of powers": text("((3*A)**100)**100"),
    "exact powers by exp and log": text("exp(1000000000*log(3*d))*A"),
    "exact powers by cancellation": text("exp(d*log(3))*exp((1000000000 - d)*log(3))*A"),
    "exact powers by expansion": text("exp((999 + d)*(998 + d*A)*(997 + A)*(996 + A*A)*log(3*A))*exp(A)*A"),
    "saturation 25 deep": text("d25", definitions=doubling("{0}/({0} + d)", 25)),
    "saturation of a log-scaled state 25 deep": text("d25", definitions=doubling("{0}/({0} + d)", 25), scale="log"),
    "squares": text("d40", definitions=doubling("{0}*{0} + d", 40)),
    "sums": text("d40", definitions=doubling("{0} + exp({0})", 40)),
    "a fraction 25 deep": text(fraction(25)),
    "a fraction 25 deep, log": text(fraction(25), scale="log"),
    "towers of powers": text(tower("A**({0})", 50)),
    "towers of functions": text(tower("exp({0})", 90)),
    "products of sums": text("A + " + "*".join(f"(d + {k}*A)" for k in range(2, 30)), scale="log"),
    "products of sums in an exp": text("A*exp(A*" + "*".join(f"(d + {k}*A)" for k in range(2, 30)) + ")*exp(A)"),
    "less than nothing": text("sqrt(-A**2)"),
    "never a number": text("A/(d - d)"),
}  # fmt: skip


@pytest.mark.parametrize("case", HUGE)
def test_what_cannot_be_compiled_is_said_at_once(write, case):
    """Each of these would take minutes to forever, or fail later: here they take fewer calls than a shipped model."""
    with python_calls() as calls, pytest.raises(InputError, match=r"small.*(states\.A|definitions\.)") as caught:
        source.generate(load(write(HUGE[case])))
    assert calls.n < 1_000_000
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def compartments(n: int) -> str:
    """A chain of n compartments."""
    states = "".join(
        f'[states.S{i}]\nunit = "1"\nscale = "linear"\ninitial = "0"\nnegligible = 1e-9\n'
        f'rate = "{"-" if i == 0 else ""}r*{"A" if i == 0 else f"S{i - 1} - r*S{i}"}"\n'
        for i in range(n)
    )
    return text("d - A", more=states)


def saturable(n: int, power: int) -> str:
    """States that inhibit one another by a Hill function of their sum."""
    total = " + ".join(f"S{i}" for i in range(n))
    states = "".join(
        f'[states.S{i}]\nunit = "1"\nscale = "log"\ninitial = "1"\n'
        f'rate = "r*S{i}*d**{power}/(d**{power} + ({total})**{power}) - r*S{i}/(d + S{i})"\n'
        for i in range(n)
    )
    return text("d - A", more=states)


@pytest.mark.parametrize("content", [compartments(10), compartments(30), saturable(4, 3)], ids=["10", "30", "Hill"])
def test_models_of_the_field_are_far_below_the_limits(write, content):
    model = load(write(content))
    check_extents(model)
    assert len(source.generate(model)) < source.MAX_SOURCE / 2


def test_limits_are_far_above_the_shipped_models(monkeypatch):
    from cartsim.engine import size
    from cartsim.model import extent

    monkeypatch.setattr(extent, "MAX_NESTING", extent.MAX_NESTING // 3)
    monkeypatch.setattr(extent, "MAX_FACTORS", extent.MAX_FACTORS // 20)
    monkeypatch.setattr(size, "MAX_SIZE", size.MAX_SIZE // 20)
    monkeypatch.setattr(size, "MAX_WORK", size.MAX_WORK // 20)
    shipped = dict.fromkeys((*names(), *MODELS), 20) | {"bb2121_clinical:window_second_site": 17}
    for name, times in shipped.items():
        model = load(name)  # with its variants, which are larger
        with monkeypatch.context() as within:
            within.setattr("cartsim.model.reader.MAX_OPERATIONS", extent.MAX_OPERATIONS // times)
            source.generate(model)


def test_too_many_states(write):
    with pytest.raises(InputError, match="101 states, at most 100"):
        load(write(compartments(100)))


def test_the_absolute_value_has_a_slope(write):
    """sqrt(x**2) is |x|, whose derivative is a sign: it used to be written as a name that nothing defines."""
    assert " < 0.0 else 0.0" in source.generate(load(write(text("d - sqrt((A - d)**2)"))))


# --- what is no model file ---------------------------------------------------------------------------

NO_MODEL = {
    "digits": HEAD + f"[parameters.k]\nvalue = {'9' * 5000}\n",
    "hexadecimal digits": text(more=f"ceiling = 0x{'f' * 9000}\n"),
    "digits in a formula": text(more=f"[outputs.o]\nunit = '1'\nvalue = 0x{'f' * 9000}\n"),
    "digits in a variant": text(more=f"[variants.v.parameters]\nd = 0x{'f' * 9000}\n"),
    "large": "#" * 1_000_001,
    "deep": "x = " + "[" * 100_000,
    "deep tables": "[" + ".".join(["a"] * 50_000) + "]",
    "archive": b"PK\x03\x04" + bytes(range(256)) * 20,
    "binary": bytes(range(256)) * 40,
    "not UTF-8": HEAD.encode() + b'doc = "\xe9"\n',
    "escape in a doc": text(more='doc = "\\u001b[31mred\\u001b[0m"\n'),
    "escape in a source": text(head=HEAD.replace("nobody", "\\u001b]0;title\\u0007")),
    "backspace in a doc": text(more='doc = "good\\bbad"\n'),
    "right to left in a doc": text(more='doc = "good\\u202ebad"\n'),
    "escape in an entry": text(more='"\\u001b[31m" = 1\n'),
    "escape in a variant": text(more='[variants."\\u001b[31m".parameters]\nd = 1\n'),
    "escape in a variant's key": text(more='[variants.v]\n"\\u001b[31m" = nan\n'),
    "escape in a unit": text(more='[outputs.o]\nunit = "\\u001b[31m"\nvalue = "A"\n'),
    "escape in a state's unit": text().replace('unit = "1"\nscale', 'unit = "\\u001b[31m"\nscale').replace(
        "negligible = 1e-6", ""),
    "a long unit": text(more=f'[outputs.o]\nunit = "{"1*" * 60}1"\nvalue = "A"\n'),
    "a long doc": text(more=f'doc = "{"word " * 3000}"\n'),
    "a long name": text(more=f'[outputs.{"o" * 65}]\nunit = "1"\nvalue = "A"\n'),
    "a long circle": text(definitions="".join(f"d{i} = 'd{(i + 1) % 5000}'\n" for i in range(5000))),
    "large powers of units": text(more='[outputs.o]\nunit = "1"\nvalue = "(r*time)*r**999"\n').replace(
        '"1/h", source', '"1/week", source'),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_MODEL)
def test_no_model_file(write, case):
    with pytest.raises(InputError, match=r"small\.toml") as caught:
        load(write(NO_MODEL[case]))
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 700


def test_an_escape_in_the_name_of_the_file_is_not_printed(write):
    with pytest.raises(InputError) as caught:
        load(write("nothing", "\x1b[31m.toml"))
    assert str(caught.value).isprintable()


needs_unix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes or devices among files")


@pytest.fixture
def not_a_file(tmp_path):
    def make(kind: str) -> Path | str:
        path = tmp_path / "x.toml"
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        elif kind == "long path":
            return tmp_path / ("a" * 5000 + ".toml")
        elif kind == "long name":
            return "a" * 100_000
        return path

    return make


@needs_unix
@pytest.mark.parametrize("command", ["show", "simulate"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "long path", "long name"])
def test_what_is_no_file_ends_at_once_in_one_line(not_a_file, kind, command):
    call = cli if kind in ("pipe", "device") else here  # where waiting for ever is feared, not in this process
    done = call(command, not_a_file(kind))
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 400


@pytest.mark.parametrize("case", ["digits", "hexadecimal digits", "deep", "archive", "escape in a doc"])
def test_no_model_file_at_the_command_line(write, case):
    done = here("show", write(NO_MODEL[case]))
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.rstrip("\n").isprintable()


def test_a_name_that_is_code_runs_nothing_at_the_command_line(write, tmp_path):
    content = text(head=HEAD.replace('"small"', f"'{PLANT}'"))
    done = cli("simulate", write(content), "--times", "0,1", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


def test_a_model_named_in_python_is_compiled_and_nothing_runs(monkeypatch, tmp_path):
    """The attack as it was: through the cache, into the process that simulates."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARTSIM_CACHE", str(tmp_path / "cache"))
    model = load(Path(__file__).parents[1] / "models" / "pivot.toml")
    monkeypatch.setattr("cartsim.engine.kernel._loaded", {})
    kernel = compile_model(dataclasses.replace(model, name=PLANT))
    assert kernel.n_states == len(model.states)
    assert not (tmp_path / "planted").exists()
