"""Logistic and ridge regression on data that agents hold in equal parts, f = mean of N = m n losses with a ridge."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from theorysim.agents import FiniteSum
from theorysim.backend import CPU, namespace, to_host
from theorysim.laws import start_error
from theorysim.model import Array, Draw, Problem, TheorysimError
from theorysim.noise import Draws, Stream
from theorysim.problems._constants import distances, norms
from theorysim.problems._datasets import Source, load, source
from theorysim.problems._finite_sum import Gradients, finite_sum, pool_constants, pooled_sample
from theorysim.problems._graphs import Graph
from theorysim.problems._linear import times
from theorysim.problems._logistic import chance_of_error, divergence, minimize
from theorysim.problems._network import Weights, network, network_constants
from theorysim.problems._row_sums import row_sums
from theorysim.registry import register_problem
from theorysim.validation import non_negative, one_of, positive_integer

Floats = NDArray[np.float64]

_EACH = 32  # synthetic samples of an agent
_CENTRES, _ROWS, _TRUTH, _LABELS, _ORDER = Draw(2), Draw(3), Draw(4), Draw(5), Draw(6)


@register_problem
def decentralized_regression(
    draws: Draws,
    data: str = "synthetic",
    loss: str = "logistic",
    m: int = 16,
    samples: int | None = None,
    dim: int = 8,
    split: str = "order",
    ridge: float = 1e-3,
    positive: float | Sequence[float] | None = None,
    intercept: bool = False,
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
    """f_ij(x) = phi(a_ij'x, y_ij) + ridge/2 |x|^2 over m agents with n = floor(samples/m) samples each; the rest is left out.

    ``loss``: ``"logistic"`` log(1 + exp(-y a'x)) or ``"squared"`` (a'x - y)^2/2, y = +-1. ``data``: ``"synthetic"``, drawn from
    the seed, ``samples`` (None: 32 m) of ``dim`` features: rows N(0, I/dim) + 2 u_i over their length, u_i uniform on the sphere
    for each agent, y = sign(a'x_true + 0.3 N(0, 1)), x_true ~ N(0, I); or ``samples`` from the front (None: all) of
    ``"breast_cancer"``, ``"digits"`` (odd or even), ``"census"`` or a LIBSVM file, with ``positive`` and ``intercept`` as in
    logistic_regression. ``split``: who holds which of the first m n samples: ``"order"`` blocks as they come (each agent its own,
    if synthetic), ``"iid"`` blocks of a random order, ``"label"`` blocks after sorting by label. ``start``: ``"zeros"``, a list
    or a law of laws.start_error times ``distance``: x_0. ``batch``: components, drawn uniformly from the pool, of a stochastic
    gradient of f; None: it is exact. ``graph`` ... ``allow_bipartite``: see _network.network.

    With A all samples and A_i those of agent i, H = c A'A/N + ridge I, H_i = c A_i'A_i/n + ridge I, c = 1/4 for the logistic loss
    and 1 for the squared one. Constants: m, n, N, dim, M, dropped (samples left out), ridge; L_ij = c |a_ij|^2 + ridge, with
    L_max, L_s, L_s_importance; L_g and L_loc, the largest eigenvalues of H and of all H_i; mu and mu_loc, their smallest ones for
    the squared loss, else ridge; kappa_g, kappa_s, kappa_s_importance, kappa_loc where finite; G_star = ‖(grad f_i(x*))_i‖_F;
    lambda_2, gamma, rho of W; lambda_max = L_g, trace_H, L_1norm, L_infnorm; per row D_inf_0, D_2_0, Delta_0. Vectors: L, as in
    anisotropic_quadratic. Capabilities: network, finite_sum; hessian (H). x* is found by Newton's method, or by least squares.
    Raises TheorysimError where the data cannot be read, have fewer samples than agents, or have no x*.
    """
    m, dim, ridge = positive_integer("m", m), positive_integer("dim", dim), non_negative("ridge", ridge)
    one_of("loss", loss, ("logistic", "squared"))
    one_of("split", split, ("order", "iid", "label"))
    where = _synthetic(m, samples, dim) if data == "synthetic" else source(data, samples, positive, intercept, draws.seed)
    known = _reference(where, m, split, loss, ridge, draws.seed)
    xp, asarray, dim = draws.backend.xp, draws.backend.asarray, len(known.minimizer)
    minimizer, gap, gradient = asarray(known.minimizer), *_functions(known, draws)
    x0 = xp.zeros((len(draws.runs), dim), dtype=xp.float64, device=draws.backend.device)
    if start != "zeros":
        x0 = start_error(start, dim, draws, distance=distance)
    parts = _finite_sum(known, draws)
    net = network(draws, m, graph, weights, lazy, chance, radius, edge_weight, link_loss, changing, allow_bipartite)
    batch = None if batch is None else positive_integer("batch", batch)
    smooth = row_sums(known.hessian[None], known.constants["L_g"])[0]
    return Problem(
        shape=(dim,),
        start=x0,
        minimizer=minimizer,
        constants={
            **known.constants,
            **network_constants(net),
            **norms("L", smooth, "1", "inf"),
            **distances(x0 - minimizer),
            "M": batch or known.constants["N"],
            "Delta_0": to_host(gap(x0)),
        },
        gap=gap,
        gradient=gradient,
        sample=pooled_sample(parts, batch) if batch else lambda x, draw: gradient(x),
        vectors={"L": asarray(smooth)},
        capabilities={"network": net, "finite_sum": parts, "hessian": lambda: known.hessian},
        row_elements=known.features.size // dim + m * dim,
    )


# ------------------------------------------------------------------------------------------------ data
class _Synthetic(NamedTuple):
    agents: int
    samples: int
    dim: int


class _Reference(NamedTuple):
    """``features`` (m, n, d) and ``labels`` (m, n) of the agents; ``minimizer`` (d,), ``hessian`` H (d, d); all on the host."""

    features: Floats
    labels: Floats
    loss: str
    ridge: float
    minimizer: Floats
    hessian: Floats
    constants: dict[str, float]


def _synthetic(m: int, samples: int | None, dim: int) -> _Synthetic:
    return _Synthetic(m, _EACH * m if samples is None else positive_integer("samples", samples), dim)


def _drawn(where: _Synthetic, seed: int) -> tuple[Floats, Floats]:
    """The samples agent by agent, floor(samples/m) each."""
    draws = Draws(CPU, seed, np.empty(0, dtype=np.int64))
    (m, samples, dim), normal = where, functools.partial(draws.shared_normal, Stream.INSTANCE)
    centres = normal(_CENTRES, (m, 1, dim))
    centres = centres / np.linalg.norm(centres, axis=2, keepdims=True)
    rows = (normal(_ROWS, (m, samples // m, dim)) / np.sqrt(dim) + 2 * centres).reshape(-1, dim)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    noise = 0.3 * normal(_LABELS, (len(rows),))
    return rows, np.where(rows @ normal(_TRUTH, (dim,)) + noise >= 0, 1.0, -1.0)


@functools.lru_cache(maxsize=16)
def _reference(where: Source | _Synthetic, m: int, split: str, loss: str, ridge: float, seed: int) -> _Reference:
    total = where.samples if isinstance(where, _Synthetic) else len(load(where)[1])
    if total is None or total < m:
        raise TheorysimError(
            f"m={m} agents share samples={total}; give at least one sample to each: fewer agents or more samples"
        )
    features, labels = _drawn(where, seed) if isinstance(where, _Synthetic) else load(where)
    n = total // m
    order = _order(labels[: m * n], split, seed)
    features, labels = features[order], labels[order]
    minimizer = _minimizer(features, labels, loss, ridge)
    held = features.reshape(m, n, -1)
    hessian, constants = _constants(held, loss, ridge)
    slope = _slope(loss, held @ minimizer, labels.reshape(m, n))
    at_minimizer = (slope[:, None, :] @ held)[:, 0, :] / n + ridge * minimizer
    constants |= {"dropped": total - m * n, "G_star": float(np.linalg.norm(at_minimizer))}
    return _Reference(held, labels.reshape(m, n), loss, ridge, minimizer, hessian, constants)


def _order(labels: Floats, split: str, seed: int) -> NDArray[np.intp]:
    """Which sample is held where, of one and the same pool: (m n,), agent by agent."""
    if split == "order":
        return np.arange(len(labels))
    if split == "label":
        return np.argsort(labels, kind="stable")
    draws = Draws(CPU, seed, np.empty(0, dtype=np.int64))
    return np.argsort(draws.shared_uniform(Stream.INSTANCE, _ORDER, labels.shape), kind="stable")


def _minimizer(features: Floats, labels: Floats, loss: str, ridge: float) -> Floats:
    if loss == "logistic":
        return minimize(features * labels[:, None], ridge)
    size, dim = features.shape
    rows = np.vstack([features / np.sqrt(size), np.sqrt(ridge) * np.eye(dim)])
    return np.asarray(np.linalg.lstsq(rows, np.concatenate([labels / np.sqrt(size), np.zeros(dim)]), rcond=None)[0])


def _constants(held: Floats, loss: str, ridge: float) -> tuple[Floats, dict[str, float]]:
    """H and the constants of the finite sum."""
    curved = 0.25 if loss == "logistic" else 1.0
    own = curved * np.matrix_transpose(held) @ held / held.shape[1] + ridge * np.eye(held.shape[2])
    hessian = own.mean(axis=0)
    values, local = np.linalg.eigvalsh(hessian), np.linalg.eigvalsh(own)
    convex = [ridge, ridge] if loss == "logistic" else [max(float(each.min()), ridge) for each in (values, local)]
    found = pool_constants(_smoothness(held, loss, ridge), float(values[-1]), convex[0], float(local.max()), convex[1])
    return hessian, {**found, "trace_H": float(np.trace(hessian)), "dim": held.shape[2], "ridge": ridge}


def _smoothness(held: Floats, loss: str, ridge: float) -> Floats:
    """L_ij, (m, n)."""
    return np.asarray((0.25 if loss == "logistic" else 1.0) * (held**2).sum(axis=2) + ridge)


# ------------------------------------------------------------------------------------------------ functions
def _slope(loss: str, scores: Array, labels: Array) -> Array:
    """The derivative of the loss in the score a'x."""
    return -labels * chance_of_error(labels * scores) if loss == "logistic" else scores - labels


def _functions(known: _Reference, draws: Draws) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """The gap, as a sum without negative terms, and the gradient, (rows, d) -> (rows,) and (rows, d)."""
    xp, asarray, ridge = draws.backend.xp, draws.backend.asarray, known.ridge
    flat, labels = known.features.reshape(-1, len(known.minimizer)), known.labels.reshape(-1)
    margins = labels * (flat @ known.minimizer)
    rows, columns, y = asarray(flat), asarray(flat.T.copy()), asarray(labels)
    minimizer, side, least = (
        asarray(known.minimizer),
        asarray(np.where(margins < 0, labels, -labels)),
        chance_of_error(asarray(np.abs(margins))),
    )

    def gap(x: Array) -> Array:
        error = x - minimizer
        change = times(error, columns)
        losses = divergence(side * change, least) if known.loss == "logistic" else 0.5 * change * change
        return xp.mean(losses, axis=1) + 0.5 * ridge * xp.sum(error * error, axis=1)

    def gradient(x: Array) -> Array:
        return ridge * x + times(_slope(known.loss, times(x, columns), y), rows) / len(flat)

    return gap, gradient


def _finite_sum(known: _Reference, draws: Draws) -> FiniteSum:
    def gradients(features: Floats, labels: Floats) -> Gradients:
        return _gradients(features, labels, known.loss, known.ridge, draws)

    def share(agent: int) -> Gradients:
        return gradients(known.features[[agent]], known.labels[[agent]])  # by a list: a copy, no view of the rest

    smoothness = _smoothness(known.features, known.loss, known.ridge)
    return finite_sum(*gradients(known.features, known.labels), smoothness, draws, share)


def _gradients(features: Floats, answers: Floats, loss: str, ridge: float, draws: Draws) -> Gradients:
    held, labels = draws.backend.asarray(features), draws.backend.asarray(answers)
    n = answers.shape[1]

    def weighted_gradient(x: Array, weights: Array) -> Array:
        slope = weights * _slope(loss, (held @ x[..., None])[..., 0], labels)
        total = namespace(x).sum(weights, axis=2, keepdims=True)
        return (slope[:, :, None, :] @ held)[:, :, 0, :] + ridge * total * x

    def local_gradient(x: Array) -> Array:
        slope = _slope(loss, (held @ x[..., None])[..., 0], labels)
        return (slope[:, :, None, :] @ held)[:, :, 0, :] / n + ridge * x

    return local_gradient, weighted_gradient
