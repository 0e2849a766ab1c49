"""The square root of a sum of gradient products, V = sum_t G_t G_t', carried along without ever forming V.

An eigenvalue of V that is 1e-16 of the largest is rounding; the singular value it belongs to is 1e-8 of the largest and well
known. So the singular value decomposition U diag(s) Z' of [V_{t-1}^{1/2}, G_t] is taken: V_t^{1/2} = U diag(s) U', and the
columns of Z' that belong to G_t give V_t^{-1/2} G_t = U Z' without a division.
"""

from __future__ import annotations

from typing import NamedTuple

import array_api_compat

from theorysim.backend import namespace
from theorysim.matrix_functions import RANK_CUT, inverse_or_zero, svd, transposed
from theorysim.model import Array, PerRow


class Root(NamedTuple):
    """V^{1/2} = U diag(s) U': ``U`` (rows, m, m) orthogonal, ``s`` (rows, m) descending."""

    U: Array
    s: Array


class Part(NamedTuple):
    """The newest gradient in terms of the root that holds it: G = U diag(s) W, with ``W`` (rows, m, n) and W W' <= I."""

    root: Root
    W: Array


def start(x: Array, size: int, value: PerRow = 0.0) -> Root:
    """V_0^{1/2} = value I of ``size`` rows and columns for the batch of ``x``; ``value``: a number or one per row."""
    xp = namespace(x)
    shape = (x.shape[0], size)
    eye = xp.eye(size, dtype=x.dtype, device=array_api_compat.device(x))
    values = xp.reshape(value, (-1, 1)) if hasattr(value, "shape") else value
    zeros = xp.zeros(shape, dtype=x.dtype, device=array_api_compat.device(x))
    return Root(xp.broadcast_to(eye, (*shape, size)), zeros + values)


def added(root: Root, g: Array, keep: float = 1.0, weight: float = 1.0) -> Part:
    """V <- keep V + weight G G'. ``g``: (rows, m, n). A row that is not finite becomes NaN, alone."""
    xp = namespace(g)
    u, s, zt = svd(xp.concat([keep**0.5 * root.U * root.s[:, None, :], weight**0.5 * g], axis=2))
    return Part(Root(u, s), zt[:, :, root.s.shape[1] :] / weight**0.5)


def preconditioned(part: Part, eps: PerRow = 0.0) -> Array:
    """(V^{1/2} + eps I)^+ G for the newest gradient, ``(rows, m, n)``; ``eps``: a number or (rows, 1, 1)."""
    xp, (root, w) = namespace(part.W), part
    flat = xp.reshape(eps, (-1, 1)) if hasattr(eps, "shape") else eps
    kept = root.s > RANK_CUT * root.s[:, :1]
    share = xp.where(kept, root.s / xp.where(kept, root.s + flat, 1.0), 0.0 * root.s)
    return root.U @ (share[:, :, None] * w)


def inverse_power(root: Root, power: float) -> Array:
    """V^{-power/2} over the range of V, ``(rows, m, m)``: power 1 is the inverse of the root, 1/2 that of the fourth root."""
    return (root.U * (inverse_or_zero(root.s) ** power)[:, None, :]) @ transposed(root.U)
