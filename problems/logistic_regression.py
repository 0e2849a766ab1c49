"""Logistic regression on data: f(w) = mean log(1 + exp(-y x'w)) + ridge/2 |w|^2."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from theorysim.backend import to_host
from theorysim.laws import start_error
from theorysim.model import Array, Draw, Problem
from theorysim.noise import Draws, Stream
from theorysim.problems._constants import distances, norms
from theorysim.problems._datasets import Floats, Source, load, source
from theorysim.problems._linear import times
from theorysim.problems._logistic import chance_of_error, divergence, minimize
from theorysim.registry import register_problem
from theorysim.validation import non_negative, positive_integer


@register_problem
def logistic_regression(
    draws: Draws,
    data: str = "census",
    samples: int | None = None,
    positive: float | Sequence[float] | None = None,
    intercept: bool = False,
    ridge: float = 1e-3,
    batch: int | None = None,
    start: str | Sequence[float] = "zeros",
    distance: float = 1.0,
) -> Problem:
    """Logistic regression, convex, anisotropically smooth with L from the data, with minibatches drawn with replacement.

    ``data``: ``"census"`` (synthetic: 4781 samples of 14 one-hot groups, dim 123, drawn from the seed), ``"breast_cancer"`` or
    ``"digits"`` (from scikit-learn), all with features in [0, 1], see _datasets.load; or the path of a LIBSVM file.
    ``samples``: how many to draw, or to take from the front; None: all. ``positive``: the label or labels that count as +1
    (default: the larger of two; the odd digits). ``intercept``: add a column of ones. ``batch``: size M of a minibatch;
    None: exact gradients. ``start``: the point w_1, over ``distance``: ``"zeros"``, a list or a law of laws.start_error.

    The Hessian is at most H = X'X/(4N) + ridge I. L_j = sum_k |H_jk|; for non-negative X that is
    sum_i x_ij |x_i|_1 / (4N) + ridge, with the smallest possible L_1norm (q^2/4 for q one-hot groups and no ridge).
    sigma_j^2 = mean_i x_ij^2 bounds the variance of one sample's gradient everywhere; it is 0 for exact gradients.

    Constants: L_1norm, L_infnorm, lambda_max and trace_H of H, mu = ridge, sigma_1norm, sigma_2norm, M, samples, dim, and per
    row D_inf_0, D_2_0, Delta_0. Vectors: L, sigma. w* is found by Newton's method; for ridge=0 it is the one nearest to 0.
    Raises TheorysimError where the data cannot be read or have no w* (classes that a hyperplane separates need a ridge).
    """
    ridge = non_negative("ridge", ridge)
    batch = None if batch is None else positive_integer("batch", batch)
    known = _reference(source(data, samples, positive, intercept, draws.seed), ridge)
    count, dim = known.signed.shape
    xp, asarray = draws.backend.xp, draws.backend.asarray
    signed, transposed, minimizer = asarray(known.signed), asarray(known.signed.T.copy()), asarray(known.minimizer)
    margins = known.signed @ known.minimizer
    side, least = asarray(np.where(margins < 0, 1.0, -1.0)), chance_of_error(asarray(np.abs(margins)))
    w1 = _start(start, dim, draws, distance)

    def gap(x: Array) -> Array:
        error = x - minimizer
        loss = xp.mean(divergence(side * times(error, transposed), least), axis=1)
        return loss + 0.5 * ridge * xp.sum(error * error, axis=1)

    def gradient(x: Array) -> Array:
        return ridge * x - times(chance_of_error(times(x, transposed)), signed) / count

    smooth = np.abs(known.hessian).sum(axis=1)
    sigma = np.sqrt((known.signed**2).mean(axis=0)) if batch else np.zeros(dim)
    constants = {
        **norms("L", smooth, "1", "inf"),
        **norms("sigma", sigma, "1", "2"),
        **distances(w1 - minimizer),
        "lambda_max": known.lambda_max,
        "trace_H": float(np.trace(known.hessian)),
        "mu": ridge,
        "M": batch or count,
        "samples": count,
        "dim": dim,
        "Delta_0": to_host(gap(w1)),
    }
    return Problem(
        shape=(dim,),
        start=w1,
        minimizer=minimizer,
        constants=constants,
        gap=gap,
        gradient=gradient,
        sample=_minibatches(signed, ridge, batch, draws) if batch else lambda x, draw: gradient(x),
        vectors={"L": asarray(smooth), "sigma": asarray(sigma)},
        capabilities={"hessian": lambda: known.hessian},
        row_elements=count,
    )


class _Reference(NamedTuple):
    """``signed``: features times label, (samples, dim). ``minimizer``: (dim,). ``hessian``: the bound H, (dim, dim)."""

    signed: Floats
    minimizer: Floats
    hessian: Floats
    lambda_max: float


@functools.lru_cache(maxsize=8)
def _reference(where: Source, ridge: float) -> _Reference:
    features, labels = load(where)
    signed = features * labels[:, None]
    hessian = features.T @ features / (4 * len(labels)) + ridge * np.eye(features.shape[1])
    return _Reference(signed, minimize(signed, ridge), hessian, float(np.linalg.eigvalsh(hessian)[-1]))


def _start(law: str | Sequence[float], dim: int, draws: Draws, distance: float) -> Array:
    xp = draws.backend.xp
    if law == "zeros":
        return xp.zeros((len(draws.runs), dim), dtype=xp.float64, device=draws.backend.device)
    return start_error(law, dim, draws, distance=distance)


def _minibatches(signed: Array, ridge: float, batch: int, draws: Draws) -> Callable[[Array, Draw], Array]:
    """The gradient on ``batch`` samples drawn with replacement, so that its variance is exactly that of one sample / batch."""
    xp = draws.backend.xp
    count, dim = signed.shape

    def sample(x: Array, draw: Draw) -> Array:
        chosen = draws.integers(Stream.BATCH, draw, (batch,), count)
        rows = xp.reshape(xp.take(signed, xp.reshape(chosen, (-1,)), axis=0), (-1, batch, dim))
        wrong = chance_of_error(rows @ x[..., None])
        return ridge * x - (xp.matrix_transpose(wrong) @ rows)[:, 0, :] / batch

    return sample
