"""Laws of matrix-shaped starting errors, shared by the matrix problems."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import namespace
from theorysim.laws import spectrum, vector
from theorysim.model import Array, Draw, TheorysimError
from theorysim.noise import Draws, Stream
from theorysim.norms import norm
from theorysim.validation import finite, one_of, positive

Floats = NDArray[np.float64]

MATRIX_STARTS = ("gaussian", "profile", "identity", "signs")
_ENTRIES, _SIGNS, _LEFT, _RIGHT = Draw(2), Draw(3), Draw(4), Draw(5)


def start_matrix(
    law: str | Sequence[Sequence[float]],
    shape: tuple[int, int],
    draws: Draws,
    *,
    profile: str | Sequence[float] = "power",
    profile_decay: float = 0.0,
) -> Array:
    """A starting error X_1, ``(rows, m, n)`` on the backend, drawn from each row's own run.

    ``gaussian``: entries N(0, 1)/(2 sqrt(m)), so that the largest singular value is about 1 for m = n. ``profile``: U diag(p) Q'
    with random orthonormal U and Q and the singular values p: ``profile`` ``"power"``, k^-profile_decay, or min(m, n) numbers.
    ``identity``: ones on the diagonal. ``signs``: entries +-1. The rows of a matrix are taken as they are.
    Raises TheorysimError for other laws and shapes that do not fit.
    """
    m, n = shape
    xp, asarray, rows = draws.backend.xp, draws.backend.asarray, len(draws.runs)
    if not isinstance(law, str):
        return xp.broadcast_to(asarray(_given(law, shape)), (rows, m, n))
    one_of("start", law, MATRIX_STARTS)
    if law == "gaussian":
        return draws.normal(Stream.START, _ENTRIES, (m, n)) / (2 * m**0.5)
    if law == "profile":
        values = asarray(singular_profile(profile, profile_decay, min(m, n), draws))
        left, right = (orthonormal(draws, draw, (size, min(m, n))) for draw, size in ((_LEFT, m), (_RIGHT, n)))
        return (left * values) @ xp.matrix_transpose(right)
    return random_signs(draws, (m, n)) if law == "signs" else xp.broadcast_to(asarray(np.eye(m, n)), (rows, m, n))


def singular_profile(profile: str | Sequence[float], decay: float, size: int, draws: Draws) -> Floats:
    """``size`` singular values: a list, or ``"power"``, k^-decay."""
    if isinstance(profile, str):
        one_of("profile", profile, ("power",))
        return spectrum("power", size, draws, decay=finite("profile_decay", decay))
    return vector("profile", profile, size)


def orthonormal(draws: Draws, draw: Draw, shape: tuple[int, int]) -> Array:
    """Random orthonormal columns, ``(rows, *shape)`` with at least as many rows as columns, for each run its own (Haar)."""
    xp = draws.backend.xp
    q, r = xp.linalg.qr(draws.normal(Stream.START, draw, shape))
    return q * xp.sign(xp.linalg.diagonal(r))[:, None, :]


def random_signs(draws: Draws, shape: tuple[int, int]) -> Array:
    """+1 or -1 in every entry, ``(rows, *shape)``."""
    return draws.backend.xp.sign(draws.uniform(Stream.START, _SIGNS, shape) - 0.5)


def placed(error: Array, normalize: str | None, distance: float) -> Array:
    """Each row's ``error`` (rows, m, n) rescaled to norm 1 (``"op"``, ``"2"``, ``"inf"`` or not at all), times ``distance``."""
    if one_of("normalize", normalize, (None, "op", "2", "inf")) is not None:
        size = norm(error, str(normalize))
        error = error / namespace(error).reshape(size, (-1, 1, 1))
    return positive("distance", distance) * error


def _given(rows: Sequence[Sequence[float]], shape: tuple[int, int]) -> Floats:
    if len(rows) != shape[0] or any(not isinstance(row, Sequence) or len(row) != shape[1] for row in rows):
        raise TheorysimError(f"start must be {shape[0]} rows of {shape[1]} numbers, or one of the laws of the problem")
    return np.array([[finite(f"start[{i}][{j}]", value) for j, value in enumerate(row)] for i, row in enumerate(rows)])
