"""A store that is full, read-only, shared or damaged costs no result: every number is that of an undisturbed run."""

from __future__ import annotations

import errno
import importlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import environment, theorysim

import theorysim as ts
from theorysim import cell_key as keys
from theorysim import lab as lab_module
from theorysim import store as store_module
from theorysim.lab import Lab
from theorysim.measures import MEASURES
from theorysim.model import Cell, TheorysimError
from theorysim.registry import algorithm, problem
from theorysim.run import run_cell
from theorysim.store import CellsNotKept, Store, clear
from theorysim.trace import Trace

PROBLEM = problem("anisotropic_quadratic", dim=6, start="lognormal", noise=0.1)
CELLS = [Cell(PROBLEM, algorithm("sgd", lr=[0.1, 0.3]), steps, 3, ("gap", "regret")) for steps in (9, 10, 11)]


def assert_same(one: Trace, other: Trace) -> None:
    """The same numbers, to the bit, NaN included."""
    for group in ("values", "oracle_calls", "parameters", "constants"):
        mine, theirs = getattr(one, group), getattr(other, group)
        assert mine.keys() == theirs.keys()
        for name in mine:
            a, b = np.asarray(mine[name]), np.asarray(theirs[name])
            assert (a.dtype, a.shape, a.strides, a.tobytes()) == (b.dtype, b.shape, b.strides, b.tobytes()), name
    for name in ("steps", "communications", "status", "runs"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


@pytest.fixture(scope="module")
def undisturbed() -> list[Trace]:
    return Lab().run_all(CELLS)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The horizons of the cells that were computed, in order."""
    steps: list[int] = []
    monkeypatch.setattr(lab_module, "run_cell", lambda cell, backend: steps.append(cell.steps) or run_cell(cell, backend))
    return steps


def fails(code: int, after: int, sound: Callable[..., Any]) -> Callable[..., Any]:
    """``sound``, but an error of the system from call number ``after`` on."""
    calls = 0

    def function(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            raise OSError(code, os.strerror(code))
        return sound(*arguments, **options)

    return function


@contextmanager
def told_once(why: str) -> Iterator[None]:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield
    assert [entry.category for entry in heard] == [CellsNotKept]
    for part in (why, "the work goes on", "THEORYSIM_CACHE"):
        assert part in str(heard[0].message)


def unfinished(folder: Path) -> list[Path]:
    return list(folder.rglob(".writing-*"))


# ------------------------------------------------------------------------------------------------ a store that cannot be written
@pytest.mark.parametrize(("owner", "name"), [(os, "fsync"), (os, "replace"), (os, "fdopen"), (tempfile, "mkstemp")], ids=str)
def test_a_disk_that_fills_up_costs_no_result_and_no_repetition(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    undisturbed: list[Trace],
    computed: list[int],
    owner: Any,
    name: str,
) -> None:
    store = Store(tmp_path)
    with monkeypatch.context() as patch, told_once("No space left on device"):
        patch.setattr(owner, name, fails(errno.ENOSPC, 2, getattr(owner, name)))  # the label and the first cell fit
        for _ in range(2):
            for trace, expected in zip(Lab(store=store).run_all(CELLS), undisturbed, strict=True):
                assert_same(trace, expected)
    assert computed == [9, 10, 11] and store.usage()[0] == 1 and store.trouble
    assert not unfinished(tmp_path)
    for trace, expected in zip(Lab(store=Store(tmp_path)).run_all(CELLS), undisturbed, strict=True):
        assert_same(trace, expected)
    assert computed == [9, 10, 11, 10, 11] and Store(tmp_path).usage()[0] == 3


def test_a_write_that_the_system_cuts_short_leaves_no_partial_file(tmp_path: Path, undisturbed: list[Trace]) -> None:
    resource = pytest.importorskip("resource")
    store, before = Store(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    store.save(undisturbed[0], "cpu")
    with told_once(os.strerror(errno.EFBIG)):
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, before[1]))
        try:
            store.save(undisturbed[1], "cpu")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert store.usage()[0] == 1 and not unfinished(tmp_path)
    assert_same(store.load(CELLS[1], "cpu"), undisturbed[1])


def test_a_store_that_is_read_only_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: list[Trace], computed: list[int]
) -> None:
    Lab(store=Store(tmp_path)).run_all(CELLS[:2])
    (tmp_path / ".writing-old").touch()
    os.utime(tmp_path / ".writing-old", (0, 0))
    for owner, name in ((tempfile, "mkstemp"), (os, "mkdir"), (os, "unlink")):
        monkeypatch.setattr(owner, name, fails(errno.EROFS, 0, getattr(owner, name)))
    with told_once("Read-only file system"):
        for trace, expected in zip(Lab(store=Store(tmp_path)).run_all(CELLS), undisturbed, strict=True):
            assert_same(trace, expected)
    assert computed == [9, 10, 11]
    with pytest.raises(TheorysimError, match="cannot be cleared.*Read-only"):
        clear(tmp_path)


@pytest.mark.parametrize("below", ["file", "file/below"])
def test_a_store_that_cannot_be_made_is_as_if_there_were_none(tmp_path: Path, undisturbed: list[Trace], below: str) -> None:
    (tmp_path / "file").write_text("mine")
    store = Store(tmp_path / below)
    assert store.usage() == (0, 0) and clear(tmp_path / below) == 0
    with told_once("Not a directory" if below != "file" else "exists"):
        for trace, expected in zip(Lab(store=store).run_all(CELLS), undisturbed, strict=True):
            assert_same(trace, expected)
    assert (tmp_path / "file").read_text() == "mine"


def test_the_command_line_says_in_one_line_that_cells_are_not_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    findings, errors = [], []
    for cache in ("cache", "file/below"):
        own = {"THEORYSIM_CACHE": str(tmp_path / cache), "BOWL_LOG": str(tmp_path / "log")}
        done = theorysim("check", "bowl_paper", "--out", "out", cwd=tmp_path, **own)
        assert done.returncode == 0
        errors.append(done.stderr)
        data = json.loads((tmp_path / "out/findings.json").read_text())
        findings.append([{key: value for key, value in claim.items() if key != "seconds"} for claim in data["claims"]])
    assert findings[0] == findings[1]
    assert "Warning" not in errors[0] and "Traceback" not in errors[1]
    told = [line for line in errors[1].splitlines() if "Warning" in line]
    assert len(told) == 1 and told[0].startswith(f"Warning: the store {tmp_path / 'file/below'} cannot be written (Not a dir")
    built = [int(line) for line in (tmp_path / "log").read_text().split()]
    assert built == 2 * list(range(2, 12))  # the control's cells are those of the claim: not run twice in either check


# ------------------------------------------------------------------------------------------------ several processes
WORKERS = """
import os, sys
sys.path[:0] = [{tests!r}]
from test_store_faults import CELLS, Lab, Path, Store, assert_same, clear
folder, expected = Path(sys.argv[1]), Lab().run_all(CELLS)
processes = []
for role in ("run", "run", "clear", "clear"):
    processes.append(os.fork())
    if processes[-1] == 0:
        for turn in range(25):
            if role == "clear":
                Store(folder).usage()
                clear(folder)
            else:
                for trace, each in zip(Lab(store=Store(folder)).run_all(CELLS), expected, strict=True):
                    assert_same(trace, each)
        os._exit(0)
sys.exit(sum(os.waitpid(process, 0)[1] != 0 for process in processes))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked: three imports would take long")
def test_processes_share_a_store_and_its_cells_while_others_delete_them(tmp_path: Path) -> None:
    code = WORKERS.format(tests=str(Path(__file__).parent))
    command = [sys.executable, "-W", "error::UserWarning", "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not unfinished(tmp_path)


def test_what_vanishes_between_listing_and_looking_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: list[Trace]
) -> None:
    store = Store(tmp_path)
    store.save(undisturbed[0], "cpu")
    sound = os.walk

    def late(folder: Path) -> Iterator[Any]:
        for parent, folders, names in sound(folder):
            yield parent, folders, [*names, "gone.cell", ".writing-gone"]

    monkeypatch.setattr(os, "walk", late)
    assert store.usage()[0] == 1
    assert clear(tmp_path) == 1


def test_what_killed_processes_left_is_removed_when_it_is_old(tmp_path: Path, undisturbed: list[Trace]) -> None:
    Store(tmp_path).save(undisturbed[0], "cpu")
    (cell,) = tmp_path.glob("cells/*/*.cell")
    two_hours_ago = time.time() - 7200
    for folder in (tmp_path, cell.parent):
        for name, old in ((".writing-old", True), (".writing-young", False), ("notes-old", True)):
            (folder / name).touch()
            if old:
                os.utime(folder / name, (two_hours_ago, two_hours_ago))
    os.utime(cell, (two_hours_ago, two_hours_ago))
    store = Store(tmp_path)
    assert store.load(CELLS[0], "cpu") is not None
    assert [path.name for path in unfinished(tmp_path)].count(".writing-old") == 1  # a start looks where all are written now
    assert clear(tmp_path) == 1
    assert {path.relative_to(tmp_path) for path in unfinished(tmp_path)} == {
        Path(".writing-young"),
        cell.parent.relative_to(tmp_path) / ".writing-young",
    }
    assert (tmp_path / "notes-old").exists() and (cell.parent / "notes-old").exists()


# ------------------------------------------------------------------------------------------------ damage
def damages(whole: bytes, other: bytes) -> Iterator[tuple[str, bytes]]:
    """Every kind of damage to the bytes of a cell; ``other`` is a sound cell, but another one."""
    generator = np.random.default_rng(3)
    for position in [*range(60), *generator.integers(60, len(whole), 200), len(whole) - 1]:
        bit = 1 << int(generator.integers(8))
        yield f"bit {bit} of byte {position}", whole[:position] + bytes([whole[position] ^ bit]) + whole[position + 1 :]
    for length in [0, 1, 16, 17, 48, 49, 50, *generator.integers(50, len(whole), 20), len(whole) - 1]:
        yield f"cut to {length}", whole[:length]
    yield "something appended", whole + b"\0"
    yield "zeros", bytes(len(whole))
    yield "twice", whole + whole
    yield "another cell", other


def test_no_damage_is_taken_for_a_result(tmp_path: Path, undisturbed: list[Trace]) -> None:
    store = Store(tmp_path)
    paths = [store._path(keys.cell_key(cell, "cpu") or "") for cell in CELLS[:2]]
    for trace in undisturbed[:2]:
        store.save(trace, "cpu")
    whole, other = (path.read_bytes() for path in paths)
    for what, damaged in damages(whole, other):
        paths[0].write_bytes(damaged)
        assert store.load(CELLS[0], "cpu") is None, what
    paths[0].write_bytes(whole)
    assert_same(store.load(CELLS[0], "cpu"), undisturbed[0])


@pytest.mark.parametrize("damage", ["empty", "flipped", "folder", "no archive", "another archive", "archive cut", "unreadable"])
def test_a_damaged_cell_is_computed_again_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: list[Trace], computed: list[int], damage: str
) -> None:
    store = Store(tmp_path)
    store.save(undisturbed[0], "cpu")
    (path,) = tmp_path.glob("cells/*/*.cell")
    whole = path.read_bytes()
    payloads = {"no archive": b"PK", "another archive": npz(x=np.arange(3)), "archive cut": whole[49:-30]}
    if damage in payloads:
        path.write_bytes(store_module._head(path.stem, payloads[damage]) + payloads[damage])
    elif damage == "folder":
        path.unlink()
        (path / "inside").mkdir(parents=True)
    elif damage == "unreadable":
        monkeypatch.setattr(Path, "read_bytes", fails(errno.EIO, 0, Path.read_bytes))
    else:
        path.write_bytes(b"" if damage == "empty" else whole[:100] + bytes([whole[100] ^ 4]) + whole[101:])
    assert_same(Lab(store=Store(tmp_path)).run(CELLS[0]), undisturbed[0])
    monkeypatch.undo()
    assert computed == [9]
    assert path.read_bytes() == whole
    assert_same(Store(tmp_path).load(CELLS[0], "cpu"), undisturbed[0])


def npz(**arrays: Any) -> bytes:
    with tempfile.TemporaryFile() as file:
        np.savez(file, **arrays)
        file.seek(0)
        return file.read()


# ------------------------------------------------------------------------------------------------ numbers that are none
def test_nan_and_its_like_are_kept_to_the_bit(tmp_path: Path, undisturbed: list[Trace]) -> None:
    bits = [0x7FF8000000000000, 0xFFF8000000000001, 0x7FF0000000000123, 0x7FF0000000000000, 0x8000000000000000, 1]
    odd = np.array([struct.unpack("<d", struct.pack("<Q", each))[0] for each in bits])
    sound = undisturbed[0]
    gap = sound["gap"].copy()
    gap.ravel().view(np.uint64)[: len(bits)] = bits
    trace = replace(sound, values={**sound.values, "gap": gap}, constants={"L": float("nan"), "c": odd, "k": 3, "zero": -0.0})
    store = Store(tmp_path)
    store.save(trace, "cpu")
    kept = store.load(CELLS[0], "cpu")
    assert kept is not None
    assert_same(kept, trace)
    assert kept["gap"].ravel().view(np.uint64)[: len(bits)].tolist() == bits
    assert isinstance(kept.constants["L"], float) and isinstance(kept.constants["k"], int)


DIVERGING = ts.Paper("diverging", "T", "A", 2026, "V", "@misc{t}")


@ts.claim(DIVERGING, source="x", kind="upper", statement="x", controls=[ts.Control({"lr": 1e9}, "it diverges")], assumptions="x")
def stays_bounded(lab: Lab, lr: float = 0.1) -> ts.Finding:
    """The gap stays below a bound; not with a step size of 1e9."""
    trace = lab.run(Cell(PROBLEM, algorithm("sgd", lr=lr), 200, lab.runs(8), record="all"))
    return ts.bound_ratio([trace], of="gap", bound="1e6*lambda_max*D_2_0**2", label="ratio")


def test_findings_on_runs_that_diverge_are_the_same_from_the_disk(tmp_path: Path) -> None:
    trace = Lab().run(Cell(PROBLEM, algorithm("sgd", lr=1e9), 200, 8, record="all"))
    assert np.isnan(trace["gap"]).any()
    first, second, none = (
        ts.check("diverging", store=Store(folder), device="cpu") for folder in (tmp_path, tmp_path, tmp_path / "other")
    )
    assert first.claims[0].controls[0].as_it_must
    for report in (second, none):
        for found, expected in zip(report.claims, first.claims, strict=True):
            assert repr((found.finding, found.controls)) == repr((expected.finding, expected.controls))
    assert Store(tmp_path).usage()[0] >= 2


def test_parameters_that_are_neither_numbers_nor_text_are_not_kept(tmp_path: Path, undisturbed: list[Trace]) -> None:
    store = Store(tmp_path)
    store.save(replace(undisturbed[0], parameters={"lr": np.array([None, 0.1])}), "cpu")
    assert store.usage() == (0, 0) and not store.trouble


# ------------------------------------------------------------------------------------------------ what a key depends on
@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the engine's sources, which the keys are made of."""
    copy = tmp_path / "theorysim"
    shutil.copytree(keys._PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(keys, "_PACKAGE", copy)
    return copy


def test_an_edit_of_the_engine_makes_cells_stale_and_of_what_looks_at_results_does_not(package: Path) -> None:
    def engine() -> str:
        return keys._engine.__wrapped__()

    last = engine()
    assert last == engine()
    for name in ("run", "noise_cpu", "store", "lab", "measures/gradients", "measures/__init__", "moments/stage", "moments/walk"):
        with (package / f"{name}.py").open("a") as file:
            file.write("\n")
        assert engine() != last, name
        last = engine()
    (package / "new_layer").mkdir()
    (package / "new_layer" / "deep.py").touch()
    assert engine() != last
    last = engine()
    for name in ("cli", "cli_check", "report/page", "mutation/fault", "calibration/tally", "algorithms/sgd"):
        with (package / f"{name}.py").open("a") as file:
            file.write("\n")
        assert engine() == last, name
    for name in ("problems", "analyses", "paper_checks"):  # where a wheel has them
        (package / name).mkdir()
        (package / name / "new.py").touch()
        assert engine() == last, name


def test_an_edit_of_a_measure_of_another_package_makes_its_cells_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "simtest_measures.py").write_text(
        "from theorysim.measures import Measure\ndef double(argument=''):\n    return Measure(lambda view, memory: 2.0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(MEASURES, "double", importlib.import_module("simtest_measures").double)
    cell = replace(CELLS[0], measure=("gap", "double:3"))
    first = keys.cell_key(cell, "cpu")
    (tmp_path / "simtest_measures.py").write_text("# edited\n")
    keys._source_of_module.cache_clear()
    assert keys.cell_key(cell, "cpu") not in (first, None)
    MEASURES["double"].__module__ = "__main__"  # as if typed at a prompt
    assert keys.cell_key(cell, "cpu") is None


def test_a_data_file_that_cannot_be_read_is_left_to_the_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data.svm").write_text("1 1:0.5\n-1 1:0.25\n")
    cell = replace(CELLS[0], problem=problem("logistic_regression", data=str(tmp_path / "data.svm"), ridge=0.1))
    assert keys.cell_key(cell, "cpu") is not None
    monkeypatch.setattr(Path, "read_bytes", fails(errno.EACCES, 0, Path.read_bytes))
    assert keys.cell_key(cell, "cpu") is None
