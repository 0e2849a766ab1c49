"""Stochastic gradient descent."""

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
def sgd(lr: PerRow, schedule: str = "constant") -> Algorithm:
    """Stochastic gradient descent.

    w_{t+1} = w_t - lr s(t) g_t, with g_t a stochastic gradient at w_t.

    ``lr``: eta, in units of w over gradient; no default, because the step of the theory,
    min(1/(2 lambda_max), D_2_0 sqrt(M) / (sigma_2norm sqrt(T))), needs the horizon T: write it with T as a number,
    ``lr="Min(1/(2*lambda_max), D_2_0*sqrt(M/400)/sigma_2norm)"``. ``schedule``: the factor s(t) of step t = 1, 2, ..., by
    name (schedules.py). Raises TheorysimError for an unknown schedule. [Robbins, Monro 1951]
    """
    factor = step_schedule(schedule)

    def init(problem: Problem, x0: Array) -> State:
        return State(x0, 0)

    def step(state: State, oracle: Any) -> State:
        t = state.t + 1
        return State(state.x - lr * factor(t) * oracle.sample(state.x), t)

    return Algorithm(init, step, linear=LinearMethod(lr, stages=partial(stages, schedule)))
