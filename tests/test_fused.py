"""Fused trajectories against the plain path: the same bits, whatever the method, the noise, the batch and the measures."""

from __future__ import annotations

import errno
import itertools
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from test_run import same

from theorysim import run as run_function
from theorysim.backend import CPU, cores
from theorysim.build import build_algorithm, build_problem, variants
from theorysim.fused import Stepper, kernels_cpu
from theorysim.fused.numba_source import module
from theorysim.fused.program import Program
from theorysim.model import Algorithm, Array, Cell, Problem, Spec, TheorysimError
from theorysim.noise import Draws, Stream
from theorysim.oracle import Oracle
from theorysim.registry import ALGORITHMS, algorithm, problem
from theorysim.run import run_cell
from theorysim.trace import Trace

loop = sys.modules["theorysim.run"]
NOISY = problem("anisotropic_quadratic", dim=1029, start="uniform", noise=0.3, origin="start")
SMALL = problem("anisotropic_quadratic", dim=70, start="uniform", noise=0.3, origin="start")
FLAT = problem("huber", dim=70, threshold=0.3)
ROUGH = problem("separable_nonconvex", dim=70, noise=0.2)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> list[Stepper]:
    """Kernels wherever they can be; the steppers that were made."""
    monkeypatch.setattr(loop, "_WORTH_A_KERNEL", 0)
    monkeypatch.setattr(loop, "_WORTH_A_TRACE", 0)
    monkeypatch.setattr(loop, "_WORTH_A_LAUNCH", 0)
    made: list[Stepper] = []
    original = loop.Stepper
    monkeypatch.setattr(loop, "Stepper", lambda *args, **options: made.append(original(*args, **options)) or made[-1])
    return made


def plain(cell: Cell) -> Trace:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_WORTH_A_TRACE", np.inf)
        patch.setattr(loop, "Stepper", Stepper)
        return run_cell(cell, CPU)


def never_moves(trace: Trace) -> bool:
    return bool((trace["gap"] == trace["gap"][:, :1]).all())


def interpreted(program: Program) -> Any:
    """The kernel of a program run by Python: the same text, with nothing to compile."""
    lines = [line for line in module(program).splitlines() if not line.startswith("@njit") and line.strip() != "wide_vectors()"]
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)
    return names["kernel"]


METHODS = [
    algorithm("sgd", lr=[0.3, 0.1], schedule="inverse_sqrt"),
    algorithm("heavy_ball", lr=0.1, momentum=[0.5, 0.9, 0.3], schedule="step_decay:2,5", form="library"),
    algorithm("nesterov", lr=0.2),
    algorithm("mass", lr=0.2, alpha=0.1, kappa_tilde=3.0),
    algorithm("triple_momentum"),
    algorithm("adagrad", lr=0.5, box=0.4),
    algorithm("rmsprop", lr=0.05),
    algorithm("adam", lr=[0.02, 0.1], beta1=[0.8, 0.9]),
    algorithm("sign_sgd", lr=0.01),
    algorithm("signum", lr=0.01),
    algorithm("average", of=algorithm("adagrad", lr="D_inf_0/sqrt(2)")),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_fused_runs_are_plain_runs_to_the_bit(method: Spec, always: list[Stepper], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels_cpu, "_compiled", interpreted)
    cell = Cell(SMALL, method, 20, 3, ("gap", "distance:inf", "coordinate:69"), (0, 3, 4, 17, 20), seed=2**40 + 7)
    fused = run_cell(cell, CPU, chunk=2)
    assert [stepper.fused for stepper in always] == [19, 20], "one step is made both ways"
    assert not never_moves(fused)
    same(fused, plain(cell))


@pytest.mark.parametrize("of", [FLAT, ROUGH], ids=lambda of: of.name)
def test_separable_problems_that_are_not_quadratic(of: Spec, always: list[Stepper], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels_cpu, "_compiled", interpreted)
    cell = Cell(of, algorithm("adam", lr=0.05), 9, 2, ("gap", "coordinate:3"), "all")
    same(run_cell(cell, CPU), plain(cell))
    assert [stepper.fused for stepper in always] == [8]


@pytest.mark.parametrize("method", [METHODS[1], METHODS[5]], ids=lambda method: method.name)
def test_compiled_kernels_too(method: Spec, always: list[Stepper]) -> None:
    cell = Cell(NOISY, method, 40, 5, ("gap", "distance:inf", "coordinate:1028"), (0, 3, 4, 33, 40), seed=2**40 + 7)
    same(run_cell(cell, CPU, chunk=3), plain(cell))
    assert [stepper.fused for stepper in always] == [39, 40]


@pytest.mark.parametrize("name", ["adagrad_norm", "full_matrix_adagrad", "asgo", "muon"])
def test_methods_that_mix_coordinates_take_the_plain_path(name: str, always: list[Stepper]) -> None:
    of = problem("matrix_quadratic") if name in ("asgo", "muon") else problem("anisotropic_quadratic", dim=6)
    same(run_cell(cell := Cell(of, algorithm(name), 8, 2), CPU), plain(cell))
    assert [stepper.fused for stepper in always] == [0]


def test_a_rotated_quadratic_is_not_separable(always: list[Stepper]) -> None:
    of = problem("anisotropic_quadratic", dim=6, rotation="random", noise=0.1)
    same(run_cell(cell := Cell(of, algorithm("sgd", lr=0.1), 8, 2), CPU), plain(cell))
    assert [stepper.fused for stepper in always] == [0]


@pytest.mark.parametrize(("of", "method", "measures"), [
    (problem("anisotropic_quadratic", dim=64, noise=0.3), algorithm("sgd", lr=0.2), ("gap", "regret", "max_distance:2")),
    (problem("matrix_quadratic", m=3, n=25, noise=0.3), algorithm("adagrad", lr=0.2), ("stable_rank", "gap_iterate")),
])  # fmt: skip
def test_measures_see_where_the_oracle_was_asked(
    of: Spec, method: Spec, measures: tuple[str, ...], always: list[Stepper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is begun blind, given up at the first look, and begun again; steps of AdaGrad are all alike and remembered."""
    monkeypatch.setattr(kernels_cpu, "_compiled", interpreted)
    cell = Cell(of, method, 12, 3, measures, (4, 12))
    same(run_cell(cell, CPU), plain(cell))
    assert len(always) == 2 and always[1].fused == 11


def test_until_stops_at_the_same_step(always: list[Stepper]) -> None:
    of = problem("anisotropic_quadratic", dim=1029, start="uniform")
    cell = Cell(of, algorithm("adagrad", lr=[0.1, 0.5]), 60, 3, ("gap",), "all", until=0.3)
    fused = run_cell(cell, CPU)
    assert fused.steps[-1] < 60
    same(fused, plain(cell))
    assert always[0].fused > 8


def test_divergence_is_recorded_alike(always: list[Stepper]) -> None:
    cell = Cell(ROUGH, algorithm("heavy_ball", lr=1e6, momentum=[0.5, 2.0]), 700, 2, ("gap",), "log")
    fused = run_cell(cell, CPU)
    assert (fused.status > 0).any()
    same(fused, plain(cell))
    assert always[0].fused == 699


# ------------------------------------------------------------------------------------------------ steps of all kinds
class Pair(NamedTuple):
    x: Array
    y: Array
    t: int


def rows_of(count: int, dim: int, weights: Array) -> Problem:
    start = np.random.default_rng(1).normal(size=(count, dim))
    draws = Draws(CPU, 5, np.arange(count))

    def sample(x: Array, draw: Any) -> Array:
        return weights * x + draws.uniform(Stream.BATCH, draw, (dim,)) * draws.normal(Stream.GRADIENT, draw, (dim,))

    return Problem((dim,), start, None, {}, lambda x: x[:, 0], lambda x: weights * x, sample)


def walked(method: Algorithm, of: Problem, steps: int = 12, fuse: bool = True) -> tuple[Any, Stepper, Oracle]:
    draws = Draws(CPU, 5, np.arange(len(of.start)))
    stepper, oracle = Stepper(of, method, draws, fuse=fuse), Oracle(of)
    return stepper.advance(method.init(of, of.start), oracle, 0, steps), stepper, oracle


def equal_walks(method: Algorithm, of: Problem, fused: int, steps: int = 12) -> None:
    with np.errstate(all="ignore"):
        mine, stepper, asked = walked(method, of, steps)
        theirs, _, counted = walked(method, of, steps, fuse=False)
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(a, b)
    assert asked.calls == counted.calls and stepper.fused == fused


def method(step: Callable[[Pair, Any], Pair]) -> Algorithm:
    return Algorithm(lambda made, x0: Pair(x0, x0 * 0.5, 0), step)


EDGES = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.5, 3e-310, 1e308, 0.5])
GRID = np.array(list(itertools.product(EDGES, EDGES))).T.copy()


@pytest.mark.parametrize("part", range(3))
def test_every_operation_is_that_of_numpy_at_the_edges_too(part: int) -> None:
    """A state for each operation, a third of them at a time, which compiles faster. The operands are all pairs of zeros,
    infinities, NaN and numbers small and large."""
    import array_api_compat

    class State(NamedTuple):
        x: Array
        y: Array
        found: tuple[Array, ...]

    def operations(xp: Any, x: Array, y: Array) -> tuple[Array, ...]:
        return (
            x + y, x - y, x * y, x / y, -x, xp.abs(x), abs(y), xp.sqrt(x), xp.sign(x), xp.square(x), x**2, 1 - x, 2.5 / x, 3 + x,
            xp.maximum(x, y), xp.minimum(x, y), xp.clip(x, -1.0, 1.0), xp.clip(x, None, 0.25), xp.where(x < y, x, 0.25),
            xp.where((x <= y) & (x != 1.0), x, y), xp.where((x > y) | ~(x == 1.0), y, 7.0),
            xp.where(x >= 0.5, xp.zeros_like(x), y),
        )  # fmt: skip

    def init(made: Problem, x0: Array) -> State:
        return State(GRID[:1] * np.ones_like(x0), GRID[1:] * np.ones_like(x0), operations(np, x0, x0)[part::3])

    def step(state: State, oracle: Any) -> State:
        return State(state.x, state.y, operations(array_api_compat.array_namespace(state.x), state.x, state.y)[part::3])

    of, made = rows_of(2, GRID.shape[1], np.ones(GRID.shape[1])), Algorithm(init, step)
    with np.errstate(all="ignore"):
        mine, stepper, _ = walked(made, of, 3)
        theirs, _, _ = walked(made, of, 3, fuse=False)
    assert stepper.fused == 2
    for index, (a, b) in enumerate(zip(mine.found, theirs.found, strict=True)):
        np.testing.assert_array_equal(a, b, err_msg=f"operation {part + 3 * index}")


def test_two_kinds_of_noise_and_operands_of_every_shape() -> None:
    rng = np.random.default_rng(3)
    by_row, by_coordinate, by_entry = rng.normal(size=(4, 1)), rng.normal(size=(1, 77)), rng.normal(size=(4, 77))

    def step(state: Pair, oracle: Any) -> Pair:
        g = oracle.sample(state.x) + by_coordinate * oracle.sample(0.5 * state.y) - 0.1 * oracle.gradient(state.x)
        return Pair(by_row * state.t * g + by_entry, state.x, state.t + 1)

    equal_walks(method(step), rows_of(4, 77, rng.normal(size=77)), 11)


def test_a_program_may_change_from_step_to_step() -> None:
    def step(state: Pair, oracle: Any) -> Pair:
        x = state.x - 0.1 * oracle.sample(state.x) if state.t % 3 else -state.y
        return Pair(x, state.y + 0.5, state.t + 1)

    equal_walks(method(step), rows_of(2, 10, np.ones(10)), 10)


def test_steady_steps_and_long_ones_are_cut_into_segments() -> None:
    equal_walks(
        method(lambda state, oracle: Pair(0.99 * state.x + state.y * 1e-3, state.y, 0)), rows_of(1, 3, np.ones(3)), 599, 600
    )


def test_a_step_that_is_not_what_its_trace_says_is_not_trusted() -> None:
    def step(state: Pair, oracle: Any) -> Pair:
        seen = 1.0 if isinstance(state.x, np.ndarray) else 2.0
        return Pair(state.x - seen * oracle.gradient(state.x), state.y, state.t + 1)

    equal_walks(method(step), rows_of(2, 10, np.full(10, 0.1)), 0)


@pytest.mark.parametrize("odd", [
    lambda x: x[:, ::-1], lambda x: np.cumsum(x, axis=1), lambda x: x if x[0, 0] > 0 else -x, lambda x: x + x.sum(),
    lambda x: np.exp(-x), lambda x: abs(x) ** 1.5,
])  # fmt: skip
def test_what_symbols_cannot_say_takes_the_plain_path(odd: Callable[[Array], Array]) -> None:
    equal_walks(method(lambda state, oracle: Pair(odd(state.x), state.y, state.t + 1)), rows_of(2, 10, np.ones(10)), 0)


def test_an_error_in_a_step_comes_through() -> None:
    def step(state: Pair, oracle: Any) -> Pair:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        walked(method(step), rows_of(1, 2, np.ones(2)))


def test_a_kernel_writes_to_no_array_it_was_given() -> None:
    of = rows_of(2, 100, np.ones(100))
    before = of.start.copy()
    walked(method(lambda state, oracle: Pair(state.x * 0.5, state.x, state.t + 1)), of)
    np.testing.assert_array_equal(of.start, before)


def test_kernels_need_no_folder_that_can_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(kernels_cpu, "cache_folder", lambda: tmp_path / "file")
    kernels_cpu._compiled.cache_clear()
    equal_walks(method(lambda state, oracle: Pair(state.x * 0.25 + 1.75, state.x, state.t + 1)), rows_of(1, 2, np.ones(2)), 11)


def test_a_full_disk_keeps_no_kernel_from_working(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba keeps every function as it compiles it, and lets the error through when it cannot."""
    refused: list[Any] = []

    def full(self: Any, *arguments: Any) -> None:
        refused.append(arguments)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(numba.core.caching.Cache, "save_overload", full)
    equal_walks(
        method(lambda state, oracle: Pair(0.75 - state.x * 0.5 - state.y, state.x, state.t + 1)), rows_of(1, 2, np.ones(2)), 11
    )
    assert refused


def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    of, spec = problem("anisotropic_quadratic", dim=5000, noise=0.3), algorithm("adagrad", lr=[0.5, 0.1])
    draws = Draws(CPU, 5, np.tile(np.arange(3), variants(spec)))
    made = build_problem(of, draws)
    states = []
    for count in (1, 2, 5):
        monkeypatch.setattr(kernels_cpu, "cores", lambda count=count: count)
        stepper = Stepper(made, build_algorithm(spec, made, draws), draws)
        states.append(stepper.advance(stepper.algorithm.init(made, made.start), Oracle(made), 0, 30).x)
    np.testing.assert_array_equal(states[0], states[1])
    np.testing.assert_array_equal(states[0], states[2])


def test_small_work_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels_cpu, "_compiled", lambda program: pytest.fail("compiled"))
    run_function(NOISY, algorithm("sgd", lr=0.1), 20, runs=4)


def test_all_coordinate_wise_methods_are_tried_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels_cpu, "_compiled", interpreted)
    tried = {spec.name for spec in METHODS} | {"gradient_descent", "faulty_adagrad"}
    of = problem("anisotropic_quadratic", dim=12, noise=0.1)
    found = set()
    for name in ALGORITHMS.names():
        try:
            draws = Draws(CPU, 0, np.arange(2))
            made = build_problem(of, draws)
            stepper = Stepper(made, build_algorithm(algorithm(name), made, draws), draws)
            state = stepper.algorithm.init(made, made.start)
        except TheorysimError:  # methods with required parameters, or for other problems
            continue
        stepper.advance(state, Oracle(made), 0, 3)
        found |= {name} if stepper.fused else set()
    assert found <= tried, "a new coordinate-wise method: add it to METHODS"


def test_processes_side_by_side_can_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    assert cores() == 1
    monkeypatch.setenv("NUMBA_NUM_THREADS", "100000")
    most = cores()
    monkeypatch.setenv("NUMBA_NUM_THREADS", "")
    assert cores() == most < 100000
