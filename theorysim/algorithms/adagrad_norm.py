"""AdaGrad with one scalar accumulator for all coordinates, and a box."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm


class State(NamedTuple):
    """``v``: ``(rows, 1, ..., 1)``, with as many axes as ``x``."""

    x: Array
    v: Array


@register_algorithm
def adagrad_norm(lr: PerRow = "D_2_0/sqrt(2)", eps: PerRow = 0.0, v0: PerRow = 0.0, box: PerRow = None) -> Algorithm:
    """AdaGrad with one accumulator for all coordinates.

    v_t = v_{t-1} + ‖g_t‖_2^2,  w_{t+1} = clip(w_t - lr g_t / (sqrt(v_t) + eps)); 0/0 counts as 0.

    ``lr``: eta, in units of w. ``eps``: outside the root, in units of the gradient. ``v0``: the accumulator before the first
    step. ``box``: half-width of the box around 0 onto which iterates are projected (clipping: the preconditioner is a
    multiple of the identity), or None. [Streeter, McMahan 2010; Ward, Wu, Bottou 2019, Algorithm 1, recalled]
    """

    def init(problem: Problem, x0: Array) -> State:
        return State(x0, namespace(x0).zeros_like(_row_sum(x0)) + v0)

    def step(state: State, oracle: Any) -> State:
        xp, g = namespace(state.x), oracle.sample(state.x)
        v = state.v + _row_sum(g * g)
        scale = xp.sqrt(v) + eps
        x = state.x - lr * g / xp.where(scale > 0, scale, 1.0)
        return State(x if box is None else xp.minimum(xp.maximum(x, -box), box), v)

    return Algorithm(init, step)


def _row_sum(x: Array) -> Array:
    """The sum over each row's entries, with the axes kept."""
    return namespace(x).sum(x, axis=tuple(range(1, x.ndim)), keepdims=True)
