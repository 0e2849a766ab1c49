"""Norms of iterates and gradients, row by row of a batch."""

from __future__ import annotations

from theorysim.backend import namespace
from theorysim.matrix_functions import singular_values
from theorysim.model import Array, TheorysimError
from theorysim.validation import one_of

ENTRYWISE, OF_MATRICES = ("1", "2", "inf"), ("row", "op", "nuclear")
NORMS = ENTRYWISE + OF_MATRICES


def known_norm(order: str) -> str:
    """``order`` itself; TheorysimError where there is no such norm."""
    return str(one_of("order", order, NORMS))


def norm(x: Array, order: str) -> Array:
    """Norm of each row of a batch, ``(rows, *shape) -> (rows,)``.

    Entrywise, for any shape: ``"1"``, ``"2"`` (for a matrix Frobenius') and ``"inf"``. For matrices: ``"row"``, the largest
    2-norm of a row; ``"op"``, the largest singular value; ``"nuclear"``, the sum of the singular values.
    Raises TheorysimError for a norm of matrices of something else.
    """
    xp, axes = namespace(x), tuple(range(1, x.ndim))
    if order == "1":
        return xp.sum(xp.abs(x), axis=axes)
    if order == "inf":
        return xp.max(xp.abs(x), axis=axes)
    if order == "2":
        return xp.sqrt(xp.sum(x * x, axis=axes))
    if x.ndim != 3:
        raise TheorysimError(f"the norm {order!r} is one of matrices, not of iterates of shape {x.shape[1:]}; take 1, 2 or inf")
    if order == "row":
        return xp.max(xp.sqrt(xp.sum(x * x, axis=2)), axis=1)
    values = singular_values(x)
    return values[:, 0] if order == "op" else xp.sum(values, axis=1)
