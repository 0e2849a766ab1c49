"""Polyak's heavy-ball method."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm


class State(NamedTuple):
    x: Array
    previous: Array


@register_algorithm
def heavy_ball(
    lr: PerRow = "4/(sqrt(lambda_max) + sqrt(lambda_min))**2",
    momentum: PerRow = "((sqrt(lambda_max) - sqrt(lambda_min))/(sqrt(lambda_max) + sqrt(lambda_min)))**2",
) -> Algorithm:
    """Polyak's heavy ball on stochastic gradients.

    w_{t+1} = w_t - lr g_t + momentum (w_t - w_{t-1}), with w_0 = w_1.

    ``lr``: eta, in units of w over gradient. ``momentum``: without unit. The defaults are the optimal pair for a quadratic with
    spectrum in [lambda_min, lambda_max]. [Polyak 1964, recalled]
    """

    def init(problem: Problem, x0: Array) -> State:
        return State(x0, x0)

    def step(state: State, oracle: Any) -> State:
        x = state.x - lr * oracle.sample(state.x) + momentum * (state.x - state.previous)
        return State(x, state.x)

    return Algorithm(init, step)
