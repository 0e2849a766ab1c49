"""Normal noise in the gradient of a matrix, with a known matrix variance on the left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from theorysim.model import Array, Draw
from theorysim.noise import Draws, Stream
from theorysim.problems._constants import norms
from theorysim.problems._left_basis import LeftBasis

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LeftNoise:
    """N = U diag(v) Z / sqrt(n batch) with standard normal Z, so E N N' = V^2 / batch with V = U diag(v) U'.

    ``v``: ``(m,)``, on the host. ``basis``: U. ``n``: columns of the iterate.
    """

    v: Floats
    basis: LeftBasis
    n: int
    batch: int

    @property
    def matrix(self) -> Floats:
        """V, ``(m, m)``."""
        return self.basis.matrix(self.v)

    @cached_property
    def sigma(self) -> Floats:
        """The deviation of every entry at batch 1, ``(m, n)``."""
        variances = np.abs(self.basis.matrix(self.v**2).diagonal())
        return np.tile(np.sqrt(variances / self.n)[:, None], self.n)

    @property
    def constants(self) -> dict[str, float]:
        """V_nuclearnorm, V_opnorm, sigma_1norm, sigma_2norm, sigma_row_1norm, sigma_full and M, as in matrix_quadratic."""
        return {
            "V_nuclearnorm": float(self.v.sum()),
            "V_opnorm": float(self.v.max()),
            **norms("sigma", self.sigma.ravel(), "1", "2"),
            "sigma_row_1norm": float(np.linalg.norm(self.sigma, axis=1).sum()),
            "sigma_full": float(np.sqrt(self.n) * self.v.sum()),
            "M": self.batch,
        }

    def added(self, gradient: Callable[[Array], Array], draws: Draws) -> Callable[[Array, Draw], Array]:
        """``sample(w, draw)``: the gradient with fresh noise; without noise the gradient itself."""
        if not self.v.any():
            return lambda w, draw: gradient(w)
        deviation = draws.backend.asarray(self.v[:, None] / np.sqrt(self.n * self.batch))
        shape = (len(self.v), self.n)

        def sample(w: Array, draw: Draw) -> Array:
            return gradient(w) + self.basis.outside(deviation * draws.normal(Stream.GRADIENT, draw, shape))

        return sample
