"""Many steps at once: of methods that treat each coordinate alone, with the same numbers as one step after the other."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from theorysim.fused.program import Form, Program, Step, steps
from theorysim.model import Algorithm, Array, Problem
from theorysim.noise import Draws
from theorysim.oracle import Oracle

_SEGMENT = 256  # steps in one go of a kernel
_ATTEMPTS = 2  # a step that is no program twice will not become one; the first step may differ from all others


class Stepper:
    """Takes a state some steps on. ``looked_at``: whether the oracle's first point and answer of the last step are wanted;
    ``fuse``: whether kernels may be used.

    A kernel is used where a step can be traced, and only after its first step gave what ``algorithm.step`` gives, to the last
    bit; else ``algorithm.step`` itself is used. ``fused``: how many steps kernels did.
    """

    def __init__(
        self, problem: Problem, algorithm: Algorithm, draws: Draws, looked_at: bool = False, fuse: bool = True
    ) -> None:
        self.problem, self.algorithm, self.draws, self.looked_at = problem, algorithm, draws, looked_at
        self.fused = 0
        self._shape = tuple(problem.start.shape)
        self._trusted: dict[Program, bool] = {}
        self._refused = 0 if fuse else _ATTEMPTS

    def advance(self, state: Any, oracle: Oracle, begin: int, end: int) -> Any:
        """The state after step ``end``, from the one after step ``begin``."""
        t = begin
        while t < end:
            coming: list[Step] = []
            if self._refused < _ATTEMPTS:
                form = Form.of(state, self._shape, self.draws.backend)
                coming = self._coming(form, state, end - t)
            if coming and self._trusted.get(coming[0].program, False):
                state = self._together(form, state, oracle, t, coming)
                t += len(coming)
            else:
                before, t = state, t + 1
                oracle.begin(t)
                state = self.algorithm.step(before, oracle)
                if coming:
                    self._trusted[coming[0].program] = self._agrees(form, before, t, coming[0], state, oracle)
        return state

    def _coming(self, form: Form, state: Any, most: int) -> list[Step]:
        """The next steps with one program, at most a segment, or the next one alone where its program has not been tried; none
        where it is no program."""
        most, found = min(most, _SEGMENT), []
        for step in steps(self.problem, self.algorithm, form, form.parts(state)[1], self.draws.backend, self.looked_at):
            if found and not step.follows(found[0]):
                break
            found.append(step)
            if step.steady:
                found += [step] * (most - len(found))
            if len(found) == most or not self._trusted.get(step.program, False):
                break
        self._refused = 0 if found and self._trusted.get(found[0].program, True) else self._refused + 1
        return found if self._refused == 0 else []

    def _together(self, form: Form, state: Any, oracle: Oracle, done: int, coming: Sequence[Step]) -> Any:
        arrays = self._launched(form.parts(state)[0], done, coming)
        for kind, count in coming[0].calls.items():
            oracle.calls[kind] = oracle.calls[kind] + count * len(coming)
        oracle.point, oracle.answer = arrays[-2:] if self.looked_at else (None, None)
        self.fused += len(coming)
        return form.state(arrays, coming[-1].rest)

    def _launched(self, state: Sequence[Array], done: int, coming: Sequence[Step]) -> list[Array]:
        """The results after the steps: the arrays of the state, and of the oracle's point and answer where they are wanted."""
        from theorysim.fused import kernels_cpu

        program, tape, xp = coming[0].program, coming[0].tape, self.draws.backend.xp
        results = [xp.empty(self._shape, dtype=xp.float64) for _ in program.results]
        size = math.prod(self._shape[1:])
        arrays = [xp.reshape(each, (-1, size)) for each in (*state, *results)]
        arrays += [xp.reshape(each, (size,)) for each in tape.coordinates]
        arrays += [xp.reshape(each, (-1, size)) for each in tape.entries]
        scalars = np.array([step.tape.scalars for step in coming]).reshape(len(coming), -1)
        rows = np.array([step.tape.rows for step in coming]).reshape(len(coming), -1, self._shape[0])
        kernels_cpu.launch(program, (done + 1, len(coming), scalars, rows), self._where, arrays)
        return results

    @functools.cached_property
    def _where(self) -> tuple[Any, int]:
        return np.unique(self.draws.runs), self.draws.seed

    def _agrees(self, form: Form, before: Any, t: int, step: Step, after: Any, oracle: Oracle) -> bool:
        """Does the kernel make of ``before`` what the algorithm made of it in step t?"""
        arrays, wanted = self._launched(form.parts(before)[0], t - 1, [step]), form.parts(after)[0]
        if self.looked_at:
            wanted += [oracle.point, oracle.answer]
        return all(_same(self.draws.backend.xp, mine, theirs) for mine, theirs in zip(arrays, wanted, strict=True))


def _same(xp: Any, a: Array, b: Array) -> bool:
    return bool(xp.all((a == b) | ((a != a) & (b != b))))
