"""The verdict rule of a rate, on plain arrays: from errors per seed and sweep point to a three-valued verdict.

Everything is linear in y = log(mean error) - log(claimed law) on the grid log(variable); the claim is "y has slope 0".
Several sweep variables make one regression: the slope in one of them is taken with the others held fixed.
Leading axes of ``errors`` are replicates; no function here loops over seeds or replicates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from theorysim.model import TheorysimError
from theorysim.statistics import (
    LEVEL_CONSISTENT,
    LEVEL_VIOLATED,
    TOLERANCE,
    Bools,
    Floats,
    arrange,
    jackknife,
    kish,
    log_means,
    p_above,
)

NAMES = ("theta", "H", "t1", "t2", "t3", "k", "D", "L")


# --------------------------------------------------------------------------------------------- the numbers of a rate
@dataclass(frozen=True)
class Contrasts:
    """``weights`` (8, m) in the order of NAMES, applied to y on the grid log(variable).

    theta, H, t1, t2, t3: least-squares slopes of the whole window, its later half and its thirds. k: coefficient of
    log log(variable) beside 1 and log(variable), "how many log factors". D = -k ``log_drift``: the drift, i.e. the change
    of local slope from the first to the last third. L = theta + D. ``log_slope``: apparent exponent of one log factor.
    """

    weights: Floats
    log_drift: float
    log_slope: float


def contrasts(variable: Floats, others: Floats | None = None) -> Contrasts:
    """The contrasts for sweep values (m,), in any order, in a regression with the ``others`` (q, m) beside it."""
    x = np.log(variable)
    beside = np.vstack([np.ones_like(x), *([] if others is None else np.log(others))])
    first, length = x.min(), np.ptp(x)
    place = (x - first) / length
    parts = [(0.0, 1.0), (1 / 2, 1.0), (0.0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1.0)]
    kept = [(place >= low - TOLERANCE) & (place <= high + TOLERANCE) for low, high in parts]
    slopes = [_weights(x, beside, keep) for keep in kept]
    factor, start = log_factor(x)
    k = _weights(factor, np.vstack([beside, x]), kept[0])
    log_drift = float(1 / (start + length / 6) - 1 / (start + 5 * length / 6))
    drift = -log_drift * k
    return Contrasts(np.stack([*slopes, k, drift, slopes[0] + drift]), log_drift, float(slopes[0] @ factor))


def log_factor(x: Floats) -> tuple[Floats, float]:
    """Log of the log factor (m,) on the grid x = log(variable), and its first value.

    The factor is x itself; for a window that starts below e, where x may be 0, it is 1 + log(variable / first).
    """
    start = max(float(x.min()), 1.0)
    return np.log(x - x.min() + start), start


def _weights(of: Floats, beside: Floats, keep: Bools) -> Floats:
    """What gives, applied to y (m,), the coefficient of ``of`` (m,) beside the rows of ``beside`` (q, m) on the kept points."""
    design = beside[:, keep].T
    rest = of[keep] - design @ np.linalg.lstsq(design, of[keep])[0]
    weights = np.zeros_like(of)
    if not rest @ rest > TOLERANCE**2 * max(1.0, float(of[keep] @ of[keep])):
        return np.full_like(of, np.nan)  # too few points for this coefficient: whatever needs it stays undecided
    weights[keep] = rest / (rest @ rest)
    return weights


@dataclass(frozen=True)
class Estimates:
    """``value`` and jackknife ``error`` by the names of NAMES, ``n_eff``, ``df``: each of the replicates' shape (...)."""

    value: Mapping[str, Floats]
    error: Mapping[str, Floats]
    n_eff: Floats
    df: Floats
    seeds: int
    log_drift: float
    log_slope: float

    def noiseless(self) -> Estimates:
        """The same values as if they were exact: what infinitely many seeds with these means would show."""
        return replace(self, error={name: np.zeros_like(e) for name, e in self.error.items()}, df=np.full_like(self.df, np.inf))


def estimate(
    variable: Floats, errors: Floats, log_law: Floats | float = 0.0, exact: bool = False, others: Floats | None = None
) -> Estimates:
    """All numbers of a rate for errors (..., R, m) > 0, or exact expectations (..., m), against log of the law (m,).

    ``others`` (q, m): further sweep variables of the same regression, held fixed.
    """
    plan = contrasts(variable, others)
    if exact:
        log_mean, seeds = np.log(errors), 0
        noise = np.zeros((*errors.shape[:-1], len(NAMES)))
        n_eff = df = np.full(errors.shape[:-1], np.inf)
    else:
        seeds = errors.shape[-2]
        log_mean, left_out = log_means(errors)
        with np.errstate(invalid="ignore"):
            noise = jackknife(left_out @ plan.weights.T)
        # every checkpoint is normalised first, so that the early, large errors do not choose the weights
        n_eff, df = kish(np.mean(errors / np.exp(log_mean)[..., None, :], axis=-1), -1)
    y = log_mean - log_law
    value = (y - y[..., :1]) @ plan.weights.T  # less the first value: its size is no part of a slope, its round-off would be
    named = [dict(zip(NAMES, np.moveaxis(table, -1, 0), strict=True)) for table in (value, noise)]
    return Estimates(named[0], named[1], n_eff, df, seeds, plan.log_drift, plan.log_slope)


# --------------------------------------------------------------------------------------------- the verdict rule
@dataclass(frozen=True)
class Judgement:
    """The conditions of either verdict by name, and its p-values, each of the replicates' shape.

    ``p_violated``: of V1, V3, V4, the largest; 1 where V2 fails. ``p_drift``: of the drift back to the claim (V5).
    ``p_consistent``: of C1 and C2, the larger; 1 where C3 fails.
    """

    violated: Mapping[str, Bools]
    consistent: Mapping[str, Bools]
    p_violated: Floats
    p_drift: Floats
    p_consistent: Floats
    drift_limit: float

    @property
    def is_violated(self) -> Bools:
        return np.asarray(np.logical_and.reduce(list(self.violated.values())))

    @property
    def is_consistent(self) -> Bools:
        return np.asarray(np.logical_and.reduce(list(self.consistent.values())))


def judge(numbers: Estimates, within: float, one_sided: bool = False, share: float = 1.0) -> Judgement:
    """The rule for "the slope of y is 0 up to ``within``" (one-sided: at most ``within``); neither verdict is UNDECIDED.

    CONSISTENT needs the exponent AND the drift inside (C2 stops a wrong exponent that fits because the curve bends).
    VIOLATED needs V3-V5: no drift back to the claim that a transient would show. Both are intersections of one-sided
    t tests, so no correction is due inside the rule, and the p-value is the largest one. ``share``: the part of the error
    level that may be spent here (levels.py).
    """
    value, error, df = numbers.value, numbers.error, numbers.df
    theta, drift, end = value["theta"], value["D"], value["L"]
    limit = min(0.9 * numbers.log_drift * max(1.0, within / numbers.log_slope), 1.5 * within)
    side = np.ones_like(theta) if one_sided else np.sign(theta)
    towards = -side * drift
    v1 = p_above(side * theta, within, error["theta"], df)
    v3 = p_above(side * end, 0.0, error["L"], df)
    v4 = p_above(2 * within, towards, error["D"], df)
    v5 = p_above(towards, within / 4, error["D"], df)
    c1 = p_above(within, theta if one_sided else np.abs(theta), error["theta"], df)
    c2 = p_above(limit, end, error["L"], df) if one_sided else p_above(limit, np.abs(drift), error["D"], df)
    later = _less(within, side * value["H"])
    last = _less(value["t3"] if one_sided else np.abs(value["t3"]), within)
    outside, settled = share * LEVEL_VIOLATED, v5 >= share * LEVEL_CONSISTENT
    inside = share * LEVEL_CONSISTENT
    return Judgement(
        {"V1": v1 < outside, "V2": later, "V3": v3 < outside, "V4": v4 < outside, "V5": settled},
        {"C1": c1 < inside, "C2": c2 < inside, "C3": last},
        np.where(later, np.maximum(np.maximum(v1, v3), v4), 1.0),
        v5,
        np.where(last, np.maximum(c1, c2), 1.0),
        limit,
    )


def _less(a: Any, b: Any) -> Bools:
    return np.asarray(p_above(b, a, 0.0, np.inf) == 0.0)


def seeds_needed(numbers: Estimates, within: float, drift_limit: float, one_sided: bool = False) -> Floats:
    """Seeds for a decision: 90 % CONSISTENT at the claim if theta lies inside ``within``, else 95 % VIOLATED at 2 ``within``.

    Standard errors fall like 1/sqrt(R). At least twice the present seeds, as these did not decide.
    """
    error = numbers.error
    bend = error["L"] if one_sided else error["D"]
    inside = np.maximum((3.7 * bend / drift_limit) ** 2, (3.7 * error["theta"] / within) ** 2)
    outside = (2 * np.maximum(error["L"], error["D"]) / within) ** 2
    theta = numbers.value["theta"]
    needed = np.where((theta if one_sided else np.abs(theta)) < within, inside, outside)
    return np.asarray(np.ceil(numbers.seeds * np.maximum(2.0, needed)))


# --------------------------------------------------------------------------------------------- one fit
@dataclass(frozen=True)
class Fit:
    """An exponent with its 95 % interval (None for one curve, which shows no noise), over the ``window`` (first, last) of x.

    ``value``: exponent of the curve itself; ``theta``: of curve / law; ``drift``: change of the local slope from the first
    to the last third; ``standard_errors``: of theta, drift and the rest of NAMES.
    """

    value: float
    interval: tuple[float, float] | None
    theta: float
    drift: float
    standard_errors: Mapping[str, float]
    window: tuple[float, float]
    seeds: int
    estimates: Estimates = field(repr=False)


def fit_exponent(x: ArrayLike, y: ArrayLike, *, law: ArrayLike | None = None) -> Fit:
    """The exponent p of mean(y) ~ x^p for x (m,) and y (seeds, m), or y (m,) for one curve of exact values.

    ``law`` (m,): a claimed law that mean(y) is compared with, else a constant. Raises TheorysimError for fewer than two
    points and for values that are not positive and finite.
    """
    exact = np.ndim(y) == 1
    sample = arrange(x, y, exact)
    claimed = arrange(x, np.ones(sample.x.shape) if law is None else law, True).errors[0]
    if len(sample.x) < 2 or not all(bool(np.all(np.isfinite(v) & (v > 0))) for v in (sample.errors, claimed)):
        raise TheorysimError("an exponent needs at least two points, each value positive and finite; leave out the others")
    log_law = np.log(claimed)
    numbers = estimate(sample.x, sample.errors[0] if exact else sample.errors, log_law, exact)
    claim = float(contrasts(sample.x).weights[0] @ log_law)
    return fit_of(numbers, claim, (float(sample.x[0]), float(sample.x[-1])))


def fit_of(numbers: Estimates, claim: float, window: tuple[float, float]) -> Fit:
    """The Fit that the numbers of one curve make; ``claim``: the exponent of the law that they are relative to."""
    theta = float(numbers.value["theta"])
    value = claim + theta
    reach = float(stdtrit(numbers.df, 0.975) * numbers.error["theta"]) if numbers.seeds else np.nan
    errors = {name: float(e) for name, e in numbers.error.items()}
    interval = None if np.isnan(reach) else (value - reach, value + reach)
    return Fit(value, interval, theta, float(numbers.value["D"]), errors, window, numbers.seeds, numbers)
