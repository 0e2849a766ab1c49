"""The average iterate of another algorithm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, Problem
from theorysim.registry import register_algorithm


class State(NamedTuple):
    """``total``: the sum of the t iterates that steps 1..t started from, ``(rows, *shape)``."""

    inner: Any
    total: Array
    t: int

    @property
    def x(self) -> Array:
        return self.inner.x


@register_algorithm
def average(of: Algorithm) -> Algorithm:
    """The average iterate of another algorithm.

    Runs ``of`` unchanged and puts out wbar_t = (1/t) sum_{s<=t} w_s: w_1 included, w_{t+1} not; w_1 at t = 0.

    Averaged are the iterates (``state.x`` before each step), whatever ``of`` itself puts out.
    ``algorithm("average", of=algorithm("adagrad", lr=[0.1, 0.2]))`` keeps the variants of the inner algorithm.
    """

    def init(problem: Problem, x0: Array) -> State:
        return State(of.init(problem, x0), namespace(x0).zeros_like(x0), 0)

    def step(state: State, oracle: Any) -> State:
        return State(of.step(state.inner, oracle), state.total + state.x, state.t + 1)

    def output(state: State) -> Array:
        return state.total / state.t if state.t > 0 else state.x

    linear = None if of.linear is None else replace(of.linear, averaged=True, output=0.0)
    return Algorithm(init, step, output, of.requires, linear)
