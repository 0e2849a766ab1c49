"""The square root of a sum of gradient products, V = sum_t G_t G_t', carried along without ever forming V.

An eigenvalue of V that is 1e-16 of the largest is rounding; the singular value it belongs to is 1e-8 of the largest and well
known. So V_t^{1/2} = U diag(s) U' comes from the singular values and the left singular vectors of [V_{t-1}^{1/2}, G_t].
"""

from __future__ import annotations

from typing import NamedTuple

import array_api_compat

from theorysim.backend import namespace
from theorysim.matrix_functions import inverse_or_zero, left_svd, transposed
from theorysim.model import Array, PerRow


class Root(NamedTuple):
    """V^{1/2} = U diag(s) U': ``U`` (rows, m, m) orthogonal, ``s`` (rows, m) descending."""

    U: Array
    s: Array


def start(x: Array, size: int, value: PerRow = 0.0) -> Root:
    """V_0^{1/2} = value I of ``size`` rows and columns for the batch of ``x``; ``value``: a number or one per row."""
    xp = namespace(x)
    shape = (x.shape[0], size)
    eye = xp.eye(size, dtype=x.dtype, device=array_api_compat.device(x))
    values = xp.reshape(value, (-1, 1)) if hasattr(value, "shape") else value
    zeros = xp.zeros(shape, dtype=x.dtype, device=array_api_compat.device(x))
    return Root(xp.broadcast_to(eye, (*shape, size)), zeros + values)


def added(root: Root, g: Array, keep: float = 1.0, weight: float = 1.0) -> Root:
    """V <- keep V + weight G G'. ``g``: (rows, m, n). A row that is not finite becomes NaN, alone."""
    return Root(*left_svd(keep**0.5 * root.U * root.s[:, None, :], weight**0.5 * g))


def preconditioned(root: Root, g: Array, eps: PerRow = 0.0) -> Array:
    """(V^{1/2} + eps I)^+ G over the range of V, ``(rows, m, n)``; ``eps``: a number or (rows, 1, 1)."""
    flat = namespace(g).reshape(eps, (-1, 1)) if hasattr(eps, "shape") else eps
    return root.U @ (inverse_or_zero(root.s, flat)[:, :, None] * (transposed(root.U) @ g))


def inverse_power(root: Root, power: float) -> Array:
    """V^{-power/2} over the range of V, ``(rows, m, m)``: power 1 is the inverse of the root, 1/2 that of the fourth root."""
    return (root.U * (inverse_or_zero(root.s) ** power)[:, None, :]) @ transposed(root.U)
