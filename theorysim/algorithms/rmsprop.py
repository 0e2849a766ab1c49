"""RMSProp."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm


class State(NamedTuple):
    """``m``: the last step taken, ``(rows, *shape)``, for the momentum."""

    x: Array
    m: Array
    v: Array


@register_algorithm
def rmsprop(lr: PerRow = 1e-3, decay: PerRow = 0.9, eps: PerRow = 1e-8, momentum: PerRow = 0.0) -> Algorithm:
    """Steps over the root of a moving average of g^2, without bias correction.

    v_t = decay v_{t-1} + (1 - decay) g_t^2, v_0 = 0,  m_t = momentum m_{t-1} + lr g_t / (sqrt(v_t) + eps),  w_{t+1} = w_t - m_t;
    0/0 counts as 0.

    ``lr``: eta, in units of w; v_0 = 0 is not corrected for, so the first step has the length lr/sqrt(1 - decay). ``decay``: in
    [0, 1). ``eps``: outside the root, in units of the gradient, as in PyTorch; optax puts it inside unless told otherwise.
    ``momentum``: of a heavy ball whose buffer holds steps, without unit; 0 is none.
    [Tieleman, Hinton 2012, lecture 6.5, recalled: there without eps and momentum]
    """

    def init(problem: Problem, x0: Array) -> State:
        zero = namespace(x0).zeros_like(x0)
        return State(x0, zero, zero)

    def step(state: State, oracle: Any) -> State:
        xp, g = namespace(state.x), oracle.sample(state.x)
        v = decay * state.v + (1 - decay) * g * g
        scale = xp.sqrt(v) + eps
        m = momentum * state.m + lr * g / xp.where(scale > 0, scale, 1.0)
        return State(state.x - m, m, v)

    return Algorithm(init, step)
