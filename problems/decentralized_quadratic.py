"""Quadratics that agents hold in parts, f = mean of N = m n pieces (d h_k/2) (q_k'x - c)^2, all constants by construction."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from theorysim.agents import FiniteSum, PooledCoordinates
from theorysim.backend import CPU, Backend, namespace, to_host
from theorysim.laws import spectrum as spectrum_law
from theorysim.laws import start_error, vector
from theorysim.model import Array, Draw, GradientNoise, Problem, TheorysimError
from theorysim.noise import Draws, Stream
from theorysim.problems._constants import distances, norms
from theorysim.problems._eigenbasis import turns
from theorysim.problems._finite_sum import Gradients, finite_sum, pool_constants, pooled_sample
from theorysim.problems._graphs import Graph
from theorysim.problems._network import Weights, network, network_constants
from theorysim.problems._rotation import rotation as orthogonal
from theorysim.problems._row_sums import row_sums
from theorysim.registry import register_problem
from theorysim.validation import one_of, positive, positive_integer

Floats = NDArray[np.float64]

_OFFSETS = Draw(2)  # the instance's stream holds the rotation at 1 and graphs from 8 on


@register_problem
def decentralized_quadratic(
    draws: Draws,
    m: int = 16,
    n: int = 32,
    dim: int = 8,
    spectrum: str | Sequence[float] = "two",
    kappa: float = 100.0,
    placement: str = "iid",
    pool: str = "deterministic",
    rotation: str | Sequence[Sequence[float]] | None = None,
    start: str | Sequence[float] = "zeros",
    distance: float = 1.0,
    batch: int | None = None,
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
    """A strongly convex quadratic over m agents with n components each, d = ``dim``; f has Hessian sum_k h_k q_k q_k' exactly.

    Component (k, r), r = 0..R-1, R = m n/d: (d h_k/2) (q_k'x - c_kr)^2. ``spectrum``: h; ``"two"`` 1, then 1/kappa; ``"log"``
    from 1 down to 1/kappa, evenly spaced in the logarithm; or a list of positive numbers. ``rotation``: the q_k, see
    anisotropic_quadratic. ``pool``: the c_kr, drawn once, before they are placed: ``"deterministic"`` 1 + 2 (s_r - mean s), s_r =
    ((2r+1)/(2R))^2, or ``"random"``, which adds N(0, 1) before it centres; either way x* has coordinate 1 along every q_k.
    ``placement``, a permutation of the pool: ``"iid"`` (k, r) -> agent floor(r d/n), so that all agents have the Hessian of f;
    ``"sorted"`` number k R + r -> agent floor((k R + r)/n). ``start``: ``"zeros"`` x_0 = 0, ``"minimizer"`` x_0 = x*, or x_0 - x*
    along the q_k, a list or a law of laws.start_error, times ``distance``. ``batch``: components, drawn uniformly from the pool,
    of a stochastic gradient of f; None: it is exact. ``graph`` ... ``allow_bipartite``: see _network.network.

    Constants: m, n, N, dim, M; L_g = h_1, mu, kappa_g; L_max, L_s = d h_1, L_s_importance = sum of h, kappa_s and
    kappa_s_importance; L_loc, mu_loc and, if finite, kappa_loc, of the f_i; G_star = ‖(grad f_i(x*))_i‖_F; lambda_2, gamma, rho
    of W; lambda_max, lambda_min, trace_H, L_1norm, L_infnorm; per row D_inf_0, D_2_0, Delta_0. Vectors: L, as in
    anisotropic_quadratic.
    Capabilities: network, finite_sum, pooled_coordinates (see theorysim.agents); hessian, spectrum, eigenbasis, gradient_noise.
    Raises TheorysimError where d does not divide m n, or for ``"iid"`` n, and for what else is not allowed.
    """
    m, n, dim = positive_integer("m", m), positive_integer("n", n), positive_integer("dim", dim)
    pieces = _pieces(_curvatures(spectrum, dim, kappa, draws), _pool(pool, m, n, dim, draws), _holders(placement, m, n, dim))
    q, h = orthogonal(rotation, dim, draws), pieces.h
    xp, asarray, (turn, back) = draws.backend.xp, draws.backend.asarray, turns(q, draws.backend)
    curvature, minimizer = asarray(h), asarray(np.ones(dim) if q is None else q.sum(axis=1))
    error = _start(start, dim, draws, distance)
    x0 = xp.zeros_like(error) if start == "zeros" else minimizer + back(error)
    parts = _finite_sum(pieces, q, minimizer, draws)
    net = network(draws, m, graph, weights, lazy, chance, radius, edge_weight, link_loss, changing, allow_bipartite)
    batch = None if batch is None else positive_integer("batch", batch)

    def gap(x: Array) -> Array:
        e = turn(x - minimizer)
        return 0.5 * xp.sum(curvature * e * e, axis=1)

    def gradient(x: Array) -> Array:
        return back(curvature * turn(x - minimizer))

    hessian = np.diag(h) if q is None else (q * h) @ q.T
    smooth = h if q is None else row_sums(hessian[None], float(h.max()))[0]
    return Problem(
        shape=(dim,),
        start=x0,
        minimizer=minimizer,
        constants={
            **pieces.constants,
            **network_constants(net),
            **norms("L", smooth, "1", "inf"),
            **distances(x0 - minimizer),
            "M": batch or m * n,
            "Delta_0": to_host(gap(x0)),
        },
        gap=gap,
        gradient=gradient,
        sample=pooled_sample(parts, batch) if batch else lambda x, draw: gradient(x),
        vectors={"L": asarray(smooth)},
        capabilities={
            "network": net,
            "finite_sum": parts,
            "pooled_coordinates": PooledCoordinates(h, pieces.counts, pieces.at_minimizer, to_host(error[0, ...])),
            "hessian": lambda: hessian,
            "spectrum": h,
            "eigenbasis": turn,
            "gradient_noise": pieces.noise(batch),
        },
        row_elements=m * (n + 2 * dim),
    )


class _Pieces(NamedTuple):
    """``h``: (d,). ``direction``: k of each component, ``offset``: c - 1 of each, (m, n)."""

    h: Floats
    direction: NDArray[np.int64]
    offset: Floats

    @property
    def smoothness(self) -> Floats:
        """L_ij = d h_k, (m, n)."""
        return np.asarray(len(self.h) * self.h[self.direction])

    def of(self, agent: int) -> _Pieces:
        """What this agent holds, and no view of the rest."""
        return self._replace(direction=self.direction[[agent]], offset=self.offset[[agent]])

    def by_direction(self, values: Floats | float) -> Floats:
        """Sums of ``values`` over the components of agent i and direction k, (m, d)."""
        m, d = len(self.direction), len(self.h)
        cells = self.direction + d * np.arange(m)[:, None]
        sums = np.bincount(cells.ravel(), np.broadcast_to(values, cells.shape).ravel(), m * d)
        return sums.astype(np.float64).reshape(m, d)

    @property
    def counts(self) -> Floats:
        return self.by_direction(1.0)

    @property
    def at_minimizer(self) -> Floats:
        """grad f_i(x*) along the q_k, (m, d)."""
        return np.asarray(-len(self.h) * self.h / self.direction.shape[1] * self.by_direction(self.offset))

    @property
    def local_curvatures(self) -> Floats:
        """The eigenvalues d h_k n_ik/n of the Hessians of the f_i, (m, d)."""
        return np.asarray(len(self.h) * self.h * self.counts / self.direction.shape[1])

    @property
    def constants(self) -> dict[str, float]:
        local = self.local_curvatures
        return {
            **pool_constants(self.smoothness, float(self.h.max()), float(self.h.min()), float(local.max()), float(local.min())),
            "lambda_min": float(self.h.min()),
            "trace_H": float(self.h.sum()),
            "dim": len(self.h),
            "G_star": float(np.linalg.norm(self.at_minimizer)),
        }

    def noise(self, batch: int | None) -> GradientNoise:
        """Of ``batch`` pieces: a sum over those of direction k, which is each of them with chance 1/d."""
        if batch is None:
            return GradientNoise(np.zeros_like(self.h))
        d = len(self.h)
        spread = self.by_direction(self.offset**2).sum(axis=0) / self.counts.sum(axis=0)
        return GradientNoise(d * self.h**2 * spread / batch, (d - 1) * self.h**2 / batch)


# ------------------------------------------------------------------------------------------------ the pool and its holders
def _curvatures(law: str | Sequence[float], dim: int, kappa: float, draws: Draws) -> Floats:
    if not isinstance(law, str):
        h = vector("spectrum", law, dim)
        if h.min() <= 0:
            raise TheorysimError(f"spectrum holds {h.min():g}, but f must be strongly convex; give numbers above 0")
        return h
    if positive("kappa", kappa) < 1:
        raise TheorysimError(f"kappa={kappa} is no condition number; give a number of at least 1")
    name = {"two": "two_value", "log": "log"}[one_of("spectrum", law, ("two", "log"))]
    return spectrum_law(name, dim, draws, kappa=kappa, head=1)


def _pool(kind: str, m: int, n: int, dim: int, draws: Draws) -> Floats:
    """The offsets c - 1, centred in every direction, (d, R)."""
    if (m * n) % dim:
        raise TheorysimError(f"dim={dim} does not divide the m n = {m * n} components; choose m, n or dim so that it does")
    size = m * n // dim
    trend = np.broadcast_to(2 * ((2 * np.arange(size) + 1) / (2 * size)) ** 2, (dim, size))
    if one_of("pool", kind, ("deterministic", "random")) == "random":
        trend = trend + replace(draws, backend=CPU).shared_normal(Stream.INSTANCE, _OFFSETS, (dim, size))
    return np.asarray(trend - trend.mean(axis=1, keepdims=True))


def _holders(placement: str, m: int, n: int, dim: int) -> NDArray[np.int64]:
    """The agent of component (k, r), (d, R)."""
    size = m * n // dim
    number = np.arange(dim * size).reshape(dim, size)
    if one_of("placement", placement, ("iid", "sorted")) == "sorted":
        return number // n
    if n % dim:
        raise TheorysimError(f"placement='iid' with dim={dim} and n={n}: dim must divide n; take 'sorted', or another n or dim")
    return number % size * dim // n


def _pieces(h: Floats, offsets: Floats, holders: NDArray[np.int64]) -> _Pieces:
    """A placement only permutes: every component keeps its direction and its offset."""
    m = int(holders.max()) + 1
    order = np.argsort(holders.ravel(), kind="stable").reshape(m, -1)
    return _Pieces(h, order // offsets.shape[1], offsets.ravel()[order])


def _start(law: str | Sequence[float], dim: int, draws: Draws, distance: float) -> Array:
    """x_0 - x* along the q_k, (rows, d)."""
    if law in ("zeros", "minimizer"):
        xp, value = draws.backend.xp, -1.0 if law == "zeros" else 0.0
        return xp.full((len(draws.runs), dim), value, dtype=xp.float64, device=draws.backend.device)
    return start_error(law, dim, draws, distance=distance)


# ------------------------------------------------------------------------------------------------ what agents ask for
def _finite_sum(pieces: _Pieces, q: Floats | None, minimizer: Array, draws: Draws) -> FiniteSum:
    def share(agent: int) -> Gradients:
        return _gradients(pieces.of(agent), q, minimizer, draws)

    return finite_sum(*_gradients(pieces, q, minimizer, draws), pieces.smoothness, draws, share)


def _gradients(pieces: _Pieces, q: Floats | None, minimizer: Array, draws: Draws) -> Gradients:
    asarray, (turn, back) = draws.backend.asarray, _turns_of_agents(q, draws.backend)
    curvature, at_minimizer = asarray(pieces.local_curvatures), asarray(pieces.at_minimizer)
    scale, d = asarray(len(pieces.h) * pieces.h), len(pieces.h)

    @functools.cache
    def table() -> Array:
        """Which direction a component has, and its offset there: (m, n, 2 d)."""
        which = np.equal(pieces.direction[:, :, None], np.arange(d)).astype(np.float64)
        return asarray(np.concatenate([which, which * pieces.offset[:, :, None]], axis=2))

    def local_gradient(x: Array) -> Array:
        return back(curvature * turn(x - minimizer) + at_minimizer)

    def weighted_gradient(x: Array, weights: Array) -> Array:
        sums = (weights[:, :, None, :] @ table())[:, :, 0, :]
        return back(scale * (sums[:, :, :d] * turn(x - minimizer) - sums[:, :, d:]))

    return local_gradient, weighted_gradient


def _turns_of_agents(q: Floats | None, backend: Backend) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """Turns into the basis of the q_k and back, of (rows, m, d)."""

    def each(turn: Callable[[Array], Array]) -> Callable[[Array], Array]:
        return lambda e: namespace(e).reshape(turn(namespace(e).reshape(e, (-1, e.shape[-1]))), e.shape)

    turn, back = turns(q, backend)
    return each(turn), each(back)
