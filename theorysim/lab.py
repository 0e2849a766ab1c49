"""What a claim runs in: a backend, a level, a seed, a store. ``lab.run_all(cells)`` is the one door through which work goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

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
        self.progress(len(traces), len(wanted))
        for position, trace in self.executor.map(lambda index: self._computed(wanted[index]), missing):
            if self.store is not None:
                self.store.save(trace, self.backend.name)
            traces[missing[position]] = trace
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

    def _computed(self, cell: Cell) -> Trace:
        """The trace of a cell that is not there; after a doubling its first half is, and only new seeds are run."""
        if cell.exact:
            return run_exact(cell, self.backend)
        first = self._stored(replace(cell, runs=cell.runs // 2)) if self.look and cell.runs % 2 == 0 else None
        if first is None:
            return run_cell(cell, self.backend)
        return first.appended(run_cell(replace(cell, runs=cell.runs // 2, first_run=cell.runs // 2), self.backend))

    def _stored(self, cell: Cell) -> Trace | None:
        return None if self.store is None else self.store.load(cell, self.backend.name)
