"""Orthogonal matrices that turn an instance away from its axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import CPU
from theorysim.model import Draw, TheorysimError
from theorysim.noise import Draws, Stream
from theorysim.validation import one_of

_ROTATION = Draw(1)


def rotation(
    kind: str | Sequence[Sequence[float]] | None, dim: int, draws: Draws, draw: Draw = _ROTATION
) -> NDArray[np.float64] | None:
    """An orthogonal matrix Q, ``(dim, dim)``, on the host, the same for all runs of a seed; None for no rotation.

    ``"random"`` (Haar), ``"hadamard"`` (dim a power of 2), ``"pairs"`` (45 degrees in each pair of coordinates) or the rows of Q.
    Raises TheorysimError for anything else.
    """
    if kind is None:
        return None
    if not isinstance(kind, str):
        return _given(kind, dim)
    if one_of("rotation", kind, ("random", "hadamard", "pairs")) == "random":
        gaussian = replace(draws, backend=CPU).shared_normal(Stream.INSTANCE, draw, (dim, dim))
        q, r = np.linalg.qr(gaussian)
        return np.asarray(q * np.sign(np.diag(r)))
    if kind == "hadamard":
        if dim & (dim - 1):
            raise TheorysimError(f"rotation='hadamard' needs dim to be a power of 2, not {dim}; use rotation='random'")
        from scipy.linalg import hadamard

        return np.asarray(hadamard(dim) / np.sqrt(dim))
    if dim % 2:
        raise TheorysimError(f"rotation='pairs' needs an even dim, not {dim}")
    return np.kron(np.eye(dim // 2), np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2))


def _given(rows: Sequence[Sequence[float]], dim: int) -> NDArray[np.float64]:
    """A user's rows as an orthogonal matrix; TheorysimError where they are none."""
    if len(rows) != dim or any(not isinstance(row, Sequence) or len(row) != dim for row in rows):
        raise TheorysimError(f"rotation must be {dim} rows of {dim} numbers for dim={dim}, or one of random, hadamard, pairs")
    q = np.array(rows, dtype=float)
    if not np.allclose(q @ q.T, np.eye(dim), atol=1e-12):
        raise TheorysimError("the rows given as rotation are not orthonormal to 1e-12; give an orthogonal matrix")
    return q
