"""One-sided Shampoo: ASGO with the regulariser inside the root."""

from __future__ import annotations

from typing import Any

from theorysim import accumulator
from theorysim.algorithms._matrices import SIDES, require_matrices, seen_from
from theorysim.algorithms._root_state import State
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm
from theorysim.validation import one_of


@register_algorithm
def one_sided_shampoo(lr: PerRow = "D_op_0/sqrt(2)", eps: PerRow = 0.0, side: str = "left") -> Algorithm:
    """ASGO with the regulariser inside the root.

    V_t = V_{t-1} + G_t G_t',  W_{t+1} = W_t - lr V_t^{-1/2} G_t, with V_0 = eps^2 I; a pseudo-inverse for eps = 0.

    ``lr``: eta, in units of W. ``eps``: in units of the gradient. ``side``: as in asgo. The root is carried along as in asgo.
    Raises TheorysimError unless the iterates are matrices. [Xie, Wang, Reddi, Kumar, Li 2025, recalled]
    """
    one_of("side", side, SIDES)

    def init(problem: Problem, x0: Array) -> State:
        require_matrices("one_sided_shampoo", x0)
        return State(x0, accumulator.start(x0, seen_from(side, x0).shape[1], eps))

    def step(state: State, oracle: Any) -> State:
        g = seen_from(side, oracle.sample(state.x))
        root = accumulator.added(state.root, g)
        return State(state.x - lr * seen_from(side, accumulator.preconditioned(root, g)), root)

    return Algorithm(init, step)
