"""What a claim runs in: a backend, a level, a seed, a store. ``lab.run_all(cells)`` is the one door through which work goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from theorysim.backend import CPU, Backend, one_blas_thread
from theorysim.build import build_problem
from theorysim.executors import Executor, InProcess
from theorysim.model import MIN_SEEDS, Cell, Problem, Spec
from theorysim.moments import computable, run_exact
from theorysim.noise import Draws
from theorysim.run import run_cell
from theorysim.store import Store
from theorysim.trace import Trace

T = TypeVar("T")
U = TypeVar("U")

LEVELS = ("quick", "full")


@dataclass(frozen=True)
class Lab:
    """``seeds`` replaces the number of runs a claim asks for, where given; else ``look`` doublings multiply it, up to
    ``max_seeds``. ``progress(done, total)`` is told how many cells are done, ``told(cell)`` of every one that is asked for."""

    backend: Backend = CPU
    level: str = "quick"
    seed: int = 0
    seeds: int | None = None
    look: int = 0
    max_seeds: int = MIN_SEEDS
    store: Store | None = None
    executor: Executor = field(default_factory=InProcess)
    progress: Callable[[int, int], None] = lambda done, total: None
    told: Callable[[Cell], None] = lambda cell: None

    @property
    def device(self) -> str:
        """The name of the device that cells are computed on."""
        return self.executor.device or self.backend.name

    def __reduce__(self) -> tuple[Any, ...]:
        """A function that is mapped to workers may hold a lab; there it works in place, and keeps and tells nothing."""
        return Lab, (self.backend, self.level, self.seed, self.seeds, self.look, self.max_seeds)

    def pick(self, *, quick: T, full: T) -> T:
        """The setting for this lab's level."""
        return quick if self.level == "quick" else full

    def runs(self, count: int) -> int:
        """How many seeds to run where the claim says ``count``."""
        return max(count, min(count * 2**self.look, self.max_seeds)) if self.seeds is None else self.seeds

    def run_all(self, cells: Iterable[Cell]) -> list[Trace]:
        """The traces of the cells, in order: from the store where they are there, computed and kept where not."""
        wanted = [replace(cell, seed=self.seed) for cell in cells]
        for cell in wanted:
            self.told(cell)
        traces = {index: trace for index, cell in enumerate(wanted) if (trace := self._stored(cell)) is not None}
        missing = [index for index in range(len(wanted)) if index not in traces]
        halves = {index: half for index in missing if (half := self._first_half(wanted[index])) is not None}
        left = [_second_half(wanted[index]) if index in halves else wanted[index] for index in missing]
        self.progress(len(traces), len(wanted))
        for position, trace in self.executor.map(partial(compute, backend=self.backend), left):
            index = missing[position]
            traces[index] = halves.pop(index).appended(trace) if index in halves else trace
            if self.store is not None:
                self.store.save(traces[index], self.device)
            self.progress(len(traces), len(wanted))
        return [traces[index] for index in range(len(wanted))]

    def run(self, cell: Cell) -> Trace:
        """The trace of one cell."""
        return self.run_all([cell])[0]

    def expected(self, cells: Iterable[Cell]) -> list[Trace]:
        """The expectation over the gradient noise of each cell where it is computed (then ``trace.cell.exact``), else its runs.

        An exact trace has one row for each variant and no sampling error; the start is that of the cell's first run.
        """
        return self.run_all(self._preferred(cell) for cell in cells)

    def map(self, function: Callable[[T], U], points: Sequence[T]) -> list[U]:
        """``function`` at every point, in order: for work that is no cell (closed forms, audits)."""
        with one_blas_thread():
            results = dict(self.executor.map(function, points))
        return [results[index] for index in range(len(points))]

    def build(self, problem: Spec, runs: int = 1) -> Problem:
        """The built instance, for an audit of its constants."""
        return build_problem(problem, Draws(self.backend, self.seed, np.arange(runs)))

    def _preferred(self, cell: Cell) -> Cell:
        if cell.until is None and computable(cell.problem, cell.algorithm, self.backend, self.seed):
            return replace(cell, runs=1, exact=True)
        return cell

    def _first_half(self, cell: Cell) -> Trace | None:
        """After a doubling of the seeds: the trace of those that were run before."""
        doubled = self.look and not cell.exact and cell.runs % 2 == 0
        return self._stored(replace(cell, runs=cell.runs // 2)) if doubled else None

    def _stored(self, cell: Cell) -> Trace | None:
        return None if self.store is None else self.store.load(cell, self.device)


def compute(cell: Cell, backend: Backend) -> Trace:
    """The trace of a cell, on one backend; what an executor maps."""
    return run_exact(cell, backend) if cell.exact else run_cell(cell, backend)


def _second_half(cell: Cell) -> Cell:
    return replace(cell, runs=cell.runs // 2, first_run=cell.runs // 2)
