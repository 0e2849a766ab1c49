"""Independent normal noise in the gradient, with a known standard deviation per coordinate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from theorysim.laws import vector
from theorysim.model import Array, Draw
from theorysim.noise import Draws, Stream
from theorysim.validation import finite, non_negative, one_of


def deviations(noise: float | Sequence[float], law: str, decay: float, spectrum: NDArray[np.float64]) -> NDArray[np.float64]:
    """sigma_j, the standard deviations of the gradient noise at batch size 1, ``(dim,)`` on the host.

    ``noise``: a list, or a factor of ``law``: ``flat`` 1, ``spectrum`` the given vector, ``power`` j^-decay.
    """
    if not isinstance(noise, int | float):
        return vector("noise", noise, len(spectrum))
    j = np.arange(1, len(spectrum) + 1, dtype=float)
    shapes = {"flat": np.ones_like(j), "spectrum": spectrum, "power": j ** -finite("noise_decay", decay)}
    return non_negative("noise", noise) * shapes[one_of("noise_law", law, shapes)]


def noisy(
    gradient: Callable[[Array], Array], sigma: NDArray[np.float64], batch: int, draws: Draws
) -> Callable[[Array, Draw], Array]:
    """``sample(x, draw)``: the gradient plus N(0, sigma_j^2 / batch) per coordinate; without noise the gradient itself."""
    if not sigma.any():
        return lambda x, draw: gradient(x)
    deviation = draws.backend.asarray(sigma / np.sqrt(batch))

    def sample(x: Array, draw: Draw) -> Array:
        return gradient(x) + deviation * draws.normal(Stream.GRADIENT, draw, sigma.shape)

    return sample
