"""Nesterov's accelerated gradient method."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.model import Algorithm, Array, LinearMethod, PerRow, Problem
from theorysim.registry import register_algorithm


class State(NamedTuple):
    x: Array
    previous: Array
    t: int


@register_algorithm
def nesterov(lr: PerRow = "1/lambda_max", momentum: PerRow = None) -> Algorithm:
    """Nesterov's accelerated gradient method on stochastic gradients.

    y_t = w_t + m_t (w_t - w_{t-1}),  w_{t+1} = y_t - lr g(y_t), with w_0 = w_1 and the gradient taken at y_t.

    ``lr``: eta, in units of w over gradient. ``momentum``: m_t, the same for all t, for example
    ``"(sqrt(lambda_max) - sqrt(lambda_min))/(sqrt(lambda_max) + sqrt(lambda_min))"`` in the strongly convex case; None is the
    convex sequence m_t = (t - 1)/(t + 2), t = 1, 2, ... [Nesterov 1983; the weights of Su, Boyd, Candes 2016, Eq. 1, recalled,
    each used one step earlier than there]
    """

    def init(problem: Problem, x0: Array) -> State:
        return State(x0, x0, 0)

    def step(state: State, oracle: Any) -> State:
        t = state.t + 1
        weight = (t - 1) / (t + 2) if momentum is None else momentum
        y = state.x + weight * (state.x - state.previous)
        return State(y - lr * oracle.sample(y), state.x, t)

    return Algorithm(init, step, linear=None if momentum is None else LinearMethod(lr, momentum, look_ahead=1.0))
