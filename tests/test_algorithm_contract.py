"""What every registered algorithm must do: a new file is tested before anyone writes a test for it."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from theorysim.backend import CPU, Backend
from theorysim.model import Cell, Spec
from theorysim.registry import ALGORITHMS, algorithm, parameters, problem
from theorysim.run import run_cell

# Values for parameters without a default, by name; a new required parameter needs a line here.
REQUIRED: dict[str, Any] = {"lr": 0.1, "of": algorithm("sgd", lr=0.1), "fault": "no_root"}
NAMES = ALGORITHMS.names()
DIM, STEPS = 6, 12
COORDINATES = tuple(f"coordinate:{j}" for j in range(DIM))
QUADRATIC = problem("anisotropic_quadratic", dim=DIM, start="uniform", low=0.5, rotation="random", noise=0.1)


def spec(name: str, **settings: Any) -> Spec:
    known = parameters(ALGORITHMS, name)
    needed = {key: REQUIRED[key] for key, p in known.items() if p.default is inspect.Parameter.empty}
    return algorithm(name, **{**needed, **settings})


def path(method: Spec, backend: Backend = CPU, runs: int = 3, chunk: int | None = None) -> np.ndarray[Any, Any]:
    """``(rows, steps + 1, dim)`` iterates, with the gap of the output in the last column."""
    trace = run_cell(Cell(QUADRATIC, method, STEPS, runs, (*COORDINATES, "gap"), "all"), backend, chunk)
    return np.stack([trace[name] for name in (*COORDINATES, "gap")], axis=-1)


@pytest.mark.parametrize("name", NAMES)
def test_runs_with_its_defaults_and_stays_finite(name: str) -> None:
    assert np.isfinite(path(spec(name))).all()


@pytest.mark.parametrize("name", NAMES)
def test_runs_on_the_array_standard_alone_without_a_transfer(name: str, strict: Backend) -> None:
    np.testing.assert_allclose(path(spec(name), strict), path(spec(name)), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_runs_are_independent_of_the_chunks(name: str) -> None:
    np.testing.assert_array_equal(path(spec(name), chunk=1), path(spec(name), chunk=3))


@pytest.mark.parametrize("name", [name for name in NAMES if "lr" in parameters(ALGORITHMS, name)])
def test_a_list_of_step_sizes_is_one_batch_with_the_numbers_of_single_runs(name: str) -> None:
    sizes = [0.02, 0.1, 0.3]
    together = path(spec(name, lr=sizes)).reshape(len(sizes), 3, STEPS + 1, DIM + 1)
    for each, size in zip(together, sizes, strict=True):
        np.testing.assert_array_equal(each, path(spec(name, lr=size)))


@pytest.mark.parametrize("name", NAMES)
def test_counts_what_it_asks_of_the_oracle(name: str) -> None:
    calls = run_cell(Cell(QUADRATIC, spec(name), STEPS, record="all"), CPU).oracle_calls
    total = calls["gradient"] + calls["sample"]
    assert total[0] == 0
    assert (np.diff(total) >= 1).all()
