"""The cache: whose folder it is, what of it is believed, and that nothing depends on it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import cartsim
from cartsim import cache
from cartsim.cache import cache_dir
from cartsim.engine import rodas

UNIX = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes are those of Unix")
ROOT = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
NOBODY = 65534
TEXT = """
[model]
name = "decay"
source = "textbook"
time = "day"

[parameters.k]
value = 0.5
unit = "1/day"
source = "made up"

[states.A]
unit = "mg"
scale = "linear"
initial = "8"
rate = "{rate}"
negligible = 1e-6
"""
NOTE = "cartsim: compiled models cannot be kept"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CARTSIM_CACHE", str(tmp_path / "cache"))
    return cache_dir()


def entry(name: str) -> Path:
    return cache_dir() / f"{name}{cache.SUFFIX}"


# --- the folder ---------------------------------------------------------------------------------------


def test_the_folder_is_the_one_chosen_and_closed_to_others(monkeypatch, tmp_path):
    monkeypatch.setenv("CARTSIM_CACHE", str(tmp_path / "a" / "b"))
    assert cache_dir() == tmp_path / "a" / "b"
    if hasattr(os, "geteuid"):
        assert cache_dir().stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="XDG is for Linux")
def test_the_folder_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("CARTSIM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "cartsim"


@UNIX
def test_a_folder_open_to_others_is_closed(monkeypatch, tmp_path):
    monkeypatch.setenv("CARTSIM_CACHE", str(tmp_path))
    tmp_path.chmod(0o777)
    assert cache_dir().stat().st_mode & 0o777 == 0o755


@UNIX
def test_no_folder_that_is_shared_linked_or_a_file(monkeypatch, tmp_path):
    shared, linked, file = tmp_path / "shared", tmp_path / "linked", tmp_path / "file"
    shared.mkdir()
    shared.chmod(0o1777)
    (tmp_path / "real").mkdir()
    linked.symlink_to(tmp_path / "real")
    file.write_text("")
    for chosen in (shared, linked, file, file / "below"):
        monkeypatch.setenv("CARTSIM_CACHE", str(chosen))
        with pytest.raises(OSError, match=str(chosen.name)):
            cache_dir()
        assert cache.read("mark") is None
        with pytest.raises(OSError, match=str(chosen.name)):
            cache.write("mark", b"")
    assert list((tmp_path / "real").iterdir()) == []
    assert shared.stat().st_mode & 0o7777 == 0o1777


@ROOT
def test_no_folder_of_another_user(monkeypatch, tmp_path):
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", NOBODY, NOBODY)
    monkeypatch.setenv("CARTSIM_CACHE", str(tmp_path / "theirs"))
    with pytest.raises(PermissionError, match="belongs to another user"):
        cache_dir()


@UNIX
def test_no_predictable_folder_in_the_temporary_directory(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for chosen in ("CARTSIM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(chosen, str(tmp_path / "file"))
    with pytest.raises(FileExistsError):
        cache_dir()
    monkeypatch.delenv("CARTSIM_CACHE")
    with pytest.raises(OSError, match="file" if sys.platform == "linux" else ""):
        cache_dir()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@UNIX
def test_a_user_without_home(monkeypatch):
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    for name in ("CARTSIM_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(FileNotFoundError, match="no home folder"):
        cache_dir()


# --- entries ------------------------------------------------------------------------------------------


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _lengthen(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"x")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("")


def _link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _loosen(path: Path) -> None:
    path.chmod(0o666)


def _remove(path: Path) -> None:
    path.unlink()


DAMAGES = [_flip, _cut, _empty, _lengthen, _folder, _remove]
DAMAGES += [_link, _pipe, _loosen] if hasattr(os, "geteuid") else []


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_absent_and_replaced(folder, damage):
    cache.write("one_1", b"content")
    assert cache.read("one_1") == b"content"
    damage(entry("one_1"))
    assert cache.read("one_1") is None
    cache.write("one_1", b"content again")
    assert cache.read("one_1") == b"content again"
    assert not entry("one_1").is_symlink()


def test_any_flipped_bit_is_seen(folder):
    cache.write("one_1", b"content")
    whole = entry("one_1").read_bytes()
    for k in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[k // 8] ^= 1 << k % 8
        entry("one_1").write_bytes(changed)
        assert cache.read("one_1") is None


def test_an_entry_under_anothers_name_is_absent(folder):
    cache.write("one_1", b"one")
    cache.write("one_2", b"two")
    shutil.copy(entry("one_1"), entry("one_2"))
    assert cache.read("one_2") is None
    assert cache.read("one_1") == b"one"


@ROOT
def test_an_entry_of_another_user_is_absent(folder):
    cache.write("one_1", b"content")
    os.chown(entry("one_1"), NOBODY, NOBODY)
    assert cache.read("one_1") is None
    cache.write("one_1", b"content")
    assert cache.read("one_1") == b"content"


@pytest.mark.skipif(sys.platform == "win32", reason="no limits there")
def test_a_full_disk_leaves_the_old_entry_and_nothing_else(folder):
    import resource

    cache.write("one_1", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # as if there were no more room
    try:
        with pytest.raises(OSError):  # noqa: PT011 (the number depends on the system)
            cache.write("one_1", bytes(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert cache.read("one_1") == b"old"
    assert list(folder.iterdir()) == [entry("one_1")]


def test_an_interrupted_write_leaves_nothing(folder, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cache.write("one_1", b"content")
    assert list(folder.iterdir()) == []


def test_writers_and_readers_at_once(folder):
    contents = [bytes([k]) * 100_000 for k in range(2)]
    cache.write("one_1", contents[0])
    threads = [threading.Thread(target=lambda c=c: [cache.write("one_1", c) for _ in range(50)]) for c in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert cache.read("one_1") in contents
    assert list(folder.iterdir()) == [entry("one_1")]


def _age(path: Path, days: float) -> None:
    os.utime(path, (time.time() - 86400 * days,) * 2)


def test_what_is_not_used_is_removed(folder, monkeypatch):
    for k in range(4):
        cache.write(f"one_{k}", bytes(100))
    _age(entry("one_0"), 91)
    _age(entry("one_1"), 89)
    _age(entry("one_2"), 91)
    assert cache.read("one_2") == bytes(100)  # used now
    for name in ("new.cartsim-part", "old.cartsim-part", "old.csv"):
        (folder / name).write_text("")
    _age(folder / "old.cartsim-part", 1)
    _age(folder / "old.csv", 1000)
    cache.write("one_4", bytes(100))
    kept = {entry(f"one_{k}").name for k in (1, 2, 3, 4)}
    assert {p.name for p in folder.iterdir()} == kept | {"new.cartsim-part", "old.csv"}
    monkeypatch.setattr(cache, "LIMIT", 300)
    _age(entry("one_2"), 2)
    cache.write("one_5", bytes(100))
    assert {p.name for p in folder.iterdir()} == {entry(f"one_{k}").name for k in (4, 5)} | {
        "new.cartsim-part",
        "old.csv",
    }


# --- machine code -------------------------------------------------------------------------------------


def _threefold() -> tuple[Callable[[float], float], bool]:
    """A compiled function, and whether its machine code came from the cache."""
    from cartsim.engine.machine_code import MachineCode

    code = MachineCode("probe")

    @code.kept("float64(float64)", nogil=True)
    def threefold(x):
        return 3.0 * x

    code.keep()
    assert threefold(2.0) == 6.0
    return threefold, bool(threefold._cache_hits)


@pytest.mark.parametrize("damage", [_flip, _cut, _folder, _remove])
def test_machine_code_heals(folder, damage):
    assert not _threefold()[1]
    assert _threefold()[1]
    (path,) = folder.iterdir()
    damage(path)
    assert not _threefold()[1]
    assert _threefold()[1]


def test_machine_code_that_numba_cannot_read_is_made_again(folder, monkeypatch):
    _threefold()
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    with monkeypatch.context() as patched:  # as after a change inside numba
        patched.setattr("cartsim.engine.machine_code.CompileResult._rebuild", lambda *_: 1 / 0)
        assert not _threefold()[1]
    assert path.read_bytes() != whole
    assert _threefold()[1]


def test_machine_code_of_other_versions_and_processors_has_other_names(folder, monkeypatch):
    from cartsim.engine import machine_code

    names = {machine_code.MachineCode("kernel", "a").name, machine_code.MachineCode("kernel", "b").name}
    for target, value in (
        ("__version__", "0"),
        ("numba.__version__", "0"),
        ("llvmlite.__version__", "0"),
        ("sys.version", "0"),
        ("cpu_target.target_context.codegen", lambda: type("", (), {"magic_tuple": lambda self: ("other",)})()),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(f"cartsim.engine.machine_code.{target}", value)
            machine_code._environment.cache_clear()
            names.add(machine_code.MachineCode("kernel", "a").name)
    machine_code._environment.cache_clear()
    assert len(names) == 7
    assert all(name.startswith("kernel_") and len(name) == 39 and name[7:].isalnum() for name in names)


def test_where_nothing_can_be_kept_one_line_says_so(folder, monkeypatch, capsys):
    monkeypatch.setattr("cartsim.engine.machine_code._said", set())

    def read_only(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr("tempfile.mkstemp", read_only)
        for _ in range(2):
            assert not _threefold()[1]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(NOTE)
    assert "Read-only file system; set CARTSIM_CACHE" in lines[0]
    _threefold()
    with monkeypatch.context() as patched:  # what lies there already is used
        patched.setattr("tempfile.mkstemp", read_only)
        assert _threefold()[1]
    assert capsys.readouterr().err == ""


# --- a whole process ----------------------------------------------------------------------------------


def model(folder: Path, rate: str) -> Path:
    path = folder / "decay.toml"
    path.write_text(TEXT.format(rate=rate))
    return path


def simulated(path: Path, **environment: str | None) -> tuple[float, list[str]]:
    """A(1 day) of a fresh process, and its lines on standard error."""
    everything = {k: v for k, v in (os.environ | environment).items() if v is not None}
    everything.setdefault("PYTHONPATH", str(Path(cartsim.__file__).parents[1]))
    command = [sys.executable, "-m", "cartsim.cli", "simulate", str(path), "--times", "1", "--outputs", "A"]
    done = subprocess.run(command, env=everything, capture_output=True, text=True, cwd=path.parent)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1].split(",")[-1]), done.stderr.splitlines()


@pytest.fixture(scope="module")
def two_kernels(tmp_path_factory) -> tuple[Path, str, str]:
    """A cache with two models, and the names of the first one's entry and of the second's."""
    folder = tmp_path_factory.mktemp("two")
    chosen = folder / "cache"
    with pytest.MonkeyPatch.context() as patched:  # the driver, which takes longest to compile, is all models' own
        patched.setenv("CARTSIM_CACHE", str(chosen))
        rodas.driver()
        driver = rodas._code()
        driver._made = True
        driver.keep()
        assert [path.stem for path in chosen.iterdir()] == [driver.name]

    def kernels() -> set[str]:
        return {path.name for path in chosen.glob("kernel*")}

    a, _ = simulated(model(folder, "-k*A"), CARTSIM_CACHE=str(chosen))
    assert a == pytest.approx(8 * np.exp(-0.5), rel=1e-5)
    (first,) = kernels()
    a, _ = simulated(model(folder, "-2*k*A"), CARTSIM_CACHE=str(chosen))
    assert a == pytest.approx(8 * np.exp(-1.0), rel=1e-5)
    (second,) = kernels() - {first}
    return chosen, first, second


def _copied(cache: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cache, tmp_path / "cache", copy_function=shutil.copy2))


def _right(tmp_path: Path) -> None:
    """The first model's number, by a process that compiles anew and by one that need not."""
    path = model(tmp_path, "-k*A")
    for compiles in (True, False):
        a, lines = simulated(path, CARTSIM_CACHE=str(tmp_path / "cache"))
        assert a == pytest.approx(8 * np.exp(-0.5), rel=1e-5)
        assert [line.startswith("cartsim: compiling decay") for line in lines] == [True] * compiles


def test_a_damaged_kernel_heals(two_kernels, tmp_path):
    cache, first, _ = two_kernels
    _flip(_copied(cache, tmp_path) / first)
    _right(tmp_path)


def test_the_kernel_of_another_model_is_not_believed(two_kernels, tmp_path):
    cache, first, second = two_kernels
    copy = _copied(cache, tmp_path)
    shutil.copy(copy / second, copy / first)
    _right(tmp_path)


def test_no_place_at_all(two_kernels, tmp_path):
    """A locked-down container: nothing can be written at home nor beside the package, and in the temporary folder
    someone else has put what an older cartsim would have run from there.
    """
    file, package, temporary = tmp_path / "file", tmp_path / "package", tmp_path / "temporary"
    file.write_text("")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(cartsim.__file__).parent, package / "cartsim", ignore=ignored)
    for folder in [p for p in (package / "cartsim").rglob("*") if p.is_dir()] + [package / "cartsim"]:
        (folder / "__pycache__").write_text("")  # no folder can be made here, not even by root
    if hasattr(os, "getuid"):
        planted = temporary / f"cartsim-{os.getuid()}"
        planted.mkdir(parents=True)
        (planted / two_kernels[1]).write_text(f"open({str(tmp_path / 'harm')!r}, 'w').write('')\n")
        for path in (planted, *planted.iterdir()):
            path.chmod(0o777)
            if os.geteuid() == 0:
                os.chown(path, NOBODY, NOBODY)
    before = sorted(temporary.rglob("*"))
    path = model(tmp_path, "-k*A")
    environment = {"HOME": str(file), "XDG_CACHE_HOME": str(file), "TMPDIR": str(temporary), "CARTSIM_CACHE": None}
    a, lines = simulated(path, **environment, NUMBA_CACHE_DIR=None, PYTHONPATH=str(package))
    assert a == pytest.approx(8 * np.exp(-0.5), rel=1e-5)
    assert len([line for line in lines if line.startswith(NOTE)]) == 1
    assert len(lines) == 2  # and that it compiles
    assert sorted(temporary.rglob("*")) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["decay.toml", "file", "package", "temporary"]


def test_a_model_loads_where_no_mark_can_be_kept(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CARTSIM_CACHE", str(tmp_path / "file"))
    assert cartsim.load(model(tmp_path, "-k*A")).name == "decay"
    assert capsys.readouterr().err == ""


def test_a_damaged_mark_is_no_proof(folder, tmp_path):
    path = model(tmp_path, "-k*A")
    cartsim.load(path)
    (mark,) = folder.iterdir()
    _flip(mark)
    assert cache.read(mark.stem) is None
    cartsim.load(path)  # checked again, and marked again
    assert cache.read(mark.stem) == b""
