"""Functions of matrices in stacks ``(rows, m, n)``: singular values, norms, roots, polar factors.

LAPACK stops a whole stack at one matrix that is not finite. Here such a matrix gives NaN for itself and leaves the others alone.
"""

from __future__ import annotations

import array_api_compat

from theorysim.backend import namespace, over_stack, triangle
from theorysim.model import Array, PerRow

RANK_CUT = 1e-13  # singular values below this part of the largest count as zero: rounding puts 1e-15 into null directions


def transposed(a: Array) -> Array:
    """``(rows, m, n) -> (rows, n, m)``."""
    return namespace(a).matrix_transpose(a)


def svd(a: Array) -> tuple[Array, Array, Array]:
    """U ``(rows, m, k)``, s ``(rows, k)`` descending and Z' ``(rows, k, n)`` with a = U diag(s) Z', k = min(m, n)."""
    xp = namespace(a)
    if a.shape[1] < a.shape[2]:  # LAPACK takes 9 % less for the tall one
        v, s, ut = svd(transposed(a))
        return transposed(ut), s, transposed(v)
    finite = xp.all(xp.isfinite(a), axis=(1, 2))[:, None]
    u, s, zt = over_stack(lambda part: tuple(xp.linalg.svd(part, full_matrices=False)), xp.where(finite[:, :, None], a, 0.0))
    return u, xp.where(finite, s, xp.nan), zt


def left_svd(*blocks: Array) -> tuple[Array, Array]:
    """U ``(rows, m, m)`` and s ``(rows, m)`` of a = [block, block, ...], (rows, m, n) with m <= n: a a' = U diag(s)^2 U'.

    They are those of the triangle of the QR decomposition of a', which is smaller than a; its orthogonal factor is not needed.
    """
    return over_stack(_left_svd, *blocks)


def _left_svd(*blocks: Array) -> tuple[Array, Array]:
    xp = namespace(*blocks)
    tall = xp.concat([transposed(block) for block in blocks], axis=1)
    finite = xp.all(xp.isfinite(tall), axis=(1, 2))[:, None]
    _, s, ut = xp.linalg.svd(triangle(xp.where(finite[:, :, None], tall, 0.0)))
    return transposed(ut), xp.where(finite, s, xp.nan)


def singular_values(a: Array) -> Array:
    """``(rows, min(m, n))``, descending."""
    xp = namespace(a)
    finite = xp.all(xp.isfinite(a), axis=(1, 2))[:, None]
    (values,) = over_stack(lambda part: (xp.linalg.svdvals(part),), xp.where(finite[:, :, None], a, 0.0))
    return xp.where(finite, values, xp.nan)


def inverse_or_zero(s: Array, eps: Array | float = 0.0) -> Array:
    """1/(s + eps), and 0 where s is at most 1e-13 of the largest in its row: the pseudo-inverse. ``(rows, k)``."""
    xp = namespace(s)
    kept = s > RANK_CUT * s[:, :1]
    return xp.where(kept, 1.0 / xp.where(kept, s + eps, 1.0), 0.0)


def polar(a: Array) -> Array:
    """The polar factor U Z' over the range of a = U diag(s) Z': ``(rows, m, n)``, 0 for a = 0."""
    xp = namespace(a)
    u, s, zt = svd(a)
    return u @ (xp.where(s > RANK_CUT * s[:, :1], 1.0, 0.0 * s)[:, :, None] * zt)


def identity_like(a: Array) -> Array:
    """The unit matrix of the size, the type and the device of the square matrices ``a`` (rows, k, k): ``(k, k)``."""
    return namespace(a).eye(a.shape[1], dtype=a.dtype, device=array_api_compat.device(a))


def frobenius(a: Array) -> Array:
    """Frobenius norm of each matrix, shaped ``(rows, 1, 1)`` to multiply with."""
    xp = namespace(a)
    return xp.sqrt(xp.sum(a * a, axis=(1, 2), keepdims=True))


def eigh(a: Array) -> tuple[Array, Array]:
    """Eigenvalues ``(rows, k)``, ascending, and eigenvectors Q ``(rows, k, k)`` of symmetric a = Q diag(values) Q'."""
    xp = namespace(a)
    finite = xp.all(xp.isfinite(a), axis=(1, 2))[:, None]
    values, q = over_stack(lambda part: tuple(xp.linalg.eigh(part)), xp.where(finite[:, :, None], a, 0.0))
    return xp.where(finite, values, xp.nan), q


def inverse_root_by_eigh(a: Array, p: int = 2, ridge: PerRow = 0.0) -> Array:
    """(a + ridge I)^{-1/p} of symmetric positive semidefinite matrices ``(rows, k, k)``, the reference.

    ``ridge``: in units of a, a number or ``(rows, 1, 1)``; negative eigenvalues, which are rounding, count as 0 under it. Without
    a ridge it is the pseudo-inverse: eigenvalues up to k epsilon of the largest count as 0, and so do their inverses. An
    eigenvalue is known to epsilon times the largest, so the relative error of the root is up to epsilon times the condition.
    """
    xp = namespace(a)
    values, q = eigh(a)
    shift = xp.reshape(ridge, (-1, 1)) if hasattr(ridge, "shape") else ridge
    cut = a.shape[1] * xp.finfo(a.dtype).eps * values[:, -1:]
    raised = xp.where(values < 0, 0.0 * values, values) + shift
    kept = (values > cut) | (shift > 0)
    powers = xp.where(kept, xp.where(kept, raised, 1.0) ** (-1.0 / p), 0.0 * values)
    return (q * powers[:, None, :]) @ transposed(q)
