"""The CUDA kernels of fused steps: the very source compiled for the host against the plain path, and by NVRTC for GPUs."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from host_gpu import HostGpu
from nvrtc import library, ptx
from test_fused import GRID, METHODS, Pair, method, rows_of
from test_run import same

from theorysim import noise_gpu
from theorysim.backend import CPU, Backend, namespace
from theorysim.build import build_algorithm, build_problem, variants
from theorysim.fused import Stepper, kernels_gpu, stepper
from theorysim.fused.cuda_source import NAME, source
from theorysim.fused.program import Form, Program, steps
from theorysim.fused.source import C
from theorysim.model import Algorithm, Array, Cell, Draw, Problem, Spec
from theorysim.noise import Draws, Stream
from theorysim.oracle import Oracle
from theorysim.registry import algorithm, problem
from theorysim.run import run_cell

loop = sys.modules["theorysim.run"]

SEED, RUNS = 2**63 + 2**33 + 5, 3
NOISY = problem("anisotropic_quadratic", dim=150, start="uniform", noise=0.3, origin="start")
QUIET = problem("anisotropic_quadratic", dim=67, start="uniform")
MATRIX = problem("matrix_quadratic", m=3, n=25, noise=0.3)
ROUGH = problem("separable_nonconvex", dim=64, noise=0.2)


FAULTS = ("no_root", "lagged", "eps_inside", "moving_average", "moving_average_corrected")


class Case(NamedTuple):
    problem: Spec
    method: Spec
    looked_at: bool = False

    def __str__(self) -> str:
        fault = dict(self.method.params).get("fault", "")
        return f"{self.method.name}-{fault}{'-' * bool(fault)}{self.problem.name}{'-looked_at' * self.looked_at}"

    def built(self, backend: Backend) -> tuple[Problem, Algorithm, Draws]:
        draws = Draws(backend, SEED, np.tile(np.arange(2, 2 + RUNS), variants(self.method)))
        made = build_problem(self.problem, draws)
        return made, build_algorithm(self.method, made, draws), draws

    def programs(self) -> set[Program]:
        """Those of the first steps: the first one may be special."""
        made, algorithm_, _ = self.built(CPU)
        state = algorithm_.init(made, made.start)
        form = Form.of(state, made.start.shape, CPU)
        found = zip(range(3), steps(made, algorithm_, form, form.parts(state)[1], CPU, self.looked_at), strict=False)
        return {step.program for _, step in found}

    def walked(self, backend: Backend, fuse: bool, ends: tuple[int, ...]) -> tuple[list[Any], Stepper]:
        """After each of ``ends`` the arrays of the state and what the oracle tells, and how often it was asked."""
        made, algorithm_, draws = self.built(backend)
        taker, oracle, state = (
            Stepper(made, algorithm_, draws, looked_at=self.looked_at, fuse=fuse),
            Oracle(made),
            algorithm_.init(made, made.start),
        )
        form, seen = Form.of(state, made.start.shape, backend), []
        with np.errstate(all="ignore"):
            for begin, end in zip((0, *ends), ends, strict=False):
                state = taker.advance(state, oracle, begin, end)
                seen += form.parts(state)[0] + ([oracle.point, oracle.answer] if self.looked_at else [])
        return [*seen, np.array(list(oracle.calls.values()))], taker


CASES = [
    *(Case(NOISY, each) for each in METHODS),
    Case(QUIET, algorithm("heavy_ball", lr=[0.1, 0.2], schedule="inverse")),
    Case(QUIET, algorithm("adagrad", lr=0.5)),
    Case(NOISY, algorithm("adam", lr=[0.1, 0.01], eps=[1e-8, 0.1]), looked_at=True),
    Case(MATRIX, algorithm("rmsprop", lr=[0.1, 0.01, 0.3], momentum=0.5)),
    Case(MATRIX, algorithm("average", of=algorithm("adagrad", lr=[0.5, 0.1], box=0.7)), looked_at=True),
    Case(ROUGH, algorithm("heavy_ball", lr=1e6, momentum=[0.5, 2.0])),  # until it is infinite, and NaN
    Case(ROUGH, algorithm("gradient_descent", lr=[0.1, 0.2, 0.3, 0.4])),
    Case(problem("huber", dim=70, start="uniform"), algorithm("nesterov", lr=[0.1, 0.4])),
    *(Case(NOISY, algorithm("faulty_adagrad", lr=[0.1, 0.2], eps=0.1, fault=fault)) for fault in FAULTS),
]
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> HostGpu:
    """All kernels of this file are compiled at once."""
    made = HostGpu(folder=tmp_path_factory.mktemp("kernels"))
    every = {program for case in CASES for program in case.programs()} | {OPERATIONS[0]}
    made.prepare([(source(program), NAME) for program in every] + [(noise_gpu.SOURCE, "fill")])
    return made


def assert_same(mine: list[Any], theirs: list[Any]) -> None:
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@needs_compiler
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_kernels_of_a_gpu_take_the_steps_of_the_plain_path(case: Case, device: HostGpu, monkeypatch: Any) -> None:
    monkeypatch.setattr(stepper, "_SEGMENT", 8)
    compiled, ends = len(device.entries), (1, 4, 30)
    mine, taker = case.walked(device, True, ends)
    assert taker.fused >= 28 and len(device.entries) == compiled
    assert not np.array_equal(mine[0], mine[-2]), "nothing moved"
    assert_same(mine, case.walked(CPU, False, ends)[0])


@needs_compiler
def test_a_cell_on_a_gpu_is_that_on_a_cpu(device: HostGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("_WORTH_A_KERNEL", "_WORTH_A_TRACE", "_WORTH_A_LAUNCH"):
        monkeypatch.setattr(loop, limit, 0)
    launched: list[int] = []
    original = kernels_gpu.launch
    monkeypatch.setattr(kernels_gpu, "launch", lambda *given: launched.append(given[2][1]) or original(*given))
    cell = Cell(NOISY, METHODS[0], 40, 7, ("gap", "distance:inf", "coordinate:149"), "log", seed=3)
    mine = run_cell(cell, device, chunk=4)
    assert sum(launched) == 2 * 40, "each chunk takes one step both ways"
    monkeypatch.undo()
    same(mine, run_cell(cell, CPU))


# ------------------------------------------------------------------------------------------------ operations
BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "maximum": np.maximum,
    "minimum": np.minimum, "less": np.less, "less_equal": np.less_equal, "equal": np.equal, "not_equal": np.not_equal,
    "raise_to": lambda x, y: CPU.xp.clip(x, y, None), "cut_to": lambda x, y: CPU.xp.clip(x, None, y),
    "and": lambda x, y: (x < y) & (x != y), "or": lambda x, y: (x < y) | (x == y),
}  # fmt: skip
UNARY: dict[str, Callable[[Array], Array]] = {
    "negative": np.negative, "sqrt": np.sqrt, "abs": np.abs, "sign": np.sign, "not": lambda x: ~(x == x),
    "number": lambda x: np.full_like(x, 7.0)
}  # fmt: skip
TERNARY = {"where": lambda x, y: np.where(x < y, x, y)}


# Of 0 and -0 NumPy and CuPy take one or the other, depending on the processor.
EITHER_ZERO = ("maximum", "minimum", "raise_to", "cut_to")


def _operations() -> tuple[Program, list[str]]:
    """Every operation there is, of two states; truth values go out as 1 and 2."""
    tape: list[tuple[Any, ...]] = [
        ("state", 0),
        ("state", 1),
        ("less", 0, 1),
        ("equal", 0, 1),
        ("not_equal", 0, 1),
        ("equal", 0, 0),
    ]
    operands = {"and": (2, 4), "or": (2, 3), "where": (2, 0, 1), "not": (5,), "number": (-3,)}
    results, kinds = [0, 1], [*BINARY, *UNARY, *TERNARY]
    for kind in kinds:
        tape.append((kind, *operands.get(kind, (0, 1) if kind in BINARY else (0,))))
        if kind in ("less", "less_equal", "equal", "not_equal", "and", "or", "not"):
            tape.append(("where", len(tape) - 1, -1, -2))
        results.append(len(tape) - 1)
    return Program(tuple(tape), tuple(results), 3), kinds


OPERATIONS = _operations()


@needs_compiler
def test_every_operation_in_c_is_that_of_numpy(device: HostGpu) -> None:
    program, kinds = OPERATIONS
    assert set(kinds) == set(C.kinds), "an operation is missing here"
    x, y = (np.ascontiguousarray(side[None, :]) for side in GRID)
    results = [np.full_like(x, 99.0) for _ in program.results]
    table, rows = np.array([[1.0, 2.0, 7.0]]), np.empty((1, 0, 1))
    kernels_gpu.launch(device, program, (1, 1, table, rows), (np.zeros(1, np.uint32), 0), [x, y, *results])
    with np.errstate(all="ignore"):
        for kind, found in zip(kinds, results[2:], strict=True):
            wanted = (BINARY | TERNARY)[kind](x, y) if kind not in UNARY else UNARY[kind](x)
            wanted = np.where(wanted, 1.0, 2.0) if wanted.dtype == bool else wanted
            np.testing.assert_array_equal(found, wanted, err_msg=kind)
            if kind not in EITHER_ZERO:
                kept = ~np.isnan(wanted)
                np.testing.assert_array_equal(np.signbit(found)[kept], np.signbit(wanted)[kept], err_msg=kind)


# ------------------------------------------------------------------------------------------------ shapes, noise, memory
class Played(NamedTuple):
    """The same steps, fused on the host's GPU and plain on the CPU."""

    fused: Any
    plain: Any
    count: int


def played(of: Callable[[Draws], Problem], made: Algorithm, backend: HostGpu, steps_: int = 12) -> Played:
    found, count = [], 0
    for where, fuse in ((backend, True), (CPU, False)):
        draws = Draws(where, 5, np.arange(4))
        instance = of(draws)
        taker = Stepper(instance, made, draws, fuse=fuse)
        found.append(taker.advance(made.init(instance, instance.start), Oracle(instance), 0, steps_))
        count += taker.fused
    return Played(*found, count)


@needs_compiler
@pytest.mark.parametrize("shape", [(2,), (63,), (5, 13), (2, 3, 11)], ids=str)
def test_operands_of_every_shape_and_two_kinds_of_noise(shape: tuple[int, ...], device: HostGpu) -> None:
    rng = np.random.default_rng(3)
    by_row, by_entry = rng.normal(size=(4, *[1] * len(shape))), rng.normal(size=(4, *shape))
    weights = rng.normal(size=(*shape, 2))[..., 0]  # with gaps between its numbers: a kernel sees the memory alone

    def of(draws: Draws) -> Problem:
        def sample(x: Array, draw: Draw) -> Array:
            return weights * x + draws.uniform(Stream.BATCH, draw, shape) * draws.normal(Stream.GRADIENT, draw, shape)

        return Problem(shape, by_entry * 2.0, None, {}, lambda x: x[:, 0], lambda x: weights * x, sample)

    def step(state: Pair, oracle: Any) -> Pair:
        g = oracle.sample(state.x) + weights[None] * oracle.sample(0.5 * state.y) - 0.1 * oracle.gradient(state.x)
        return Pair(by_row * state.t * g + by_entry, state.x, state.t + 1)

    found = played(of, method(step), device)
    assert found.count == 11
    assert_same(list(found.fused), list(found.plain))


@needs_compiler
def test_a_step_that_is_not_what_its_trace_says_is_not_trusted_on_a_gpu_either(device: HostGpu) -> None:
    def step(state: Pair, oracle: Any) -> Pair:
        seen = 1.0 if isinstance(state.x, np.ndarray) else 2.0
        return Pair(state.x - seen * oracle.gradient(state.x), state.y, state.t + 1)

    found = played(lambda draws: rows_of(4, 10, np.full(10, 0.1)), method(step), device)
    assert found.count == 0
    assert_same(list(found.fused), list(found.plain))


def test_a_backend_without_kernels_takes_the_plain_path(strict: Backend) -> None:
    case = Case(QUIET, algorithm("sgd", lr=0.1))
    made, chosen, draws = case.built(strict)
    taker = Stepper(made, chosen, draws)
    taker.advance(chosen.init(made, made.start), Oracle(made), 0, 5)
    assert taker.fused == 0


def test_a_namespace_is_that_of_the_types_of_all_arrays(strict: Backend) -> None:
    here, there = np.ones(2), strict.asarray(np.ones(2))
    for _ in range(2):  # the second answer is remembered
        assert namespace(here) is CPU.xp and namespace(there) is namespace(there, there) is not CPU.xp
        with pytest.raises(TypeError, match="namespace"):
            namespace(here, there)


# ------------------------------------------------------------------------------------------------ compiled for GPUs
KERNELS = {f"{case}-{i}": (source(program), NAME) for i, case in enumerate(CASES) for program in case.programs()}
KERNELS |= {"every operation": (source(OPERATIONS[0]), NAME), "fill": (noise_gpu.SOURCE, "fill")}


def multiply_adds(text: str) -> int:
    return len(re.findall(r"\bfma\.rn\.f64\b", text))


def written(text: str) -> int:
    """How many of them the source asks for: each block that is drawn has two radii and two directions, with 1 + 3 polynomials."""
    polynomial = noise_gpu.DEVICE.count("fma(") - 1
    radius, direction = polynomial + 1, 2 * polynomial
    normal = len(re.findall(r"\bdraw\(v.*true\);", text)) + ("void fill(" in text)
    return 2 * (radius + direction) * normal


@pytest.mark.skipif(library() is None, reason="NVRTC is not installed")
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_compile_for_gpus_and_contract_nothing(name: str) -> None:
    text, entry = KERNELS[name]
    for architecture in ("compute_80", "compute_90"):
        compiled = ptx(text, architecture)
        assert f".entry {entry}(" in compiled
        assert multiply_adds(compiled) == written(text)
        assert not re.search(r"\.ftz|\.approx", compiled)


@pytest.mark.skipif(library() is None, reason="NVRTC is not installed")
def test_a_contraction_would_be_seen() -> None:
    text = 'extern "C" __global__ void f(double* x, double y) { x[0] = x[0] * y + x[1]; x[2] = fma(x[2], y, x[3]); }'
    assert multiply_adds(ptx(text, "compute_90")) == 1
    assert multiply_adds(ptx(text, "compute_90", "--fmad=true")) == 2
    with pytest.raises(RuntimeError, match="unknown_name"):
        ptx(text.replace("y;", "unknown_name;").replace("* y", "* unknown_name"), "compute_90")
