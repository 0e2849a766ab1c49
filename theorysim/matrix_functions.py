"""Functions of matrices in stacks ``(rows, m, n)``: singular values, norms, roots, polar factors.

LAPACK stops a whole stack at one matrix that is not finite. Here such a matrix gives NaN for itself and leaves the others alone.
"""

from __future__ import annotations

from theorysim.backend import namespace, over_stack
from theorysim.model import Array

RANK_CUT = 1e-15  # singular values below this part of the largest count as zero


def transposed(a: Array) -> Array:
    """``(rows, m, n) -> (rows, n, m)``."""
    return namespace(a).matrix_transpose(a)


def svd(a: Array) -> tuple[Array, Array, Array]:
    """U ``(rows, m, k)``, s ``(rows, k)`` descending and Z' ``(rows, k, n)`` with a = U diag(s) Z', k = min(m, n)."""
    xp = namespace(a)
    finite = xp.all(xp.isfinite(a), axis=(1, 2))[:, None]
    u, s, zt = over_stack(lambda part: tuple(xp.linalg.svd(part, full_matrices=False)), xp.where(finite[:, :, None], a, 0.0))
    return u, xp.where(finite, s, xp.nan), zt


def singular_values(a: Array) -> Array:
    """``(rows, min(m, n))``, descending."""
    xp = namespace(a)
    finite = xp.all(xp.isfinite(a), axis=(1, 2))[:, None]
    (values,) = over_stack(lambda part: (xp.linalg.svdvals(part),), xp.where(finite[:, :, None], a, 0.0))
    return xp.where(finite, values, xp.nan)


def inverse_or_zero(s: Array, eps: Array | float = 0.0) -> Array:
    """1/(s + eps), and 0 where s is at most 1e-15 of the largest in its row: the pseudo-inverse. ``(rows, k)``."""
    xp = namespace(s)
    kept = s > RANK_CUT * s[:, :1]
    return xp.where(kept, 1.0 / xp.where(kept, s + eps, 1.0), 0.0)


def polar(a: Array) -> Array:
    """The polar factor U Z' over the range of a = U diag(s) Z': ``(rows, m, n)``, 0 for a = 0."""
    xp = namespace(a)
    u, s, zt = svd(a)
    return u @ (xp.where(s > RANK_CUT * s[:, :1], 1.0, 0.0 * s)[:, :, None] * zt)
