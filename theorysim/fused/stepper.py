"""Many steps at once: of methods that treat each coordinate alone, with the same numbers as one step after the other."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from theorysim.backend import DEVICES
from theorysim.fused.program import Form, Program, Step, steps
from theorysim.model import Algorithm, Array, Problem
from theorysim.noise import Draws
from theorysim.oracle import Oracle

_SEGMENT = 256  # steps in one go of a kernel
_ATTEMPTS = 2  # a step that is no program twice will not become one; the first step may differ from all others


class _Steady(NamedTuple):
    """A step that changes nothing of the state but its arrays: as long as nobody else does, all steps are this one."""

    form: Form
    step: Step

    def continues(self, state: Any) -> bool:
        rest = self.form.parts(state)[1]
        return all(a is b for a, b in zip(rest, self.step.rest, strict=True))


class Stepper:
    """Takes a state some steps on. ``looked_at``: whether the oracle's first point and answer of the last step are wanted;
    ``fuse``: whether kernels may be used; ``compile_new``: also those that are not there yet;
    ``trusted``: what is known of kernels of the same problem and algorithm, for other runs, and is noted there.

    A kernel is used where a step can be traced, and only after its first step gave what ``algorithm.step`` gives, to the last
    bit; else ``algorithm.step`` itself is used. ``fused``: how many steps kernels did.
    """

    def __init__(
        self,
        problem: Problem,
        algorithm: Algorithm,
        draws: Draws,
        *,
        looked_at: bool = False,
        fuse: bool = True,
        compile_new: bool = True,
        trusted: dict[Program, bool] | None = None,
    ) -> None:
        self.problem, self.algorithm, self.draws = problem, algorithm, draws
        self.looked_at, self.compile_new = looked_at, compile_new
        self.fused = 0
        self._shape = tuple(problem.start.shape)
        self._trusted: dict[Program, bool] = {} if trusted is None else trusted
        self._steady: _Steady | None = None
        self._refused = 0 if fuse and draws.backend.name in DEVICES else _ATTEMPTS

    def advance(self, state: Any, oracle: Oracle, begin: int, end: int) -> Any:
        """The state after step ``end``, from the one after step ``begin``."""
        t = begin
        while t < end:
            coming: list[Step] = []
            if self._refused < _ATTEMPTS:
                form, coming = self._coming(state, end - t)
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

    def _coming(self, state: Any, most: int) -> tuple[Form, list[Step]]:
        """The form of the state, and the next steps with one program: at most a segment, or the next one alone where its program
        has not been tried; none where it is no program."""
        most = min(most, _SEGMENT)
        if self._steady is not None and self._steady.continues(state):
            return self._steady.form, [self._steady.step] * most
        form = Form.of(state, self._shape, self.draws.backend)
        found: list[Step] = []
        for step in steps(self.problem, self.algorithm, form, form.parts(state)[1], self.draws.backend, self.looked_at):
            if found and not step.follows(found[0]):
                break
            found.append(step)
            if step.steady:
                found += [step] * (most - len(found))
            if len(found) == most or not self._trusted.get(step.program, False):
                break
        usable = found and self._trusted.get(found[0].program, True) and self._affordable(found[0].program)
        self._refused = 0 if usable else self._refused + 1
        steady = usable and found[0].steady and self._trusted.get(found[0].program, False)
        self._steady = _Steady(form, found[0]) if steady else None
        return form, found if self._refused == 0 else []

    def _affordable(self, program: Program) -> bool:
        return self.compile_new or program in self._trusted or self._kernels.is_ready(program)

    def _together(self, form: Form, state: Any, oracle: Oracle, done: int, coming: Sequence[Step]) -> Any:
        arrays = self._launched(form.parts(state)[0], done, coming)
        for kind, count in coming[0].calls.items():
            oracle.calls[kind] = oracle.calls[kind] + count * len(coming)
        oracle.point, oracle.answer = arrays[-2:] if self.looked_at else (None, None)
        self.fused += len(coming)
        return form.state(arrays, coming[-1].rest)

    def _launched(self, state: Sequence[Array], done: int, coming: Sequence[Step]) -> list[Array]:
        """The results after the steps: the arrays of the state, and of the oracle's point and answer where they are wanted."""
        program, tape, backend = coming[0].program, coming[0].tape, self.draws.backend
        xp, size = backend.xp, math.prod(self._shape[1:])
        results = [xp.empty(self._shape, dtype=xp.float64) for _ in program.results]
        arrays = [xp.reshape(each, (-1, size)) for each in (*state, *results)]
        arrays += [xp.reshape(xp.broadcast_to(each, (1, *self._shape[1:])), (size,)) for each in tape.coordinates]
        arrays += [xp.reshape(each, (-1, size)) for each in tape.entries]
        scalars = backend.asarray(np.array([step.tape.scalars for step in coming], dtype=np.float64).reshape(len(coming), -1))
        self._kernels.launch(backend, program, (done + 1, len(coming), scalars, self._of_rows(coming)), self._where, arrays)
        return results

    def _of_rows(self, coming: Sequence[Step]) -> Array:
        """The numbers of rows in each step, (steps, k, rows); most are the same array in all steps, which is copied there."""
        backend, rows = self.draws.backend, self._shape[0]
        held = [array for step in coming for array in step.tape.rows]
        if not held:
            return backend.asarray(np.empty((len(coming), 0, rows)))
        distinct = {id(array): array for array in held}
        number = {key: index for index, key in enumerate(distinct)}
        stacked = backend.xp.stack([backend.xp.reshape(array, (rows,)) for array in distinct.values()])
        taken = backend.xp.take(stacked, backend.asarray([number[id(array)] for array in held]), axis=0)
        return backend.xp.reshape(taken, (len(coming), -1, rows))

    @functools.cached_property
    def _where(self) -> tuple[Any, int]:
        return self.draws.backend.asarray(np.unique(self.draws.runs)), self.draws.seed

    @functools.cached_property
    def _kernels(self) -> Any:
        """What compiles and runs kernels on this device."""
        if self.draws.backend.name == "gpu":
            from theorysim.fused import kernels_gpu

            return kernels_gpu
        from theorysim.fused import kernels_cpu

        return kernels_cpu

    def _agrees(self, form: Form, before: Any, t: int, step: Step, after: Any, oracle: Oracle) -> bool:
        """Does the kernel make of ``before`` what the algorithm made of it in step t?"""
        arrays, wanted = self._launched(form.parts(before)[0], t - 1, [step]), form.parts(after)[0]
        if self.looked_at:
            wanted += [oracle.point, oracle.answer]
        return all(_same(self.draws.backend.xp, mine, theirs) for mine, theirs in zip(arrays, wanted, strict=True))


def _same(xp: Any, a: Array, b: Array) -> bool:
    return bool(xp.all(a == b)) or bool(xp.all((a == b) | ((a != a) & (b != b))))
