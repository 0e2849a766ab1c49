"""ASGO: AdaGrad with one matrix accumulator on one side of a matrix-shaped iterate."""

from __future__ import annotations

from typing import Any

from theorysim import accumulator
from theorysim.algorithms._matrices import SIDES, require_matrices, seen_from
from theorysim.algorithms._root_state import State
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm
from theorysim.validation import one_of


@register_algorithm
def asgo(lr: PerRow = "D_op_0/sqrt(2)", eps: PerRow = 0.0, side: str = "left") -> Algorithm:
    """Adaptive structured gradient optimization, as its theory has it: a sum of gradient products on one side, no momentum.

    V_t = V_{t-1} + G_t G_t',  W_{t+1} = W_t - lr (V_t^{1/2} + eps I)^+ G_t, with V_0 = 0.

    ``lr``: eta, in units of W. ``eps``: outside the root, in units of the gradient. ``side``: ``"right"`` sums G_t' G_t and
    multiplies from the right. The root is carried along by singular value decompositions, see accumulator.py. On iterates with
    one column it is full-matrix AdaGrad. Raises TheorysimError unless the iterates are matrices.
    [An, Liu, Pan, Ren, Ma, Goldfarb, Zhang 2025, Algorithm 1, after a public summary]
    """
    one_of("side", side, SIDES)

    def init(problem: Problem, x0: Array) -> State:
        require_matrices("asgo", x0)
        return State(x0, accumulator.start(x0, seen_from(side, x0).shape[1]))

    def step(state: State, oracle: Any) -> State:
        g = seen_from(side, oracle.sample(state.x))
        root = accumulator.added(state.root, g)
        return State(state.x - lr * seen_from(side, accumulator.preconditioned(root, g, eps)), root)

    return Algorithm(init, step)
