"""AdaGrad with the full matrix of gradient products, for small dimensions."""

from __future__ import annotations

from typing import Any

from theorysim import accumulator
from theorysim.algorithms._root_state import State
from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm


@register_algorithm
def full_matrix_adagrad(lr: PerRow = "D_2_0/sqrt(2)", eps: PerRow = 0.0) -> Algorithm:
    """AdaGrad with the full matrix of gradient products, for small dimensions.

    G_t = G_{t-1} + g_t g_t',  w_{t+1} = w_t - lr (G_t^{1/2} + eps I)^+ g_t, with G_0 = 0 and g_t a vector of all d entries.

    ``lr``: eta, in units of w. ``eps``: outside the root, in units of the gradient. A matrix-shaped iterate is taken as the
    vector of its entries in C order. G_t^{1/2} is carried along, see accumulator.py; g_t lies in its range, and directions are
    told apart down to 1e-13 of the largest. Each step costs a singular value decomposition: O(rows d^3) time, O(rows d^2)
    memory. [Duchi, Hazan, Singer 2011, Fig. 2]
    """

    def init(problem: Problem, x0: Array) -> State:
        return State(x0, accumulator.start(x0, _column(x0).shape[1]))

    def step(state: State, oracle: Any) -> State:
        g = _column(oracle.sample(state.x))
        root = accumulator.added(state.root, g)
        direction = namespace(state.x).reshape(accumulator.preconditioned(root, g, eps), state.x.shape)
        return State(state.x - lr * direction, root)

    return Algorithm(init, step)


def _column(x: Array) -> Array:
    """``(rows, *shape) -> (rows, d, 1)``."""
    return namespace(x).reshape(x, (x.shape[0], -1, 1))
