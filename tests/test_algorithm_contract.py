"""What every registered algorithm must do: a new file is tested before anyone writes a test for it."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from theorysim.backend import CPU, Backend
from theorysim.model import Cell, Spec, TheorysimError
from theorysim.registry import ALGORITHMS, algorithm, parameters, problem
from theorysim.run import run_cell

# Values for parameters without a default, by name; a new required parameter needs a line here.
REQUIRED: dict[str, Any] = {"lr": 0.1, "of": algorithm("sgd", lr=0.1), "fault": "no_root", "kappa_a": 10.0, "horizon": 40}
REQUIRED |= {"batch": 8, "chance": 0.2, "rounds": 3}
# Parameters by algorithm, where the defaults need constants that the problems below do not have.
SETTINGS: dict[str, dict[str, Any]] = {
    "mass": {"lr": 0.1, "alpha": 0.2, "kappa_tilde": 3.0},
    "mass_three_sequences": {"lr": 0.1, "alpha": 0.2, "delta": 0.3},
}
NAMES = ALGORITHMS.names()
DIM, STEPS = 6, 12
COORDINATES = tuple(f"coordinate:{j}" for j in range(DIM))
PROBLEMS = {
    "vectors": problem("anisotropic_quadratic", dim=DIM, start="uniform", low=0.5, rotation="random", noise=0.1),
    "matrices": problem("matrix_quadratic", m=2, n=3, rotation="random", noise=0.1),
    "agents": problem(
        "decentralized_quadratic", m=4, n=6, dim=DIM, kappa=10, placement="sorted", rotation="random", graph="star"
    ),
}


def spec(name: str, **settings: Any) -> Spec:
    known = parameters(ALGORITHMS, name)
    needed = {key: REQUIRED[key] for key, p in known.items() if p.default is inspect.Parameter.empty}
    return algorithm(name, **{**needed, **SETTINGS.get(name, {}), **settings})


def accepts(name: str, shape: str) -> bool:
    """An algorithm may refuse iterates of one shape, when it is built or when it begins."""
    try:
        run_cell(Cell(PROBLEMS[shape], spec(name), 1), CPU)
    except TheorysimError:
        return False
    return True


def shapes(name: str) -> list[str]:
    """The kinds of problem to try it on: several agents only where it cannot do without them."""
    found = [shape for shape in ("vectors", "matrices") if accepts(name, shape)]
    return found or ["agents"] * accepts(name, "agents")


CASES = [(name, shape) for name in NAMES for shape in shapes(name)]
every_case = pytest.mark.parametrize(("name", "shape"), CASES, ids=[f"{name}-{shape}" for name, shape in CASES])


def path(method: Spec, shape: str, backend: Backend = CPU, runs: int = 3, chunk: int | None = None) -> np.ndarray[Any, Any]:
    """``(rows, steps + 1, dim)`` iterates, with the gap of the output in the last column."""
    trace = run_cell(Cell(PROBLEMS[shape], method, STEPS, runs, (*COORDINATES, "gap"), "all"), backend, chunk)
    return np.stack([trace[name] for name in (*COORDINATES, "gap")], axis=-1)


@pytest.mark.parametrize("name", NAMES)
def test_accepts_iterates_of_some_shape(name: str) -> None:
    assert [shape for each, shape in CASES if each == name]


@every_case
def test_runs_with_its_defaults_and_stays_finite(name: str, shape: str) -> None:
    assert np.isfinite(path(spec(name), shape)).all()


@every_case
def test_runs_on_the_array_standard_alone_without_a_transfer(name: str, shape: str, strict: Backend) -> None:
    np.testing.assert_allclose(path(spec(name), shape, strict), path(spec(name), shape), rtol=1e-10, atol=1e-12)


@every_case
def test_runs_are_independent_of_the_chunks(name: str, shape: str) -> None:
    np.testing.assert_array_equal(path(spec(name), shape, chunk=1), path(spec(name), shape, chunk=3))


@pytest.mark.parametrize(("name", "shape"), [case for case in CASES if "lr" in parameters(ALGORITHMS, case[0])])
def test_a_list_of_step_sizes_is_one_batch_with_the_numbers_of_single_runs(name: str, shape: str) -> None:
    sizes = [0.02, 0.1, 0.3]
    together = path(spec(name, lr=sizes), shape).reshape(len(sizes), 3, STEPS + 1, DIM + 1)
    for each, size in zip(together, sizes, strict=True):
        np.testing.assert_array_equal(each, path(spec(name, lr=size), shape))


@every_case
def test_counts_what_it_asks_of_the_oracle(name: str, shape: str) -> None:
    trace = run_cell(Cell(PROBLEMS[shape], spec(name), STEPS, measure=("component_calls",), record="all"), CPU)
    total = trace.oracle_calls["gradient"] + trace.oracle_calls["sample"] + trace["component_calls"][0]
    assert total[0] == 0
    assert (np.diff(total) >= 1).all()
