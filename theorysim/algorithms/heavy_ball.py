"""Polyak's heavy-ball method."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from theorysim.model import Algorithm, Array, LinearMethod, PerRow, Problem
from theorysim.registry import register_algorithm
from theorysim.schedules import schedule as step_schedule
from theorysim.schedules import stages


class State(NamedTuple):
    x: Array
    previous: Array
    t: int


@register_algorithm
def heavy_ball(
    lr: PerRow = "4/(sqrt(lambda_max) + sqrt(lambda_min))**2",
    momentum: PerRow = "((sqrt(lambda_max) - sqrt(lambda_min))/(sqrt(lambda_max) + sqrt(lambda_min)))**2",
    schedule: str = "constant",
) -> Algorithm:
    """Polyak's heavy ball on stochastic gradients.

    w_{t+1} = w_t - lr s(t) g_t + momentum (w_t - w_{t-1}), with w_0 = w_1.

    ``lr``: eta, in units of w over gradient. ``momentum``: without unit. The defaults are the optimal pair for a quadratic with
    spectrum in [lambda_min, lambda_max]. ``schedule``: the factor s(t) of step t = 1, 2, ..., by name (schedules.py); it
    multiplies the fresh gradient and not the momentum. Raises TheorysimError for an unknown schedule. [Polyak 1964, recalled]
    """
    factor = step_schedule(schedule)

    def init(problem: Problem, x0: Array) -> State:
        return State(x0, x0, 0)

    def step(state: State, oracle: Any) -> State:
        t = state.t + 1
        x = state.x - lr * factor(t) * oracle.sample(state.x) + momentum * (state.x - state.previous)
        return State(x, state.x, t)

    return Algorithm(init, step, linear=LinearMethod(lr, momentum, partial(stages, schedule)))
