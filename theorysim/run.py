"""THE loop: a problem and an algorithm become a Trace.

Rows are (variant, run) pairs run as one array program; batches larger than memory are split over runs, which changes no
number because every random draw is a pure function of (seed, run, step, coordinate). Between two steps that are looked at,
fused/ takes as many steps at once as it can, which changes no number either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import Backend, namespace, one_blas_thread, select, to_host
from theorysim.build import build_algorithm, build_problem, variants
from theorysim.fused import Program, Stepper
from theorysim.measures import View, build_measure
from theorysim.model import Algorithm, Array, Cell, Problem, Spec, TheorysimError
from theorysim.noise import Draws
from theorysim.oracle import Oracle
from theorysim.trace import OK, Trace, varying
from theorysim.validation import non_negative, one_of, positive, positive_integer

_CPU_ELEMENTS = 2**17  # a megabyte an array: large enough to hide the call overhead, small enough for the cache
_FUSED_ELEMENTS = 2**20  # kernels keep to the cache by themselves; larger batches share the cost of tracing a step
_WORTH_A_KERNEL = 2**25  # coordinate updates of a cell, about half a second without a kernel: what it takes to compile one
_WORTH_A_TRACE = 2**19  # coordinate updates that pay for a kernel that is there already
_WORTH_A_LAUNCH = 2**17  # coordinate updates between two looks
_ARRAYS_AT_ONCE = 24  # arrays of the iterate's size that a step and its measures hold, generously
_STOP_LOOK = 16  # how often `until` is looked at: each look waits for the device


def run(
    problem: Spec,
    algorithm: Spec,
    steps: int,
    *,
    runs: int = 1,
    seed: int = 0,
    measure: Sequence[str] | str = ("gap",),
    record: str | Sequence[int] = "log",
    until: float | None = None,
    device: str | Backend = "auto",
) -> Trace:
    """Run one experiment: ``runs`` independent runs of every variant of ``algorithm`` for ``steps`` steps.

    ``measure``: names of measures/. ``record``: ``"log"`` (half octaves), ``"all"``, ``"last"`` or a list of steps.
    ``until``: stop once, for every run, one variant's gap is at most ``until`` times its initial gap.
    Raises TheorysimError for bad input; a diverging run is no error, see Trace.status.
    """
    names = (measure,) if isinstance(measure, str) else tuple(measure)
    recorded = record if isinstance(record, str) else tuple(int(step) for step in record)
    return run_cell(Cell(problem, algorithm, steps, runs, names, recorded, until, seed), select(device))


def run_cell(cell: Cell, backend: Backend, chunk: int | None = None) -> Trace:
    """Run a cell, ``chunk`` runs at a time (by default as many as fit); the chunking changes no number.

    Where the memory does not suffice after all, it goes on with smaller chunks; TheorysimError where one run is too large.
    """
    _check(cell)
    with one_blas_thread():
        pieces = _in_chunks(cell, backend, chunk)
    return _trace(cell, pieces, backend)


def _in_chunks(cell: Cell, backend: Backend, chunk: int | None) -> list[_Piece]:
    runs, pieces = cell.first_run + np.arange(cell.runs), []
    limit, start = chunk or cell.runs, 0
    trusted: dict[Program, bool] = {}
    try:
        limit = chunk or _runs_that_fit(cell, backend)
    except MemoryError:
        limit = 1
    while start < cell.runs:
        piece = _fitting(cell, backend, runs[start : start + limit], trusted)
        if piece is not None:
            pieces.append(piece)
            start += limit
        elif limit > 1:
            limit = -(-limit // 2)
            backend.release_memory()
        else:
            raise TheorysimError(
                f"one run of {cell.algorithm} on {cell.problem} does not fit into the memory of {backend.describe()}; "
                "take a smaller problem or fewer values of a hyper-parameter at once"
            )
    return pieces


def _fitting(cell: Cell, backend: Backend, runs: NDArray[np.int64], trusted: dict[Program, bool]) -> _Piece | None:
    """A chunk, or None where the memory does not suffice; by then nothing holds its arrays any more."""
    try:
        return _run_chunk(cell, backend, runs, trusted)
    except MemoryError:
        return None


class _Piece(NamedTuple):
    """The records of some runs, on the host: ``values`` is ``(records, measures, variants, runs)``."""

    runs: NDArray[np.int64]
    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    calls: list[dict[str, int]]
    constants: dict[str, Any]


def _run_chunk(cell: Cell, backend: Backend, runs: NDArray[np.int64], trusted: dict[Program, bool]) -> _Piece:
    rows = np.tile(runs, variants(cell.algorithm))
    draws = Draws(backend, cell.seed, rows)
    with np.errstate(all="ignore"):
        problem = build_problem(cell.problem, draws)
        algorithm = build_algorithm(cell.algorithm, problem, draws)
        try:
            columns, calls = _loop(cell, problem, algorithm, _stepper(cell, problem, algorithm, draws, trusted))
        except _Asked:
            stepper = _stepper(cell, problem, algorithm, draws, trusted)
            stepper.looked_at = True
            columns, calls = _loop(cell, problem, algorithm, stepper)
        values = to_host(backend.xp.stack(columns))
    shaped = values.reshape(len(columns), len(cell.measure), -1, len(runs))
    return _Piece(runs, record_steps(cell)[: len(columns)], shaped, calls, dict(problem.constants))


class _Asked(Exception):
    """A measure looks at where the oracle was asked: the kernels have to tell."""


class _Blind(View):
    """The view of a run whose kernels do not tell where the oracle was asked."""

    @property
    def point(self) -> Array:
        raise _Asked

    @property
    def answer(self) -> Array:
        raise _Asked


def _stepper(cell: Cell, problem: Problem, algorithm: Algorithm, draws: Draws, trusted: dict[Program, bool]) -> Stepper:
    """What takes the steps of a cell, with kernels where they pay."""
    updates = cell.steps * cell.runs * variants(cell.algorithm) * math.prod(problem.shape)
    looks = cell.steps if any(build_measure(name).start for name in cell.measure) else len(record_steps(cell))
    between_looks = cell.steps / looks * math.prod(problem.start.shape)
    fuse = updates >= _WORTH_A_TRACE and between_looks >= _WORTH_A_LAUNCH
    compile_new = updates >= _WORTH_A_KERNEL
    return Stepper(problem, algorithm, draws, looked_at=not fuse, fuse=fuse, compile_new=compile_new, trusted=trusted)


def _loop(cell: Cell, problem: Problem, algorithm: Algorithm, stepper: Stepper) -> tuple[list[Array], list[dict[str, int]]]:
    """All steps; a ``(measures, rows)`` array per recorded one, left on the device, with the oracle's counts so far."""
    xp, oracle, state = namespace(problem.start), Oracle(problem), algorithm.init(problem, problem.start)
    measures = {name: build_measure(name) for name in cell.measure}
    see = View if stepper.looked_at else _Blind
    view = see(problem, algorithm, state, 0, oracle.point, oracle.answer, dict(oracle.calls))
    memory = {name: m.start(view) for name, m in measures.items() if m.start}
    columns, calls, recorded = [], [], record_steps(cell).tolist()
    target = None if cell.until is None else _Target(cell.until, variants(cell.algorithm))
    gap = cell.measure.index("gap") if target is not None else 0
    wanted, before = set(recorded), 0
    for t in range(cell.steps + 1) if memory else recorded:
        if t > 0:
            state, before = stepper.advance(state, oracle, before, t), t
            view = see(problem, algorithm, state, t, oracle.point, oracle.answer, oracle.calls)
        for name in memory if t > 0 else ():
            memory[name] = measures[name].update(memory[name], view)  # type: ignore[misc]
        if t in wanted:
            columns.append(xp.stack([m.value(view, memory.get(name)) for name, m in measures.items()]))
            calls.append({kind: oracle.calls[kind] for kind in ("gradient", "sample", "communication")})
        if target is not None and target.reached_by_all(t, columns[-1][gap]):
            break
    return columns, calls


class _Target:
    """Has, for every run, one variant come down to ``until`` times its initial gap?"""

    def __init__(self, until: float, count: int) -> None:
        self.until, self.count = until, count
        self.level: Array = None
        self.reached: Array = None

    def reached_by_all(self, t: int, gap: Array) -> bool:
        """Hear the gap after step t, ``(rows,)``; the answer waits for the device, so it is given every few steps only."""
        if t == 0:
            self.level, self.reached = self.until * gap, gap < 0
        self.reached = self.reached | (gap <= self.level)
        return t % _STOP_LOOK == 0 and bool(to_host(self.reached).reshape(self.count, -1).any(axis=0).all())


def _trace(cell: Cell, pieces: list[_Piece], backend: Backend) -> Trace:
    longest = max(pieces, key=lambda piece: len(piece.steps))
    records, count = len(longest.steps), variants(cell.algorithm)
    values = np.full((records, len(cell.measure), count, cell.runs), np.nan)
    for piece in pieces:
        values[: len(piece.steps), :, :, piece.runs - cell.first_run] = piece.values
    if cell.until is not None:
        values, records = _cut_after_target(cell, values)
    by_measure = {name: np.ascontiguousarray(values[:records, i].reshape(records, -1).T) for i, name in enumerate(cell.measure)}
    calls = {kind: np.array([call[kind] for call in longest.calls[:records]]) for kind in longest.calls[0]}
    return Trace(
        cell=cell,
        steps=longest.steps[:records],
        values=by_measure,
        oracle_calls={kind: calls[kind] for kind in ("gradient", "sample")},
        communications=calls["communication"],
        status=_status(cell, by_measure, longest.steps[:records]),
        runs=np.tile(cell.first_run + np.arange(cell.runs), count),
        parameters={name: np.repeat(np.array(each), cell.runs) for name, each in varying(cell.algorithm).items()},
        constants={name: _joined(name, pieces, count) for name in longest.constants},
        environment=backend.describe(),
    )


def _joined(name: str, pieces: list[_Piece], count: int) -> Any:
    """A constant of all runs: per-row arrays are put side by side, everything else is the same in every piece."""
    if np.ndim(pieces[0].constants[name]) == 0:
        return pieces[0].constants[name]
    return np.concatenate([np.reshape(piece.constants[name], (count, -1)) for piece in pieces], axis=1).ravel()


def _cut_after_target(cell: Cell, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Forget what follows the moment a run's best variant reaches the target: how long the batch went on is chance."""
    gap = values[:, cell.measure.index("gap")]
    with np.errstate(invalid="ignore"):
        hit = (gap <= cell.until * gap[0]).any(axis=1)
    last = np.where(hit.any(axis=0), hit.argmax(axis=0), len(values) - 1)
    late = np.arange(len(values))[:, None] > last
    return np.where(late[:, None, None, :], np.nan, values), int(last.max()) + 1


def _status(cell: Cell, values: dict[str, NDArray[np.float64]], steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first recorded step with a non-finite value, or OK; with ``until`` a missing value is no divergence."""
    bad = np.zeros((len(next(iter(values.values()))), len(steps)), dtype=bool)
    for table in values.values():
        bad |= np.isinf(table) if cell.until is not None else ~np.isfinite(table)
    return np.where(bad.any(axis=1), steps[bad.argmax(axis=1)], OK)


def record_steps(cell: Cell) -> NDArray[np.int64]:
    """The recorded steps of a cell, ascending, from 0 to its horizon."""
    if cell.record == "all":
        return np.arange(cell.steps + 1)
    if cell.record == "last":
        return np.array([0, cell.steps])
    if cell.record == "log":
        octaves = np.arange(0, 2 * np.log2(cell.steps) + 1)
        return np.unique([0, *np.minimum(np.rint(2 ** (octaves / 2)), cell.steps).astype(int), cell.steps])
    return np.unique(np.array(cell.record, dtype=np.int64))


def _runs_that_fit(cell: Cell, backend: Backend) -> int:
    """How many runs, with all their variants, half of the free memory (on a CPU: the cache) holds; at least one."""
    if cell.runs == 1:
        return 1
    draws = Draws(backend, cell.seed, np.zeros(variants(cell.algorithm), dtype=np.int64))
    problem = build_problem(cell.problem, draws)
    state = build_algorithm(cell.algorithm, problem, draws).init(problem, problem.start)
    per_run = max([problem.row_elements * len(draws.runs), *_sizes(state)])
    fit = backend.free_memory() // (2 * 8 * _ARRAYS_AT_ONCE)
    best = _CPU_ELEMENTS if len(record_steps(cell)) > cell.steps // 2 else _FUSED_ELEMENTS
    elements = fit if backend.name == "gpu" else min(fit, best)
    return max(1, elements // per_run)


def _sizes(state: Any) -> list[int]:
    """The sizes of the arrays in a state, those of wrapped states included."""
    parts = [size for part in state if isinstance(part, tuple) for size in _sizes(part)]
    return parts + [int(np.prod(part.shape)) for part in state if hasattr(part, "shape")]


def _check(cell: Cell) -> None:
    require_steps(cell)
    for name in cell.measure:
        build_measure(name)
    if cell.until is not None:
        positive("until", cell.until)
        if cell.record != "all" or "gap" not in cell.measure:
            raise TheorysimError("until needs record='all' and the measure 'gap': the moment is read off the recorded gaps")


def require_steps(cell: Cell) -> None:
    """TheorysimError for a horizon, numbers of runs or records that are not allowed."""
    positive_integer("steps", cell.steps)
    positive_integer("runs", cell.runs)
    non_negative("seed", cell.seed)
    non_negative("first_run", cell.first_run)
    if isinstance(cell.record, str):
        one_of("record", cell.record, ("log", "all", "last"))
    elif not cell.record or min(cell.record) < 0 or max(cell.record) > cell.steps:
        raise TheorysimError(f"record={list(cell.record)} is not allowed; give steps between 0 and {cell.steps}")
