"""AdaGrad with a diagonal preconditioner, and a box."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm


class State(NamedTuple):
    x: Array
    v: Array


@register_algorithm
def adagrad(lr: PerRow = "D_inf_0/sqrt(2)", eps: PerRow = 0.0, v0: PerRow = 0.0, box: PerRow = None) -> Algorithm:
    """AdaGrad with one accumulator per coordinate.

    v_t = v_{t-1} + g_t^2,  w_{t+1} = clip(w_t - lr g_t / (sqrt(v_t) + eps)); 0/0 counts as 0.

    ``lr``: eta, in units of w. ``eps``: outside the root, in units of the gradient. ``v0``: the accumulator before the first
    step. ``box``: half-width of the box around 0 onto which iterates are projected (in the norm of the preconditioner this is
    coordinate clipping), or None. [Duchi, Hazan, Singer 2011, Fig. 1; Liu, Pan, Zhang 2025, Algorithm 1, recalled]
    """

    def init(problem: Problem, x0: Array) -> State:
        return State(x0, namespace(x0).zeros_like(x0) + v0)

    def step(state: State, oracle: Any) -> State:
        xp, g = namespace(state.x), oracle.sample(state.x)
        v = state.v + g * g
        scale = xp.sqrt(v) + eps
        x = state.x - lr * g / xp.where(scale > 0, scale, 1.0)
        return State(x if box is None else xp.minimum(xp.maximum(x, -box), box), v)

    return Algorithm(init, step)
