"""Shampoo: a preconditioner on either side of a matrix-shaped iterate."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim import accumulator
from theorysim.accumulator import Root
from theorysim.algorithms._matrices import require_matrices
from theorysim.backend import namespace
from theorysim.matrix_functions import RANK_CUT, frobenius, transposed
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm
from theorysim.validation import one_of, positive

GRAFTING = (None, "sgd", "adam")
_INSIDE = 1e-10  # added to v under the root of the grafted Adam, as the authors of ASGO have it


class State(NamedTuple):
    """``left``, ``right``: L_t^{1/2} and R_t^{1/2} in factors. ``m``: M_t. ``v``: what Adam's update is made of, like ``x``."""

    x: Array
    left: Root
    right: Root
    m: Array
    v: Array


@register_algorithm
def shampoo(
    lr: PerRow = "D_2_0/sqrt(2*Min(m, n))",
    eps: PerRow = 0.0,
    exponent: float = 0.25,
    decay: PerRow = None,
    momentum: PerRow = 0.0,
    grafting: str | None = None,
    weight_decay: PerRow = 0.0,
    ridge: PerRow = 0.0,
) -> Algorithm:
    """Shampoo for matrices: the inverse fourth root of a sum of gradient products on either side.

    L_t = L_{t-1} + G_t G_t',  R_t = R_{t-1} + G_t' G_t,  with L_0 = eps I and R_0 = eps I,
    M_t = momentum M_{t-1} + (1 - momentum) G_t,  with M_0 = 0,
    W_{t+1} = (1 - lr weight_decay) W_t - lr U_t,  U_t = (L_t + ridge I)^{-exponent} M_t (R_t + ridge I)^{-exponent}.

    ``lr``: eta; the default is the step of the regret bound for gradients of rank at most min(m, n). ``eps`` and ``ridge``: in
    units of the gradient squared; without both, pseudo-inverses. ``exponent``: 1/4 is the method, and then lr is in units of W.
    ``decay``: None sums; a number in [0, 1) makes moving averages, L_t = decay L_{t-1} + (1 - decay) G_t G_t' and R_t alike,
    without bias correction. ``grafting``: U_t is rescaled to the Frobenius norm of M_t (``"sgd"``), or of M_t / sqrt(v_t + 1e-10)
    (``"adam"``), where v_t sums or averages the squared entries of G_t as L_t does its products; 0 stays 0.
    The roots of L_t and R_t are carried along, see accumulator.py. Raises TheorysimError unless the iterates are matrices.
    [Gupta, Koren, Singer 2018, Algorithm 1, recalled; the options are those of the baseline in the authors' code of ASGO: moving
    averages with .999, momentum .9, ridge 1e-10, grafting from Adam]
    """
    one_of("grafting", grafting, GRAFTING)
    positive("exponent", exponent)
    keep, weight = (1.0, 1.0) if decay is None else (decay, 1 - decay)

    def init(problem: Problem, x0: Array) -> State:
        require_matrices("shampoo", x0)
        left, right = (accumulator.start(x0, size, eps**0.5) for size in x0.shape[1:])
        zero = namespace(x0).zeros_like(x0)
        return State(x0, left, right, zero, zero)

    def step(state: State, oracle: Any) -> State:
        g = oracle.sample(state.x)
        left = accumulator.added(state.left, g, keep, weight)
        right = accumulator.added(state.right, transposed(g), keep, weight)
        m = momentum * state.m + (1 - momentum) * g
        v = keep * state.v + weight * g * g
        update = _inverse(left, ridge, exponent) @ m @ _inverse(right, ridge, exponent)
        x = (1 - lr * weight_decay) * state.x - lr * _grafted(update, grafting, m, v)
        return State(x, left, right, m, v)

    return Algorithm(init, step)


def _inverse(root: Root, ridge: PerRow, power: float) -> Array:
    """(V + ridge I)^{-power} for V = U diag(s^2) U', over the range of V + ridge I: ``(rows, m, m)``."""
    xp, s = namespace(root.s), root.s
    added = xp.reshape(ridge, (-1, 1)) if hasattr(ridge, "shape") else ridge
    values = s * s + added
    kept = values > RANK_CUT**2 * values[:, :1]
    inverse = xp.where(kept, xp.where(kept, values, 1.0) ** -power, 0.0 * s)
    return (root.U * inverse[:, None, :]) @ transposed(root.U)


def _grafted(update: Array, grafting: str | None, m: Array, v: Array) -> Array:
    """``update`` with the Frobenius norm of the update it is grafted to, row by row."""
    if grafting is None:
        return update
    xp, has = namespace(update), frobenius(update)
    wanted = frobenius(m if grafting == "sgd" else m / xp.sqrt(v + _INSIDE))
    return wanted / xp.where(has > 0, has, 1.0) * update
