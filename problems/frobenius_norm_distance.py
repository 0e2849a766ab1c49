"""The Frobenius norm of the error, with subgradients that are seen only now and then; with one entry it is |x|."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np

from theorysim.backend import to_host
from theorysim.model import Array, Draw, Problem, TheorysimError
from theorysim.noise import Draws, Stream
from theorysim.norms import norm
from theorysim.problems._constants import distances, norms
from theorysim.problems._matrix_start import placed, start_matrix
from theorysim.registry import register_problem
from theorysim.validation import positive, positive_integer


@register_problem
def frobenius_norm_distance(
    draws: Draws,
    m: int = 1,
    n: int = 1,
    kept: float = 1.0,
    start: str | Sequence[Sequence[float]] = "identity",
    profile: str | Sequence[float] = "power",
    profile_decay: float = 0.0,
    normalize: str | None = None,
    distance: float = 1.0,
) -> Problem:
    """f(W) = ‖X‖_F, X = W - W*, w* = 0: convex, with a kink at w*; entries of G are seen with probability ``kept``.

    The subgradient is X/‖X‖_F, 0 at w*. A stochastic one has its entries divided by ``kept``, or 0, by a coin for each entry: the
    mean is right, but with kept < 1 all that was seen up to some T can be 0 at a point that is not optimal. So a bound in the
    gradients that were seen holds in the mean and not on every run. ``start``, ``profile``, ``profile_decay``, ``normalize``,
    ``distance``: X_1, see _matrix_start.

    Constants: G_F = 1, the Lipschitz constant in the Frobenius norm; sigma_1norm, sigma_2norm (bounds); lambda_min = 0 (convex);
    M, m, n, and per row D_op_0, D_2_0, D_inf_0, D_row_0, Delta_0. Vector: sigma (m, n).
    """
    m, n, kept = positive_integer("m", m), positive_integer("n", n), positive("kept", kept)
    if kept > 1:
        raise TheorysimError(f"kept={kept} is not allowed; give a probability above 0 and at most 1")
    w1 = placed(start_matrix(start, (m, n), draws, profile=profile, profile_decay=profile_decay), normalize, distance)
    xp, sigma = draws.backend.xp, np.full((m, n), sqrt(1 / kept - 1))

    def gap(w: Array) -> Array:
        return norm(w, "2")

    def gradient(w: Array) -> Array:
        size = norm(w, "2")[:, None, None]
        return w / xp.where(size > 0, size, xp.ones_like(size))

    def sample(w: Array, draw: Draw) -> Array:
        seen = draws.uniform(Stream.GRADIENT, draw, (m, n)) < kept
        return xp.astype(seen, w.dtype) / kept * gradient(w)

    constants = {**norms("sigma", sigma.ravel(), "1", "2"), "G_F": 1.0, "lambda_min": 0.0, "M": 1, "m": m, "n": n}
    return Problem(
        shape=(m, n),
        start=w1,
        minimizer=xp.zeros_like(w1),
        constants={**constants, **distances(w1), "Delta_0": to_host(gap(w1))},
        gap=gap,
        gradient=gradient,
        sample=sample if kept < 1 else lambda w, draw: gradient(w),
        vectors={"sigma": draws.backend.asarray(sigma)},
    )
