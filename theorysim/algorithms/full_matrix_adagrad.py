"""AdaGrad with the full matrix of gradient products, for small dimensions."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, PerRow, Problem, TheorysimError
from theorysim.registry import register_algorithm

_CUT = 1e-13  # rounding leaves about 1e-15 of the largest eigenvalue in the null space of G


class State(NamedTuple):
    """``G``: ``(rows, d, d)``."""

    x: Array
    G: Array


@register_algorithm
def full_matrix_adagrad(lr: PerRow = "D_2_0/sqrt(2)", eps: PerRow = 0.0) -> Algorithm:
    """AdaGrad with the full matrix of gradient products, for small dimensions.

    G_t = G_{t-1} + g_t g_t',  w_{t+1} = w_t - lr (G_t^{1/2} + eps I)^+ g_t, with G_0 = 0.

    ``lr``: eta, in units of w. ``eps``: in units of the gradient. The pseudo-inverse is exact in theory, as g_t lies in the range
    of G_t; in numbers, a direction whose eigenvalue of G_t is at most 1e-13 of the largest counts as null and is left out, also
    with eps > 0: a direction whose gradients stay below 3e-7 of the largest does not move.
    Each step costs an eigen-decomposition, O(rows d^3) time and O(rows d^2) memory.
    Raises TheorysimError unless the iterates are vectors. [Duchi, Hazan, Singer 2011, Fig. 2]
    """

    def init(problem: Problem, x0: Array) -> State:
        if x0.ndim != 2:
            shape = tuple(x0.shape[1:])
            raise TheorysimError(f"full_matrix_adagrad needs vectors, not iterates of shape {shape}; choose a vector problem")
        return State(x0, namespace(x0).zeros_like(_outer(x0)))

    def step(state: State, oracle: Any) -> State:
        xp, g = namespace(state.x), oracle.sample(state.x)
        total = state.G + _outer(g)
        # LAPACK stops the whole batch at a non-finite matrix; a diverged run must only spoil its own row.
        finite = xp.all(xp.isfinite(total), axis=(1, 2))[:, None]
        direction = _preconditioned(xp.where(finite[:, :, None], total, 0.0), g, eps)
        return State(xp.where(finite, state.x - lr * direction, xp.nan), total)

    return Algorithm(init, step)


def _outer(g: Array) -> Array:
    return g[:, :, None] * g[:, None, :]


def _preconditioned(total: Array, g: Array, eps: PerRow) -> Array:
    """(G^{1/2} + eps I)^+ g over the range of G: ``(rows, d, d), (rows, d) -> (rows, d)``."""
    xp = namespace(g)
    values, vectors = xp.linalg.eigh(total)
    kept = values > _CUT * values[:, -1:]
    scale = xp.sqrt(xp.where(kept, values, 1.0)) + eps
    along = xp.where(kept, (xp.matrix_transpose(vectors) @ g[:, :, None])[:, :, 0] / scale, 0.0)
    return (vectors @ along[:, :, None])[:, :, 0]
