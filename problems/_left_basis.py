"""Coordinates on the left of a matrix-shaped iterate: w = U y."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theorysim.model import Array
from theorysim.noise import Draws
from theorysim.problems._rotation import rotation as orthogonal

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LeftBasis:
    """``u``: U, orthogonal, ``(m, m)``, on the host; None for the identity. ``here``, ``there``: U and U' on the device."""

    u: Floats | None
    here: Array | None
    there: Array | None

    @classmethod
    def of(cls, rotation: str | Sequence[Sequence[float]] | None, m: int, draws: Draws) -> LeftBasis:
        """For the words and matrices of _rotation.rotation."""
        u = orthogonal(rotation, m, draws)
        return cls(None, None, None) if u is None else cls(u, *map(draws.backend.asarray, (u, u.T.copy())))

    def inside(self, w: Array) -> Array:
        """y = U' w, ``(rows, m, n)``."""
        return w if self.there is None else self.there @ w

    def outside(self, y: Array) -> Array:
        """w = U y, ``(rows, m, n)``."""
        return y if self.here is None else self.here @ y

    def matrix(self, values: Floats) -> Floats:
        """U diag(values) U', ``(m, m)`` on the host."""
        return np.diag(values) if self.u is None else (self.u * values) @ self.u.T
