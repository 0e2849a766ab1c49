"""Results on disk: whole or not at all, checked when read, and never mistaken for another cell's."""

from __future__ import annotations

import importlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from theorysim import lab as lab_module
from theorysim.backend import CPU
from theorysim.cell_key import _source_of_module, cell_key
from theorysim.folders import cache_folder
from theorysim.lab import Lab
from theorysim.model import Cell, TheorysimError
from theorysim.registry import PROBLEMS, algorithm, problem
from theorysim.run import run_cell
from theorysim.store import CellsNotKept, Store, clear
from theorysim.trace import Trace

CELL = Cell(
    problem("anisotropic_quadratic", dim=6, start="lognormal", noise=0.1),
    algorithm("average", of=algorithm("adagrad", lr=["D_inf_0/3", "D_2_0/4"])),
    12,
    3,
    ("gap", "regret"),
)


def stored(folder: Path) -> tuple[Store, Path]:
    store = Store(folder)
    store.save(run_cell(CELL, CPU), "cpu")
    (path,) = folder.glob("cells/*/*.cell")
    return store, path


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    store, _ = stored(tmp_path)
    fresh, kept = run_cell(CELL, CPU), store.load(CELL, "cpu")
    assert kept is not None and kept.cell == CELL and kept.environment == fresh.environment
    for name in ("steps", "communications", "status", "runs"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(fresh, name))
    for group in ("values", "oracle_calls", "parameters", "constants"):
        mine, theirs = getattr(kept, group), getattr(fresh, group)
        assert mine.keys() == theirs.keys()
        for name in mine:
            np.testing.assert_array_equal(mine[name], theirs[name])
    assert isinstance(kept.constants["L_1norm"], float) and kept.constants["dim"] == 6


@pytest.mark.parametrize("change", [{"seed": 1}, {"steps": 13}, {"runs": 4}, {"measure": ("gap",)}, {"record": "all"}], ids=str)
def test_another_cell_is_not_there(tmp_path: Path, change: dict[str, Any]) -> None:
    store, _ = stored(tmp_path)
    assert store.load(replace(CELL, **change), "cpu") is None


def test_other_devices_and_parameters_are_not_there(tmp_path: Path) -> None:
    store, _ = stored(tmp_path)
    assert store.load(CELL, "gpu") is None
    assert store.load(replace(CELL, problem=problem("anisotropic_quadratic", dim=6, start="lognormal", noise=0.2)), "cpu") is None
    inner = algorithm("adagrad", lr=["D_inf_0/3", "D_2_0/5"])
    assert store.load(replace(CELL, algorithm=algorithm("average", of=inner)), "cpu") is None


def test_every_damage_is_noticed(tmp_path: Path) -> None:
    store, path = stored(tmp_path)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for position in [0, 20, *generator.integers(len(whole), size=30)]:
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        assert store.load(CELL, "cpu") is None, position
    for length in (0, 10, 60, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert store.load(CELL, "cpu") is None, length
    path.write_bytes(whole)
    assert store.load(CELL, "cpu") is not None


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)

    def full_disk(source: Any, target: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.warns(CellsNotKept, match="No space left on device.*the work goes on.*set THEORYSIM_CACHE"):
        store.save(run_cell(CELL, CPU), "cpu")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_factories_without_a_source_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {"quadratic": PROBLEMS.get("anisotropic_quadratic")}
    exec("def typed(draws, dim=3):\n    'Typed at a prompt.'\n    return quadratic(draws, dim=dim)", names)
    monkeypatch.setitem(PROBLEMS._found, "typed", names["typed"])
    cell = replace(CELL, problem=problem("typed"))
    assert cell_key(cell, "cpu") is None
    store = Store(tmp_path)
    store.save(run_cell(cell, CPU), "cpu")
    assert store.usage() == (0, 0) and store.load(cell, "cpu") is None


def test_an_edit_of_what_a_factory_imports_makes_its_cells_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "simtest_keys"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text("DIM = 3\n")
    (package / "unrelated.py").write_text("")
    (package / "keyed.py").write_text(
        "from .helper import DIM\nfrom theorysim.registry import PROBLEMS\n"
        "def keyed(draws, dim=DIM):\n    return PROBLEMS.get('anisotropic_quadratic')(draws, dim=dim)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(PROBLEMS._found, "keyed", importlib.import_module("simtest_keys.keyed").keyed)
    cell = replace(CELL, problem=problem("keyed"))

    def key() -> str | None:
        _source_of_module.cache_clear()
        return cell_key(cell, "cpu")

    first = key()
    assert first is not None and key() == first
    (package / "unrelated.py").write_text("OTHER = 1\n")
    assert key() == first
    (package / "helper.py").write_text("DIM = 4\n")
    assert key() not in (first, None)


def test_the_content_of_a_data_file_is_part_of_the_key(tmp_path: Path) -> None:
    data = tmp_path / "data.svm"
    data.write_text("1 1:0.5\n-1 1:0.25\n")
    cell = replace(CELL, problem=problem("logistic_regression", data=str(data), ridge=0.1))
    first = cell_key(cell, "cpu")
    data.write_text("1 1:0.5\n-1 1:0.75\n")
    assert cell_key(cell, "cpu") != first


def test_usage_and_clear(tmp_path: Path) -> None:
    store, path = stored(tmp_path)
    assert store.usage() == (1, path.stat().st_size)
    assert clear(tmp_path) == 1 and store.usage() == (0, 0)


@pytest.mark.parametrize(
    ("label", "found"), [(json.dumps({"format": 99}), "99"), ("{", "unknown"), ("[]", "unknown"), ("", "unknown")]
)
def test_a_folder_of_another_version_or_program_is_refused(tmp_path: Path, label: str, found: str) -> None:
    (tmp_path / "store.json").write_text(label)
    with pytest.raises(TheorysimError, match=f"has format {found}.*'theorysim cache clear' or set THEORYSIM_CACHE"):
        Store(tmp_path)
    assert (tmp_path / "store.json").read_text() == label


def test_the_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEORYSIM_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("THEORYSIM_CACHE")
    assert cache_folder().name == "theorysim"


# ------------------------------------------------------------------------------------------------ the lab's use of it
def test_an_interrupted_lab_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [replace(CELL, steps=steps) for steps in (3, 4, 5)]
    computed: list[int] = []

    def interrupted(cell: Cell, backend: Any) -> Trace:
        if len(computed) == 2:
            raise KeyboardInterrupt
        computed.append(cell.steps)
        return run_cell(cell, backend)

    monkeypatch.setattr(lab_module, "run_cell", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Lab(store=Store(tmp_path), seed=9).run_all(cells)
    monkeypatch.setattr(lab_module, "run_cell", lambda cell, backend: computed.append(cell.steps) or run_cell(cell, backend))
    heard: list[tuple[int, int]] = []
    traces = Lab(store=Store(tmp_path), seed=9, progress=lambda done, total: heard.append((done, total))).run_all(cells)
    assert computed == [3, 4, 5]
    assert [trace.cell.steps for trace in traces] == [3, 4, 5] and all(trace.cell.seed == 9 for trace in traces)
    assert heard == [(2, 3), (3, 3)]


def test_a_damaged_cell_is_computed_again(tmp_path: Path) -> None:
    lab = Lab(store=Store(tmp_path))
    first = lab.run(CELL)
    (path,) = tmp_path.glob("cells/*/*.cell")
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    np.testing.assert_array_equal(lab.run(CELL)["gap"], first["gap"])
    assert path.stat().st_size == len(whole)
