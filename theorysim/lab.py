"""What a claim runs in: a backend, a level, a seed, a store. ``lab.run_all(cells)`` is the one door through which work goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from theorysim.backend import CPU, Backend, one_blas_thread
from theorysim.build import build_problem
from theorysim.executors import Executor, InProcess
from theorysim.model import Cell, Problem, Spec
from theorysim.noise import Draws
from theorysim.run import run_cell
from theorysim.store import Store
from theorysim.trace import Trace

T = TypeVar("T")
U = TypeVar("U")

LEVELS = ("quick", "full")


@dataclass(frozen=True)
class Lab:
    """``seeds`` replaces the number of runs a claim asks for, where given. ``progress(done, total)`` is told of every cell."""

    backend: Backend = CPU
    level: str = "quick"
    seed: int = 0
    seeds: int | None = None
    store: Store | None = None
    executor: Executor = field(default_factory=InProcess)
    progress: Callable[[int, int], None] = lambda done, total: None

    def pick(self, *, quick: T, full: T) -> T:
        """The setting for this lab's level."""
        return quick if self.level == "quick" else full

    def runs(self, count: int) -> int:
        """How many seeds to run where the claim says ``count``."""
        return count if self.seeds is None else self.seeds

    def run_all(self, cells: Iterable[Cell]) -> list[Trace]:
        """The traces of the cells, in order: from the store where they are there, computed and kept where not."""
        wanted = [replace(cell, seed=self.seed) for cell in cells]
        traces = {index: trace for index, cell in enumerate(wanted) if (trace := self._stored(cell)) is not None}
        missing = [index for index in range(len(wanted)) if index not in traces]
        self.progress(len(traces), len(wanted))
        for position, trace in self.executor.map(lambda index: run_cell(wanted[index], self.backend), missing):
            if self.store is not None:
                self.store.save(trace, self.backend.name)
            traces[missing[position]] = trace
            self.progress(len(traces), len(wanted))
        return [traces[index] for index in range(len(wanted))]

    def run(self, cell: Cell) -> Trace:
        """The trace of one cell."""
        return self.run_all([cell])[0]

    def map(self, function: Callable[[T], U], points: Sequence[T]) -> list[U]:
        """``function`` at every point, in order: for work that is no cell (closed forms, audits)."""
        results = dict(self.executor.map(function, points))
        return [results[index] for index in range(len(points))]

    def build(self, problem: Spec, runs: int = 1) -> Problem:
        """The built instance, for an audit of its constants."""
        with one_blas_thread():
            return build_problem(problem, Draws(self.backend, self.seed, np.arange(runs)))

    def _stored(self, cell: Cell) -> Trace | None:
        return None if self.store is None else self.store.load(cell, self.backend.name)
