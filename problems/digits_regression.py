"""Regression of ten classes on images of digits: W is one matrix, a column per class; multinomial logistic or least squares."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from theorysim.backend import to_host
from theorysim.matrix_functions import transposed
from theorysim.model import Array, Draw, Problem, TheorysimError
from theorysim.noise import Draws
from theorysim.problems._constants import distances, norms
from theorysim.problems._datasets import Floats
from theorysim.problems._digits import CLASSES, Images, images, second_moment
from theorysim.problems._matrix_start import start_matrix
from theorysim.problems._softmax import chances, divergence, minimize
from theorysim.registry import register_problem
from theorysim.validation import non_negative, one_of, positive, positive_integer

LOSSES = ("softmax", "squared")

Function = Callable[[Array], Array]


@register_problem
def digits_regression(
    draws: Draws,
    loss: str = "softmax",
    samples: int | None = None,
    pool: int = 1,
    ridge: float = 1e-2,
    batch: int | None = None,
    start: str | Sequence[Sequence[float]] = "zeros",
    distance: float = 1.0,
) -> Problem:
    """Handwritten digits: W is m x 10 with m = (8/pool)^2 pixels, convex, matrix-smooth with L from the data.

    A (samples, m) holds the pixels in [0, 1], Y the classes, one-hot. ``"softmax"``: f(W) = mean of log sum_k e^z_k - z_y over
    the rows z of A W, plus ridge/2 ‖W‖_F^2. ``"squared"``: f(W) = ‖A W - Y‖_F^2/(2 samples) + ridge/2 ‖W‖_F^2.
    ``samples``: how many to take from the front; None: all 1797. ``pool``: features are means over pool x pixels each way (1, 2
    or 4). ``batch``: size M of a minibatch drawn with replacement; None: exact gradients. ``start``: W_1 over ``distance``,
    ``"zeros"``, rows of numbers, or a law of _matrix_start.start_matrix.

    Squared: the column-stacked Hessian is 10 equal diagonal blocks L = A'A/N + ridge I. Softmax: diag(p) - pp' <= I/2 for all
    chances p, so L = A'A/(2N) + ridge I. There one sample's gradient is a(p - y)' with ‖p - y‖^2 <= 2, so the noise of a
    minibatch has E N N' <= V^2/M everywhere, V = (2 A'A/N)^{1/2}; for the squared loss there is no such bound, and none declared.

    Constants: L_nuclearnorm, L_opnorm, lambda_max, mu = ridge, trace_H, L_1norm, L_infnorm and l_1norm from the row sums of L
    (diag(l) >= L), M, samples, m, n, and per row D_op_0, D_2_0, D_inf_0, D_row_0, Delta_0; where there is a bound of the noise
    V_nuclearnorm, V_opnorm, sigma_1norm, sigma_2norm, sigma_row_1norm. Vectors: L and sigma, (m, 10). Capabilities:
    left_smoothness, left_noise, hessian (an upper bound for softmax: (I - 11'/10)/2 in place of I/2, plus the ridge).
    W* is a least-squares solution or found by Newton's method. Raises TheorysimError for softmax without ridge: W* may not exist.
    """
    ridge = non_negative("ridge", ridge)
    if one_of("loss", loss, LOSSES) == "softmax" and ridge == 0:
        raise TheorysimError("ridge=0 is not allowed with softmax: separable classes have no minimiser; give ridge=1e-3 or so")
    batch = None if batch is None else positive_integer("batch", batch)
    known = _reference(loss, samples, pool, ridge)
    shape, count = known.minimizer.shape, len(known.data.features)
    w1, minimizer = _start(start, shape, draws, distance), draws.backend.asarray(known.minimizer)
    gap, gradient = (_softmax if loss == "softmax" else _squared)(known, draws)
    stated, noise = _smooth(known), _noise(known, batch)
    constants = {"M": batch or count, "samples": count, "m": shape[0], "n": shape[1], "Delta_0": to_host(gap(w1))}
    return Problem(
        shape=shape,
        start=w1,
        minimizer=minimizer,
        constants={**stated.constants, **noise.constants, **distances(w1 - minimizer), **constants},
        gap=gap,
        gradient=gradient,
        sample=_minibatches(known, batch, draws) if batch else lambda w, draw: gradient(w),
        vectors={name: draws.backend.asarray(values) for name, values in {**stated.vectors, **noise.vectors}.items()},
        capabilities={**stated.capabilities, **noise.capabilities},
        row_elements=max(count * CLASSES if loss == "softmax" else 0, (batch or 0) * shape[0]),
    )


class _Reference(NamedTuple):
    """``moment``: A'A/N, (m, m). ``minimizer``: W*, (m, 10). All on the host."""

    loss: str
    data: Images
    ridge: float
    moment: Floats
    minimizer: Floats

    @property
    def left(self) -> Floats:
        """L with I (x) L >= Hessian, (m, m)."""
        factor = 1.0 if self.loss == "squared" else 0.5
        return np.asarray(factor * self.moment + self.ridge * np.eye(len(self.moment)))


@functools.lru_cache(maxsize=16)
def _reference(loss: str, samples: int | None, pool: int, ridge: float) -> _Reference:
    data = images(samples, pool)
    moment = second_moment(data.features)
    if loss == "softmax":
        return _Reference(loss, data, ridge, moment, minimize(data, ridge))
    count, m = data.features.shape
    stacked = np.vstack([data.features, np.sqrt(count * ridge) * np.eye(m)])  # its condition is only the root of that of A'A
    target = np.vstack([data.classes, np.zeros((m, CLASSES))])
    return _Reference(loss, data, ridge, moment, np.linalg.lstsq(stacked, target, rcond=None)[0])


def _start(law: str | Sequence[Sequence[float]], shape: tuple[int, int], draws: Draws, distance: float) -> Array:
    xp = draws.backend.xp
    if law == "zeros":
        return xp.zeros((len(draws.runs), *shape), dtype=xp.float64, device=draws.backend.device)
    return positive("distance", distance) * start_matrix(law, shape, draws)


# ------------------------------------------------------------------------------------------------ the two losses
def _squared(known: _Reference, draws: Draws) -> tuple[Function, Function]:
    """Gap and gradient of a quadratic, from W* on: both are exact to rounding however near W is."""
    xp, minimizer = draws.backend.xp, draws.backend.asarray(known.minimizer)
    hessian = draws.backend.asarray(known.left)

    def gradient(w: Array) -> Array:
        return hessian @ (w - minimizer)

    return (lambda w: 0.5 * xp.sum((w - minimizer) * gradient(w), axis=(1, 2))), gradient


def _softmax(known: _Reference, draws: Draws) -> tuple[Function, Function]:
    xp, asarray, ridge = draws.backend.xp, draws.backend.asarray, known.ridge
    data, minimizer = known.data.placed(draws), asarray(known.minimizer)
    count, across = data.features.shape[0], asarray(known.data.features.T.copy())
    best = asarray(np.asarray(chances(known.data.features @ known.minimizer)))

    def gap(w: Array) -> Array:
        error = w - minimizer
        loss = xp.mean(divergence(data.features @ error, best), axis=1)
        return loss + 0.5 * ridge * xp.sum(error * error, axis=(1, 2))

    def gradient(w: Array) -> Array:
        return across @ (chances(data.features @ w) - data.classes) / count + ridge * w

    return gap, gradient


def _minibatches(known: _Reference, batch: int, draws: Draws) -> Callable[[Array, Draw], Array]:
    """The gradient on ``batch`` samples drawn with replacement."""
    data, answer = known.data.placed(draws), chances if known.loss == "softmax" else lambda scores: scores

    def sample(w: Array, draw: Draw) -> Array:
        features, classes = data.drawn(batch, draws, draw)
        return transposed(features) @ (answer(features @ w) - classes) / batch + known.ridge * w

    return sample


# ------------------------------------------------------------------------------------------------ what is stated of them
class _Stated(NamedTuple):
    """Constants, vectors and capabilities of an instance, on the host."""

    constants: dict[str, float]
    vectors: dict[str, Floats]
    capabilities: dict[str, Callable[[], Floats]]


def _smooth(known: _Reference) -> _Stated:
    left, m = known.left, len(known.moment)
    rows = np.abs(left).sum(axis=1)
    table = np.tile(rows[:, None], CLASSES)
    # softmax scores are told apart by differences only, so no curvature lies along equal changes of all classes
    across = np.eye(CLASSES) if known.loss == "squared" else 0.5 * (np.eye(CLASSES) - 1 / CLASSES)
    values = np.linalg.eigvalsh(left)
    constants = {
        "L_nuclearnorm": float(np.trace(left)),
        "L_opnorm": float(values[-1]),
        "lambda_max": float(values[-1]),
        "mu": known.ridge,
        "trace_H": float(np.trace(known.moment) * np.trace(across) + known.ridge * m * CLASSES),
        "l_1norm": float(rows.sum()),
        **norms("L", table.ravel(), "1", "inf"),
    }
    capabilities = {
        "left_smoothness": lambda: left,
        "hessian": lambda: np.kron(known.moment, across) + known.ridge * np.eye(m * CLASSES),
    }
    return _Stated(constants, {"L": table}, capabilities)


def _noise(known: _Reference, batch: int | None) -> _Stated:
    """The bound of the noise at batch 1: zero for exact gradients, none for minibatches of the squared loss."""
    if batch and known.loss == "squared":
        return _Stated({}, {}, {})
    values, basis = np.linalg.eigh(2 * known.moment)
    roots = np.sqrt(np.maximum(values, 0.0)) if batch else np.zeros(len(values))
    deviation = np.sqrt(known.moment.diagonal()) if batch else np.zeros(len(values))
    table = np.tile(deviation[:, None], CLASSES)  # |p_k - y_k| <= 1 in every entry, ‖p - y‖ <= sqrt(2) in a row
    constants = {
        "V_nuclearnorm": float(roots.sum()),
        "V_opnorm": float(roots.max()),
        "sigma_row_1norm": float(np.sqrt(2) * deviation.sum()),
        **norms("sigma", table.ravel(), "1", "2"),
    }
    return _Stated(constants, {"sigma": table}, {"left_noise": lambda: (basis * roots) @ basis.T})
