"""What the methods for matrix-shaped iterates share."""

from __future__ import annotations

from theorysim.matrix_functions import transposed
from theorysim.model import Array, TheorysimError

SIDES = ("left", "right")


def require_matrices(name: str, x0: Array) -> None:
    """TheorysimError unless the iterates are matrices, ``x0`` (rows, m, n)."""
    if x0.ndim != 3:
        shape = tuple(x0.shape[1:])
        raise TheorysimError(
            f"{name} needs matrices, not iterates of shape {shape}; choose a matrix problem such as matrix_quadratic"
        )


def seen_from(side: str, a: Array) -> Array:
    """``a`` from the left, its transpose from the right; twice is ``a`` again."""
    return a if side == "left" else transposed(a)
