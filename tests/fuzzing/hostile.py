"""What is thrown at cartsim: numbers, texts, paths, damaged bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from fuzzing.case import PLANT

SHELL = "touch planted"

NUMBERS = (
    "0", "-0", "1", "-1", "0.5", "1e999", "-1e999", "nan", "-nan", "inf", "-inf", "1e308", "-1e308", "1e-308", "5e-324",
    "1e-330", "9" * 25, "-" + "9" * 25, "9" * 5000, "0." + "3" * 5000, str(2**31), str(2**63), str(-(2**63) - 1),
    str(2**64), "1e12", "1e24", "-1e24", "0x10", "1_000", "1,5", "1.5.2", "1e", "e5", "--1", "+-1", "٣", "½", "１２",
    "1 000", " 7 ", "1\t", "True", "None", "1j", "1e5000000000", "0e0", "00012", "1" + "0" * 400, "NaN", "Infinity",
)  # fmt: skip

PAYLOADS = (
    f'x""";{PLANT};"""',
    f"x''';{PLANT};'''",
    f'x"""\n{PLANT}\n"""',
    f"x\n{PLANT}\n",
    f"x\n\n\n{PLANT}\n#",
    f'"+{PLANT}+"',
    f"'+{PLANT}+'",
    f'\\""";{PLANT};"""',
    f"{{{PLANT}}}",
    f"${{{PLANT}}}",
    f"__import__('os').system('{SHELL}')",
    f"eval('{PLANT}')",
    f"x');{PLANT};('",
    f"x);{PLANT};(",
    f"[{PLANT} for _ in [0]]",
    f"(lambda: {PLANT})()",
    f"$({SHELL})",
    f"`{SHELL}`",
    f"x; {SHELL}",
    f"x | {SHELL}",
    f"x\n{SHELL}\n",
    f'!!python/object/apply:os.system ["{SHELL}"]',
    f"cos\nsystem\n(S'{SHELL}'\ntR.",
    f"{{{{ {PLANT} }}}}",
    f'=cmd|"/c {SHELL}"!A1',
)

TEXTS = (
    "", " ", "\t", "\n", "a\nb", "a\r\nb", "a\rb", '"', "'", '"""', "'''", "\\", "\\\\", "\\x", "\\u", "\\N{DIGIT ONE}",
    "C:\\Users\\me", "%s%s%n", "{}", "{0}", "{0.__class__}", "{", "}", "%(x)s", "\x1b[31mred\x1b[0m", "\x1b]0;t\x07",
    "\x1b[2J", "\x07", "\x08", "\x7f", "\x00", "a\x00b", "\u202egnp.exe", "\u200b", "\ufeff", "\u2028", "\x85",
    "\x9b31m",
    "ä", "漢字", "🧬", "e\u0301", "\ud800", "\udc80", "x" * 100, "x" * 10_000, "x" * 300_000, "ä" * 5000, " " * 5000,
    "/etc/passwd", "../../planted", "/dev/zero", "nan", "inf", "None", "null", "true", "self", "__class__", "__init__",
    "lambda", "import", "class", "time", "id", "arm", "t", "w", "l", "h", "exp", "log", "e", "pi", "np", "os", "print",
    "[bold]x[/bold]", "[link=file:///etc/passwd]x[/link]", "[/]", "[red", "<b>", "<script>alert(1)</script>", "$x^{2$",
    "\\frac{", "a,b", "a=b", "a:b", "#", "-", "--", "-x", "--help", "*", "?", "~", "~root", "$HOME",
)  # fmt: skip

NAMES = ("A", "B", "time", "exp", "x", "p", "self", "__builtins__", "t", "Kg", "nosuch", "_", "l", "w")

FORMULAS = (
    "9**9**9", "9**9**9**9", "2**3**4**5", "2**-9**9", "10**400", "10**-400", "1e308*1e308", "0**0", "0**-1", "1/0",
    "0/0", "log(0)", "log(-1)", "sqrt(-1)", "(-1)**0.5", "(-8)**(1/3)", "exp(1000)", "exp(exp(exp(9)))", "exp(-1e9)",
    "log(log(0.5))", "1e999", "-1e999", "9" * 300, "9" * 5000, "1" + "*9" * 900, "1e-400", "0x10", "0b1", "0o7", "1_0",
    "1j", "1e5j", "True", "None", "...", "''", "'a'", "f'{1}'", "b'a'", "()", "[]", "{}", "{1}", "{1:2}", "(1,)", "1,2",
    "x.real", "x.__class__", "(1).real", "().__class__.__bases__", "x[0]", "x(1)", "abs(1)", "pow(9,9)", "print(1)",
    "__import__('os')", "open('planted','w')", "exec('1')", "lambda: 1", "(lambda: 1)()", "(x:=1)", "x if 1 else 2",
    "1 and 2", "not 1", "1 < 2", "1 == 1", "~1", "1 % 2", "1 // 2", "1 @ 2", "1 << 99999999", "1 | 2", "*x", "**x",
    "[x for x in (1,)]", "await x", "yield", "exp", "exp()", "exp(1,2)", "exp(x=1)", "exp(*x)", "exp(exp)", "exp.x",
    "log",
    "1;2", "1\n2", "1 # 2", "1\\\n", "#", "(", ")", "((1)", "1+", "*1", "+", "-", "--1", "+-+-1", "-" * 90 + "1",
    "-" * 3000 + "1", "(" * 95 + "1" + ")" * 95, "(" * 900 + "1" + ")" * 900, "exp(" * 90 + "0" + ")" * 90,
    "+".join(["1"] * 95), "+".join(["1"] * 990), "time", "time**time", "time - time", "0", "-0.0", "1", "1e-300", "é",
    "а", "x²", "ｘ", "½", "∞", "𝑥", "x\x00", "\x1b[0m", "\ufeff1", "1\u2028+1", "x" * 1999, "x" * 2001, "x" * 100_000,
    "__x", "x__y", "_x", "None.x", "Ellipsis", "__debug__", "print", "sum", "import os", "from os import x", "del x",
    *PAYLOADS,
)  # fmt: skip

UNITS = (
    "1", "", "0", "2", "-1", "day", "1/day", "1/h", "h", "s", "1/s", "mg", "mg/L", "cell/L", "cells/L", "m", "parsec",
    "K",
    "degC", "delta_degC", "dB", "1/0", "day**9", "day**99", "day**-9", "day**0.5", "day**9**9**9", "L**L", "day+day",
    "exp(day)",
    "1e999", "kkkg", "mmm", "count", "pixel", "[length]", "dimensionless", "day.real", "day()", "x" * 3000, "(" * 500,
    "*".join(["day"] * 40), "/".join(["day"] * 40), "kilo", "ks", "Mmol", "percent", "%", "µg", "day\n", "\x00",
    *PAYLOADS[:12],
)  # fmt: skip


def number(rng: Random) -> str:
    """A number as text, hostile or merely odd."""
    if rng.random() < 0.75:
        return rng.choice(NUMBERS)
    return repr(rng.choice([-1, 1]) * 10 ** rng.uniform(-320, 308))


def text(rng: Random) -> str:
    """A text that means trouble somewhere."""
    pick = rng.random()
    if pick < 0.35:
        return rng.choice(PAYLOADS)
    if pick < 0.85:
        return rng.choice(TEXTS)
    if pick < 0.93:
        return number(rng)
    return "".join(
        chr(rng.choice([rng.randrange(32, 127), rng.randrange(1, 0x3000)])) for _ in range(rng.randrange(1, 40))
    )


# --- bytes ------------------------------------------------------------------------------------------------------------


def damaged(rng: Random, content: bytes) -> tuple[str, bytes]:
    """What was done, and the damaged bytes; never what they were, if there were any."""
    for _ in range(20):
        name, made = _damage(rng, content)
        if made != content:
            return name, made
    return "a byte more", content + b"\x00"


def _damage(rng: Random, content: bytes) -> tuple[str, bytes]:
    n = len(content)
    at = rng.randrange(n) if n else 0
    size = min(n - at, int(10 ** rng.uniform(0, 4)))
    pick = rng.randrange(12)
    if pick <= 3 and n:
        flipped = bytearray(content)
        places = [rng.randrange(n) for _ in range(rng.choice([1, 1, 1, 2, 10, 100]))]
        for place in places:
            flipped[place] ^= 1 << rng.randrange(8)
        return f"bits flipped in {len(places)} bytes, first at {places[0]} of {n}", bytes(flipped)
    if pick == 4:
        return f"cut at {at} of {n}", content[:at]
    if pick == 5:
        return f"the first {at} of {n} bytes gone", content[at:]
    if pick == 6:
        return f"{size} bytes gone at {at} of {n}", content[:at] + content[at + size :]
    if pick == 7:
        return f"{size} bytes twice at {at} of {n}", content[:at] + content[at : at + size] + content[at:]
    if pick == 8:
        return f"{size} zeros at {at} of {n}", content[:at] + bytes(size) + content[at + size :]
    if pick == 9:
        return f"{size} random bytes at {at} of {n}", content[:at] + rng.randbytes(size) + content[at + size :]
    if pick == 10:
        return f"{size} more bytes at the end of {n}", content + rng.randbytes(size)
    return "empty", b""


def recoded(rng: Random, content: str) -> tuple[str, bytes]:
    """A text in another encoding or with other ends of lines."""
    ways: list[tuple[str, Callable[[], bytes]]] = [
        ("BOM", lambda: b"\xef\xbb\xbf" + content.encode()),
        ("two BOMs", lambda: b"\xef\xbb\xbf" * 2 + content.encode()),
        ("UTF-16", lambda: content.encode("utf-16")),
        ("UTF-32", lambda: content.encode("utf-32")),
        ("Latin-1", lambda: (content + "\n# Müller\n").encode("latin-1", "replace")),
        ("CRLF", lambda: content.replace("\n", "\r\n").encode()),
        ("CR", lambda: content.replace("\n", "\r").encode()),
        ("a zero in it", lambda: content.replace("\n", "\n\0", 1).encode()),
        ("no newline at the end", lambda: content.rstrip("\n").encode()),
        ("form feeds", lambda: content.replace("\n", "\f\n").encode()),
        ("line separators", lambda: content.replace("\n", "\u2028").encode()),
        ("stray continuation bytes", lambda: b"\x80\xbf" + content.encode()),
        ("overlong bytes", lambda: content.encode().replace(b"a", b"\xc1\xa1")),
    ]
    name, make = rng.choice(ways)
    return name, make()


def packed(rng: Random, content: bytes) -> tuple[str, bytes]:
    """An ending of an archive, and an archive (or not) of the content."""
    ending = rng.choice([".gz", ".bz2", ".xz", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".zst", ".7z", ".pkl"])
    kind = rng.choice(["whole", "whole", "damaged", "plain", "other"])
    if kind == "plain":
        return ending, content
    made = _archive(rng.choice([".gz", ".zip", ".tar"]) if kind == "other" else ending, content)
    return ending, damaged(rng, made)[1] if kind == "damaged" else made


def _archive(ending: str, content: bytes) -> bytes:
    if ending == ".gz":
        return gzip.compress(content, mtime=0)
    if ending == ".bz2":
        return bz2.compress(content)
    if ending == ".xz":
        return lzma.compress(content)
    if ending == ".pkl":
        return malice()
    file = io.BytesIO()
    if ending == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.csv", content)
            archive.writestr("../planted", content)
    elif ending in (".zst", ".7z"):
        return b"\x28\xb5\x2f\xfd" + content
    else:
        mode = {".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.xz": "w:xz"}.get(ending, "w")
        with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
            for name in ("a.csv", "../planted"):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


class _Malice:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (SHELL,)


def malice() -> bytes:
    """A pickle that runs a command when it is read."""
    return pickle.dumps(_Malice())


# --- places -----------------------------------------------------------------------------------------------------------


def path(rng: Random, work: Path, there: str) -> str:
    """A path that is missing, of the wrong kind, endless or impossible; ``there`` is a file with sensible content."""
    ending = Path(there).suffix or rng.choice([".csv", ".parquet"])
    folder, pipe, loop = work / "folder", work / f"pipe{ending}", work / f"loop{ending}"
    if not folder.exists():
        folder.mkdir()
        (work / f"folder{ending}").mkdir()
        os.mkfifo(pipe)
        loop.symlink_to(loop)
    garbage = work / f"garbage{ending}"
    garbage.write_bytes(rng.randbytes(200))
    return rng.choice([
        "", " ", ".", "..", "-", "~", "missing", f"missing{ending}", f"missing/deep/file{ending}", "folder",
        f"folder{ending}",
        str(folder), f"{there}/under", f"{there}/under{ending}", str(pipe), str(loop), str(garbage), "/dev/null",
        "/dev/zero",
        "/dev/full", "/dev/tty", "/proc/self/mem", "/proc/1/mem", f"/proc/nowhere{ending}", "/proc/self/nowhere",
        "x" * 255,
        "x" * 300, "x" * 300 + ending, "a/" * 2500 + f"file{ending}", f"{'y' * 250}{ending}", f"line\nbreak{ending}",
        f"\x1b[31m{ending}", f"\udc80{ending}", f"漢字{ending}", f"$({SHELL}){ending}", f"x; {SHELL};{ending}",
        f"`{SHELL}`{ending}", f"|{SHELL}", f"file://{work / there}", "http://127.0.0.1:9/x.csv", "s3://bucket/x.csv",
        "ftp://127.0.0.1:9/x", "\\\\server\\share", "C:\\x.csv", "nul", "con", f"out{ending}.gz", "out.zip", "out.pkl",
        "out.txt",
        "out.CSV", ".csv", ".parquet", "out.csv/", "folder/../out.csv", "folder/new/..", there,
    ])  # fmt: skip
