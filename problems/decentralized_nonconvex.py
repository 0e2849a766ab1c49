"""Smooth nonconvex functions of several agents with independent noise: f_i(x) = (L/2) sum_k phi(x_k) + <b_i, x>."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import namespace, to_host
from theorysim.laws import start_error
from theorysim.model import Array, Draw, Problem, TheorysimError
from theorysim.noise import Draws, Stream
from theorysim.problems._constants import distances, norms
from theorysim.problems._graphs import Graph
from theorysim.problems._network import Weights, network, network_constants
from theorysim.registry import register_problem
from theorysim.validation import non_negative, positive, positive_integer


@register_problem
def decentralized_nonconvex(
    draws: Draws,
    m: int = 8,
    dim: int = 20,
    L: float = 1.0,
    zeta: float = 0.0,
    sigma: float = 0.0,
    quadratic: bool = False,
    start: str | Sequence[float] = "ones",
    normalize: str | None = "2",
    distance: float = 1.0,
    graph: Graph | None = None,
    weights: Weights = "metropolis",
    lazy: bool = True,
    chance: float | None = None,
    radius: float | None = None,
    edge_weight: float | None = None,
    link_loss: float = 0.0,
    changing: Sequence[Graph] | None = None,
    allow_bipartite: bool = False,
) -> Problem:
    """m agents with f_i(x) = (L/2) sum_k phi(x_k) + <b_i, x>, phi(t) = t^2/(1 + t^2), or t^2 if ``quadratic``; sum b_i = 0.

    phi'' lies in [-1/2, 2], so L is the exact smoothness constant of every f_i and of f; f is nonconvex, inf f = 0 at x* = 0.
    b_i = zeta (cos(2 pi i/m) e_1 + sin(2 pi i/m) e_2), i = 0..m-1, and 0 for m = 1: zeta is the root mean square of
    |grad f_i - grad f|_2 everywhere. Noise of agent i: N(0, (sigma^2/dim) I), independent over agents, steps and runs, so that
    its mean square length is sigma^2. ``start``, ``normalize``, ``distance``: x_0, see laws.start_error; by default
    (1, ..., 1)/sqrt(dim). ``graph`` ... ``allow_bipartite``: see _network.network.

    Constants: m, dim, L, zeta, sigma, lambda_max = L, L_1norm, L_infnorm, M = 1; sigma_1norm, sigma_2norm of the agents' mean;
    lambda_2, gamma, rho = max(|lambda_2|, |lambda_min|) of W; per row D_inf_0, D_2_0, Delta_0. Vectors: L, and sigma_j =
    sigma/sqrt(m dim), the standard deviations of the mean of the agents' noise. Capabilities: network; local_sample ((X, draw) ->
    stochastic gradients of the f_i at x_i, ``(rows, m, dim)``). Raises TheorysimError for what is not allowed.
    [Li, Chen, Ma, Hong 2024; the generator derived]
    """
    m, dim, L = positive_integer("m", m), positive_integer("dim", dim), positive("L", L)
    zeta, sigma = non_negative("zeta", zeta), non_negative("sigma", sigma)
    if not isinstance(quadratic, bool):
        raise TheorysimError(f"quadratic={quadratic!r} is not allowed; give True or False")
    xp, asarray = draws.backend.xp, draws.backend.asarray
    tilt, deviation = asarray(_tilts(m, dim, zeta)), sigma / math.sqrt(dim)
    x0 = start_error(start, dim, draws, normalize=normalize, distance=distance)
    gap, gradient = _common(L, quadratic)
    net = network(draws, m, graph, weights, lazy, chance, radius, edge_weight, link_loss, changing, allow_bipartite)

    def local_sample(x: Array, draw: Draw) -> Array:
        exact = gradient(x) + tilt
        return exact + deviation * draws.normal(Stream.GRADIENT, draw, (m, dim)) if sigma else exact

    def sample(x: Array, draw: Draw) -> Array:
        noise = xp.mean(draws.normal(Stream.GRADIENT, draw, (m, dim)), axis=1) if sigma else 0.0
        return gradient(x) + deviation * noise

    smooth, spread = np.full(dim, L), np.full(dim, deviation / math.sqrt(m))
    constants = {
        "m": m,
        "dim": dim,
        "L": L,
        "zeta": zeta if m > 1 else 0.0,
        "sigma": sigma,
        "lambda_max": L,
        "M": 1,
        **norms("L", smooth, "1", "inf"),
        **norms("sigma", spread, "1", "2"),
        **network_constants(net),
        **distances(x0),
        "Delta_0": to_host(gap(x0)),
    }
    return Problem(
        shape=(dim,),
        start=x0,
        minimizer=xp.zeros_like(tilt[0, :]),
        constants=constants,
        gap=gap,
        gradient=gradient,
        sample=sample,
        vectors={"L": asarray(smooth), "sigma": asarray(spread)},
        capabilities={"network": net, "local_sample": local_sample},
        row_elements=m * dim,
    )


def _common(L: float, quadratic: bool) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """f and its gradient; x may be (rows, d) or, for the gradient, (rows, m, d)."""

    def gap(x: Array) -> Array:
        squares = x * x
        return 0.5 * L * namespace(x).sum(squares if quadratic else squares / (1 + squares), axis=1)

    def gradient(x: Array) -> Array:
        return L * x if quadratic else L * x / (1 + x * x) ** 2

    return gap, gradient


def _tilts(m: int, dim: int, zeta: float) -> NDArray[np.float64]:
    """The b_i, (m, dim)."""
    tilts = np.zeros((m, dim))
    if m > 1 and zeta > 0:
        if dim < 2:
            raise TheorysimError(f"zeta={zeta} turns through two coordinates; give dim of at least 2, not {dim}, or zeta=0")
        angle = 2 * np.pi * np.arange(m) / m
        tilts[:, 0], tilts[:, 1] = zeta * np.cos(angle), zeta * np.sin(angle)
    return tilts
