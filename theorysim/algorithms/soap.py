"""SOAP: Adam in the eigenbasis of Shampoo's preconditioners."""

from __future__ import annotations

from typing import Any, NamedTuple

import array_api_compat

from theorysim.algorithms._matrices import require_matrices
from theorysim.backend import namespace
from theorysim.matrix_functions import eigh, transposed
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm
from theorysim.validation import one_of, positive_integer

REFRESH = ("qr", "eigh")


class Side(NamedTuple):
    """``P``: the moving average of G G' or of G' G. ``Q``: the basis in use. Both (rows, k, k)."""

    P: Array
    Q: Array


class State(NamedTuple):
    """``m``: M_t, in the original space. ``v``: V_t, in the rotated one. ``power1``, ``power2``: beta1^t and beta2^t."""

    x: Array
    left: Side
    right: Side
    m: Array
    v: Array
    t: int
    power1: PerRow
    power2: PerRow


@register_algorithm
def soap(
    lr: PerRow = 3e-3,
    beta1: PerRow = 0.95,
    beta2: PerRow = 0.95,
    eps: PerRow = 1e-8,
    frequency: int = 10,
    refresh: str = "qr",
    bias_correction: bool = True,
    weight_decay: PerRow = 0.0,
) -> Algorithm:
    """Adam in a slowly changing eigenbasis of the averaged gradient products.

    In step t = 1, 2, ..., with M, V, L and R zero before the first:
    M_t = beta1 M_{t-1} + (1 - beta1) G_t,  V_t = beta2 V_{t-1} + (1 - beta2) (Q' G_t Z)^2 entry by entry,
    W_{t+1} = (1 - lr weight_decay) W_t - lr Q N_t Z',  N_t = Q' M^_t Z / (sqrt(V^_t) + eps), 0/0 counts as 0,
    L_t = beta2 L_{t-1} + (1 - beta2) G_t G_t',  R_t = beta2 R_{t-1} + (1 - beta2) G_t' G_t.

    The bases Q (m x m) and Z (n x n) are the eigenvectors of G_1 G_1' and G_1' G_1, largest eigenvalue first, from step 1 on,
    which is taken and not left out. They change after each step whose t is a multiple of ``frequency``: to the orthogonal factor
    of L_t Q and of R_t Z (``refresh="qr"``, one power iteration, the columns not sorted anew), or to the eigenvectors of L_t and
    R_t, largest first (``"eigh"``); V_t stays as it is. M^_t = M_t/(1 - beta1^t) and V^_t = V_t/(1 - beta2^t), or M_t and V_t
    with ``bias_correction=False``. The longer side of G_1 has a null space, in which the first basis is arbitrary.

    ``lr``: eta, in units of W. ``beta1``, ``beta2``: in [0, 1). ``eps``: in units of the gradient.
    Raises TheorysimError unless the iterates are matrices. [Vyas et al. 2024, Algorithms 3 and 4, recalled; the first basis, the
    bias correction and the weight decay, which they leave open, as stated here]
    """
    one_of("refresh", refresh, REFRESH)
    one_of("bias_correction", bias_correction, (True, False))
    every = positive_integer("frequency", frequency)

    def init(problem: Problem, x0: Array) -> State:
        require_matrices("soap", x0)
        left, right = (Side(_zeros(x0, size), _zeros(x0, size)) for size in x0.shape[1:])
        zero = namespace(x0).zeros_like(x0)
        return State(x0, left, right, zero, zero, 0, 1.0, 1.0)

    def step(state: State, oracle: Any) -> State:
        xp, g, t = namespace(state.x), oracle.sample(state.x), state.t + 1
        products = g @ transposed(g), transposed(g) @ g
        bases = tuple(map(_eigenvectors, products)) if t == 1 else (state.left.Q, state.right.Q)
        rotated, m = _rotated(g, *bases), beta1 * state.m + (1 - beta1) * g
        v = beta2 * state.v + (1 - beta2) * rotated * rotated
        power1, power2 = state.power1 * beta1, state.power2 * beta2
        m_hat, v_hat = (m / (1 - power1), v / (1 - power2)) if bias_correction else (m, v)
        scale = xp.sqrt(v_hat) + eps
        update = _rotated(_rotated(m_hat, *bases) / xp.where(scale > 0, scale, 1.0), *map(transposed, bases))
        x = (1 - lr * weight_decay) * state.x - lr * update
        left, right = (
            _refreshed(Side(beta2 * side.P + (1 - beta2) * product, basis), refresh if t % every == 0 else None)
            for side, product, basis in zip((state.left, state.right), products, bases, strict=True)
        )
        return State(x, left, right, m, v, t, power1, power2)

    return Algorithm(init, step)


def _zeros(x: Array, size: int) -> Array:
    return namespace(x).zeros((x.shape[0], size, size), dtype=x.dtype, device=array_api_compat.device(x))


def _rotated(a: Array, q: Array, z: Array) -> Array:
    """Q' a Z."""
    return transposed(q) @ a @ z


def _eigenvectors(p: Array) -> Array:
    """Of symmetric matrices ``(rows, k, k)``, as columns, largest eigenvalue first."""
    return namespace(p).flip(eigh(p)[1], axis=2)


def _refreshed(side: Side, how: str | None) -> Side:
    if how is None:
        return side
    return side._replace(Q=_eigenvectors(side.P) if how == "eigh" else namespace(side.P).linalg.qr(side.P @ side.Q)[0])
