"""Gradient descent with the exact gradient."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from theorysim.model import Algorithm, Array, LinearMethod, PerRow, Problem
from theorysim.registry import register_algorithm
from theorysim.schedules import schedule as step_schedule
from theorysim.schedules import stages


class State(NamedTuple):
    x: Array
    t: int


@register_algorithm
def gradient_descent(lr: PerRow = "1/lambda_max", schedule: str = "constant") -> Algorithm:
    """Gradient descent, with the exact gradient even where the problem is noisy.

    w_{t+1} = w_t - lr s(t) grad f(w_t).

    ``lr``: eta, in units of w over gradient. ``schedule``: the factor s(t) of step t = 1, 2, ..., by name (schedules.py).
    Raises TheorysimError for an unknown schedule. [Cauchy 1847]
    """
    factor = step_schedule(schedule)

    def init(problem: Problem, x0: Array) -> State:
        return State(x0, 0)

    def step(state: State, oracle: Any) -> State:
        t = state.t + 1
        return State(state.x - lr * factor(t) * oracle.gradient(state.x), t)

    return Algorithm(init, step, linear=LinearMethod(lr, stages=partial(stages, schedule), stochastic=False))
