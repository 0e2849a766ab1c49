"""DASGO: ASGO with a diagonal accumulator, one number per row or column of a matrix-shaped iterate."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.algorithms._matrices import require_matrices
from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm
from theorysim.validation import one_of

_SUMMED = {"rows": 2, "columns": 1}


class State(NamedTuple):
    """``v``: (rows, m, 1), or (rows, 1, n) for columns."""

    x: Array
    v: Array


@register_algorithm
def dasgo(lr: PerRow = "D_row_0/sqrt(2)", eps: PerRow = 0.0, along: str = "rows") -> Algorithm:
    """AdaGrad with one accumulator for each row, or each column, of a matrix.

    v_t = v_{t-1} + sum_j G_t,ij^2 for row i,  W_{t+1} = W_t - lr diag(sqrt(v_t) + eps)^{-1} G_t; 0/0 counts as 0.

    ``lr``: eta, in units of W. ``eps``: outside the root, in units of the gradient. ``along``: ``"rows"`` or ``"columns"``
    (sums over i, multiplies from the right). Raises TheorysimError unless the iterates are matrices.
    [An, Liu, Pan, Ren, Ma, Goldfarb, Zhang 2025, the memory-light variant, here with a sum as in AdaGrad]
    """
    axis = _SUMMED[one_of("along", along, _SUMMED)]

    def init(problem: Problem, x0: Array) -> State:
        require_matrices("dasgo", x0)
        return State(x0, namespace(x0).sum(0.0 * x0, axis=axis, keepdims=True))

    def step(state: State, oracle: Any) -> State:
        xp, g = namespace(state.x), oracle.sample(state.x)
        v = state.v + xp.sum(g * g, axis=axis, keepdims=True)
        scale = xp.sqrt(v) + eps
        return State(state.x - lr * g / xp.where(scale > 0, scale, 1.0), v)

    return Algorithm(init, step)
