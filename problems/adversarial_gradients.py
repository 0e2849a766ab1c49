"""Gradients that an adversary chooses and no function has, for regret bounds that hold for any gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import to_host
from theorysim.matrix_functions import polar
from theorysim.model import Array, Draw, Problem, TheorysimError
from theorysim.noise import Draws, Stream
from theorysim.norms import norm
from theorysim.problems._constants import distances
from theorysim.problems._matrix_start import placed, start_matrix
from theorysim.registry import register_problem
from theorysim.validation import non_negative, one_of, positive, positive_integer

LAWS = ("extremal", "random", "outward")
_SETS = 4  # sets of random numbers that one gradient may take


@register_problem
def adversarial_gradients(
    draws: Draws,
    m: int = 1,
    n: int = 1,
    law: str = "extremal",
    eta: float = 1 / sqrt(2),
    length: int = 1000,
    noise: float = 0.3,
    spread: float = 1.0,
    start: str | Sequence[Sequence[float]] = "identity",
    profile: str | Sequence[float] = "power",
    profile_decay: float = 0.0,
    normalize: str | None = None,
    distance: float = 1.0,
) -> Problem:
    """An adversary against adaptive methods: ``sample`` answers what it likes, ``gap`` is a mere reference; w* = 0.

    The reference is f(X) = ‖X‖_F^2 / 2, with gradient X. ``sample`` is no estimate of it (capability ``adversary``), so that
    only regrets, distances and norms of gradients mean something here. ``law``, with D = ``distance``, N = ``length``:
    ``"extremal"``: +-I at the steps 1..N, which keeps a method with steps ``eta`` g / sqrt(sum g^2), from X_1 = D I, at the
    distance D, then N equal gradients that bring it back to 0: the regret comes close to its bound at step 2N.
    ``"random"``: Gaussian matrices of random rank, each times exp(``spread`` * standard normal).
    ``"outward"``: away from 0 along the polar factor of X where ‖X‖_op leaves room for a step ``eta`` / sqrt(t), else back, up to
    step N; then back to 0 with gradients D / (eta sqrt(N)) as large; plus Gaussian entries times ``noise``.
    ``start``, ``profile``, ``profile_decay``, ``normalize``, ``distance``: X_1, see _matrix_start; of ``extremal`` the identity.

    Constants: m, n, and per row D_op_0, D_2_0, D_inf_0, D_row_0, Delta_0.
    """
    m, n, length = positive_integer("m", m), positive_integer("n", n), positive_integer("length", length)
    eta, distance = positive("eta", eta), positive("distance", distance)
    if one_of("law", law, LAWS) == "extremal" and (start != "identity" or normalize is not None):
        raise TheorysimError(f"law='extremal' starts at D I, not start={start!r}, normalize={normalize!r}; leave them out")
    x1 = placed(start_matrix(start, (m, n), draws, profile=profile, profile_decay=profile_decay), normalize, distance)
    xp = draws.backend.xp
    samples: dict[str, Callable[[], Callable[[Array, Draw], Array]]] = {
        "extremal": lambda: _extremal(draws, (m, n), extremal_gradients(eta, length, distance)),
        "random": lambda: _random(draws, (m, n), non_negative("spread", spread)),
        "outward": lambda: _outward(draws, (m, n), eta, length, distance, non_negative("noise", noise)),
    }

    def gap(x: Array) -> Array:
        return 0.5 * xp.sum(x * x, axis=(1, 2))

    return Problem(
        shape=(m, n),
        start=x1,
        minimizer=xp.zeros_like(x1),
        constants={**distances(x1), "m": m, "n": n, "Delta_0": to_host(gap(x1))},
        gap=gap,
        gradient=lambda x: x,
        sample=samples[law](),
        capabilities={"adversary": True},
    )


def extremal_gradients(eta: float, length: int, distance: float = 1.0) -> NDArray[np.float64]:
    """The gradients g_1..g_2N in one dimension, (2N,), against x <- x - eta g_t / sqrt(g_1^2 + ... + g_t^2) from ``distance``.

    g_t = -1 where x_t + eta/sqrt(t) <= distance, else +1, for t = 1..N; then N times sqrt(N) x_{N+1} / (eta N).
    For large N the regret over 2N steps tends to its bound. [derived: both inequalities of the proof become equalities]
    """
    g, x = np.empty(2 * length), distance
    for t in range(1, length + 1):
        step = eta / sqrt(t)
        g[t - 1] = -1.0 if x + step <= distance else 1.0
        x -= step * g[t - 1]
    g[length:] = x / (eta * sqrt(length))
    return g


def _extremal(draws: Draws, shape: tuple[int, int], g: NDArray[np.float64]) -> Callable[[Array, Draw], Array]:
    eye = draws.backend.asarray(np.eye(*shape))

    def sample(x: Array, draw: Draw) -> Array:
        known = 1 <= draw.step <= len(g)
        return draws.backend.xp.broadcast_to((float(g[draw.step - 1]) if known else 0.0) * eye, x.shape)

    return sample


def _random(draws: Draws, shape: tuple[int, int], spread: float) -> Callable[[Array, Draw], Array]:
    xp, (m, n) = draws.backend.xp, shape
    most = min(m, n)
    places = draws.backend.asarray(np.arange(most))

    def sample(x: Array, draw: Draw) -> Array:
        each = [Draw(draw.step, _SETS * draw.call + i) for i in range(_SETS)]
        rank = draws.integers(Stream.GRADIENT, each[0], (1,), most)
        size = xp.exp(spread * draws.normal(Stream.GRADIENT, each[1], (1, 1)))
        left = draws.normal(Stream.GRADIENT, each[2], (m, most)) * xp.astype(places <= rank, size.dtype)[:, None, :]
        return size * (left @ draws.normal(Stream.GRADIENT, each[3], (most, n)))

    return sample


def _outward(
    draws: Draws, shape: tuple[int, int], eta: float, length: int, distance: float, noise: float
) -> Callable[[Array, Draw], Array]:
    xp = draws.backend.xp

    def sample(x: Array, draw: Draw) -> Array:
        size = norm(x, "op")
        one = xp.ones_like(size)
        if draw.step <= length:
            along = xp.where(size + eta / sqrt(max(draw.step, 1)) <= distance, -one, one)
        else:
            along = one * distance / (eta * sqrt(length))
        return along[:, None, None] * polar(x) + noise * draws.normal(Stream.GRADIENT, draw, shape)

    return sample
