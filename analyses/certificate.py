"""Does an instance satisfy the assumptions it declares? Every constant is measured again, on the instance itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np

from theorysim.analyses._audit import RELATIVE, STANDARD_ERRORS, largest, ratio, upper
from theorysim.analyses._matrix_certificate import left_override, matrix_constants, matrix_parts
from theorysim.analyses._probes import Floats, Pairs, Probe
from theorysim.analyses.band import band
from theorysim.backend import to_host
from theorysim.findings import Finding, Table, together
from theorysim.model import Array, Problem, TheorysimError
from theorysim.registry import register_analysis

_DERIVATIVE = 1e-6  # relative error of the integral of a gradient with a kink; without one it is below 1e-8
_NODES = 4
_STATIONARY = 1e-10  # of the gradient at the start
_EIGENVALUE = 1e-12  # of the largest L_j
_DRAWS = 2048
_NUMBERS = 2**24  # of noise that are looked at, at most
_LARGEST_MATRIX = 2048  # coordinates up to which eigenvalues of the whole Hessian are computed


@register_analysis
def certificate(
    problem: Problem,
    *,
    L: Array | Sequence[float] | None = None,
    left: Array | Sequence[Sequence[float]] | None = None,
    label: str = "assumptions of the instance",
) -> Finding:
    """VIOLATED if the instance contradicts one of its declared constants; each is one part, with the measured number.

    Checked where declared: the gradient against differences of the gap; zero gap and gradient at w*, gap >= 0; anisotropic
    smoothness (A1: diag(L) - H has no negative eigenvalue, and the quadratic upper bound on sampled and on adversarial pairs);
    lambda_max and mu; (L_0, L_1)-smoothness for steps up to 1 / L_1 (A3); noise without bias and with variances at most
    sigma_j^2 / M (A2), within 5 standard errors; norms and distances. On m x n matrices: left_smoothness L (I_n (x) L - H has no
    negative eigenvalue, the quadratic upper bound on pairs, tr(grad' L^+ grad) <= 2 gap); left_noise V (E N N' <= V^2 / M);
    left_gradient B (tr(B^-1 E G G') <= tr B). ``L``: a vector to be certified in place of the problem's own, e.g. the spectrum
    before a rotation; ``left``: likewise a symmetric m x m matrix. It says that no contradiction was found: pairs are sampled.
    The answers of an ``adversary`` estimate no gradient and are not looked at.
    Raises TheorysimError for an L or a left of the wrong shape.
    """
    declared = {name: to_host(vector).reshape(-1) for name, vector in problem.vectors.items()}
    vectors = declared | ({} if L is None else {"L": _override(L, problem)})
    probe = Probe(problem, ratio(np.ones_like(vectors["L_1"]), vectors["L_1"]) if "L_1" in vectors else inf)
    pairs, hessian = probe.pairs(), _hessian(problem)
    parts = [*_differential(probe), *_minimum(probe), *_smoothness(probe, pairs, vectors, hessian)]
    if hessian is not None:
        parts += _eigenvalues(hessian, pairs, vectors.get("L"), problem.constants.get("lambda_max"))
    smooth, sigma = None if left is None else left_override(left, problem), declared.get("sigma")
    noise = None if problem.capabilities.get("adversary") else probe.noise(_draws(probe, sigma))
    if noise is not None:
        parts += _noise(noise, sigma, float(problem.constants.get("M", 1)))
    parts += matrix_parts(probe, pairs, hessian, noise, smooth)
    return together(*parts, _constants(probe, declared, hessian), label=label)


def _override(vector: Array | Sequence[float], problem: Problem) -> Floats:
    values = np.asarray(to_host(vector) if hasattr(vector, "shape") else vector, dtype=float).reshape(-1)
    if len(values) != int(np.prod(problem.shape)):
        raise TheorysimError(
            f"L holds {len(values)} values but an iterate has {int(np.prod(problem.shape))}; give one per coordinate"
        )
    return values


# ------------------------------------------------------------------------------------------------ gap and gradient
def _differential(probe: Probe) -> list[Finding]:
    """The gap's increment over a short segment is the integral of the gradient along it. The integral, by Gauss and Legendre,
    does not mind a kink of the gradient, which differences of the gap would."""
    errors, (places, shares) = [], np.polynomial.legendre.leggauss(_NODES)
    for x in probe.points():
        half = 1e-5 * min(probe.spread, float(np.min(probe.reach))) * probe.random.standard_normal(x.shape)
        begin, end = x - half, x + half
        step = end - begin  # as rounded, which matters for a small step far from the origin
        slopes = [w / 2 * probe.gradient(begin + (1 + s) / 2 * step) * step for s, w in zip(places, shares, strict=True)]
        slope = np.sum(slopes, axis=0)
        rise = probe.gap(end) - probe.gap(begin)
        errors.append(np.abs(rise - slope.sum(axis=1)) / np.abs(slope).sum(axis=1))
    return [band(largest(errors), -inf, _DERIVATIVE, label="the gradient is the derivative of the gap (relative error)")]


def _minimum(probe: Probe) -> list[Finding]:
    gaps = [probe.gap(x) for x in probe.points()]
    parts = [band(float(np.min(gaps)), 0.0, inf, label="the gap is not negative")]
    if probe.problem.minimizer is None:
        return parts
    steepest = float(np.abs(probe.gradient(probe.start)).max()) or 1.0
    flat = float(np.abs(probe.gradient(probe.centre)).max()) / steepest
    least = float(np.abs(probe.gap(probe.centre)).max()) / (float(gaps[0].max()) or 1.0)
    return [
        *parts,
        band(flat, 0.0, _STATIONARY, label="zero gradient at w* (relative to the start)"),
        band(least, 0.0, _EIGENVALUE, label="zero gap at w* (relative to the start)"),
    ]


# ------------------------------------------------------------------------------------------------ curvature
def _smoothness(probe: Probe, pairs: Pairs, vectors: dict[str, Floats], hessian: Floats | None) -> list[Finding]:
    """excess <= 1/2 sum_j w_j h_j^2 with the w of L, of (L_0, L_1) and of lambda_max; excess >= mu/2 |h|^2."""
    constants = probe.problem.constants
    weights: dict[str, Callable[[Floats], Floats]] = {}
    if "L" in vectors:
        weights["anisotropic smoothness"] = lambda gradient: np.broadcast_to(vectors["L"], gradient.shape)
    if "L_0" in vectors and "L_1" in vectors:
        weights["(L_0, L_1)-smoothness"] = lambda gradient: vectors["L_0"] + vectors["L_1"] * np.abs(gradient)
    if "lambda_max" in constants:
        weights["lambda_max"] = lambda gradient: np.full(gradient.shape, float(constants["lambda_max"]))
    parts = []
    for name, weight in weights.items():
        all_pairs = pairs.joined(probe.worst_pairs(weight))
        parts.append(upper(name, all_pairs, (weight(all_pairs.gradient) * all_pairs.step**2).sum(axis=-1)))
    return parts + [_lower(name, float(constants[name]), pairs, hessian) for name in ("mu", "lambda_min") if name in constants]


def _lower(name: str, value: float, pairs: Pairs, hessian: Floats | None) -> Finding:
    step = pairs.step
    if name == "lambda_min" and value > 0 and hessian is not None:
        # the smallest eigenvalue above 0 is a bound on range(H) only
        values, vectors = np.linalg.eigh(hessian)
        step = step @ vectors[:, values > _EIGENVALUE * values[-1]]
    squares, whole = (step**2).sum(axis=-1), (pairs.step**2).sum(axis=-1)
    curvature = ratio(pairs.excess + pairs.slack, 0.5 * squares)[squares > _EIGENVALUE * whole]
    label = f"{name} on pairs (least curvature)"
    return band(float(np.min(curvature)), value * (1 - RELATIVE), inf, label=label, predicted=value)


def _hessian(problem: Problem) -> Floats | None:
    small = int(np.prod(problem.shape)) <= _LARGEST_MATRIX
    return np.asarray(problem.capabilities["hessian"]()) if small and "hessian" in problem.capabilities else None


def _eigenvalues(hessian: Floats, pairs: Pairs, smooth: Floats | None, lambda_max: float | None) -> list[Finding]:
    """The declared bound H on the Hessian: is it one, and do diag(L) and lambda_max bound it?"""
    top = float(np.linalg.eigvalsh(hessian)[-1])
    # in a direction without curvature rounding is left, of the product and of the excess
    form = ((pairs.step @ hessian) * pairs.step).sum(axis=-1) + _EIGENVALUE * top * (pairs.step**2).sum(axis=-1)
    parts = [upper("the Hessian bound", pairs, form)]
    if smooth is not None:
        least = float(np.linalg.eigvalsh(np.diag(smooth) - hessian)[0])
        floor = -_EIGENVALUE * max(float(smooth.max()), top)
        parts.append(band(least, floor, inf, label="anisotropic smoothness: least eigenvalue of diag(L) - H", predicted=0.0))
    if lambda_max is not None:
        limit = float(lambda_max) * (1 + RELATIVE)
        parts.append(band(top, -inf, limit, label="lambda_max: largest eigenvalue of H", predicted=float(lambda_max)))
    return parts


# ------------------------------------------------------------------------------------------------ noise
def _draws(probe: Probe, sigma: Floats | None) -> int:
    """How many stochastic gradients of every row to look at; few where they are declared to be exact."""
    quiet = sigma is not None and not sigma.any()
    draws = 4 if quiet else min(_DRAWS, _NUMBERS // int(probe.start.shape[1]))
    return max(2, draws // int(probe.rows))


def _noise(noise: Floats, sigma: Floats | None, batch: float) -> list[Finding]:
    if sigma is not None and not sigma.any():
        return [band(float(np.abs(noise).max()), 0.0, 0.0, label="stochastic gradients are exact")]
    mean, count = noise.mean(axis=0), len(noise)
    squares = (noise - mean) ** 2
    variance, error = squares.mean(axis=0), squares.std(axis=0) / np.sqrt(count)
    allowed = variance if sigma is None else sigma**2 / batch
    # rare large noise is missing from a sample variance, hence the declared one where it is larger
    bias = ratio(np.abs(mean), np.sqrt(np.maximum(allowed, variance) / count))
    parts = [band(largest(bias), 0.0, STANDARD_ERRORS, label="noise without bias (largest mean in standard errors)")]
    if sigma is not None:
        above = ratio(variance - allowed * (1 + RELATIVE), error)
        used = {"variance / bound, over all coordinates": float(variance.sum() / allowed.sum())}
        label = "noise variances at most sigma^2 / M (largest excess in standard errors)"
        parts.append(band(largest(above), -inf, STANDARD_ERRORS, label=label, details=used))
    return parts


# ------------------------------------------------------------------------------------------------ constants
def _constants(probe: Probe, vectors: dict[str, Floats], hessian: Floats | None) -> Finding:
    """Every declared number that is a norm, a distance, a trace or a gap, computed again."""
    measured = _remeasured(probe, vectors, hessian)
    rows, errors = [], [0.0]
    for name in sorted(set(measured) & set(probe.problem.constants)):
        declared, again = np.broadcast_arrays(np.asarray(probe.problem.constants[name], dtype=float), measured[name])
        scale = np.maximum(np.maximum(np.abs(declared), np.abs(again)), np.finfo(float).tiny)
        errors.append(float(np.max(np.abs(declared - again) / scale)))
        rows.append((name, float(declared.flat[0]), float(again.flat[0]), errors[-1]))
    table = Table(
        "constants, declared and measured (first row)", ("name", "declared", "measured", "largest relative error"), tuple(rows)
    )
    worst = rows[int(np.argmax(errors[1:]))][0] if rows else "none"
    found = band(
        largest(errors), 0.0, RELATIVE, label="constants are what they name (largest relative error)", details={"worst": worst}
    )
    return replace(found, tables=(table,))


def _remeasured(probe: Probe, vectors: dict[str, Floats], hessian: Floats | None) -> dict[str, Any]:
    orders = {"1": 1, "2": 2, "inf": inf}
    measured: dict[str, Any] = {
        f"{name}_{word}norm": np.linalg.norm(v, order) for name, v in vectors.items() for word, order in orders.items()
    }
    measured |= {"dim": probe.start.shape[1], "Delta_0": probe.gap(probe.start)}
    if probe.problem.minimizer is not None:
        error = probe.start - probe.centre
        measured |= {f"D_{word}_0": np.linalg.norm(error, order, axis=1) for word, order in orders.items()}
    if hessian is not None:
        measured["trace_H"] = np.trace(hessian)
    return measured | (matrix_constants(probe) if len(probe.problem.shape) == 2 else {})
