"""The statistics of a rate, on plain arrays: from errors per seed and sweep point to a three-valued verdict.

Everything is linear in y = log(mean error) - log(claimed law) on the grid log(variable); the claim is "y has slope 0".
Standard errors come from the jackknife over SEEDS: the checkpoints of one trajectory share their noise, so a regression
over checkpoints covers 70-80 % where it promises 95 %. Degrees of freedom are Kish's, because a few seeds may carry the mean.
Leading axes of ``errors`` are replicates; no function here loops over seeds or replicates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from theorysim.model import TheorysimError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

TOLERANCE = 1e-9  # strict inequalities and grid points, so that round-off decides nothing
LEVEL_VIOLATED = 0.01  # one-sided levels of the t tests inside the rule
LEVEL_CONSISTENT = 0.02
NAMES = ("theta", "H", "t1", "t2", "t3", "k", "D", "L")


@dataclass(frozen=True)
class Sample:
    """``x`` (m,) increasing; ``errors`` (R, m), one row if exact; ``kept`` (m,), False where a point is shown, not fitted."""

    x: Floats
    errors: Floats
    kept: Bools
    exact: bool

    def window(self) -> Sample:
        """The kept points only."""
        return Sample(self.x[self.kept], self.errors[:, self.kept], self.kept[self.kept], self.exact)


def arrange(x: ArrayLike, errors: ArrayLike, exact: bool, excluded: ArrayLike | None = None) -> Sample:
    """A Sample sorted by ``x``. ``errors`` is (R, m), or (m,) for one curve; ``excluded`` a boolean mask (m,).

    Raises TheorysimError for shapes that do not match, for sweep values that repeat or are not positive and finite.
    """
    grid = np.asarray(x, dtype=np.float64)
    values = np.atleast_2d(np.asarray(errors, dtype=np.float64))
    mask = np.zeros(grid.shape, dtype=bool) if excluded is None else np.asarray(excluded)
    if grid.ndim != 1 or values.ndim != 2 or values.shape[1:] != grid.shape or mask.shape != grid.shape or mask.dtype != bool:
        raise TheorysimError(
            f"x {grid.shape}, errors {values.shape}, excluded {mask.dtype} {mask.shape} do not fit together; "
            "give x (m,), errors (seeds, m) or (m,), excluded a boolean mask (m,)"
        )
    if exact and len(values) != 1:
        raise TheorysimError(f"exact expectations are one curve (m,), got {len(values)} rows; leave out exact=True for seeds")
    order = np.argsort(grid)
    grid = grid[order]
    if not (np.isfinite(grid).all() and (grid > 0).all() and (np.diff(grid) > 0).all()):
        raise TheorysimError("the sweep values x must be positive, finite and different from each other")
    return Sample(grid, values[:, order], ~mask[order], exact)


def log_means(errors: Floats) -> tuple[Floats, Floats]:
    """log of the mean over seeds (..., m), and log(mean without seed r / mean) (..., R, m), for errors (..., R, m).

    Sums of the seeds before and after r, not total minus e_r, which would cancel where one seed carries the mean.
    """
    scale = np.max(errors, axis=-2, keepdims=True)
    unit = errors / np.where(scale > 0, scale, 1.0)
    rest = np.zeros_like(unit)
    rest[..., 1:, :] = np.cumsum(unit[..., :-1, :], axis=-2)
    rest[..., :-1, :] += np.cumsum(unit[..., :0:-1, :], axis=-2)[..., ::-1, :]
    seeds = errors.shape[-2]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.mean(unit, axis=-2, keepdims=True)
        left_out = np.log(rest / max(seeds - 1, 1)) - np.log(mean)
        return (np.log(mean) + np.log(scale))[..., 0, :], left_out


def jackknife(left_out: Floats) -> Floats:
    """Standard errors (..., q) from the q statistics with one seed left out, (..., R, q)."""
    seeds = left_out.shape[-2]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sqrt((seeds - 1) * np.var(left_out, axis=-2)))


def kish(weights: Floats, axis: int) -> tuple[Floats, Floats]:
    """Effective number of seeds (sum w)^2 / sum w^2 and the degrees of freedom of a t test with it, at least 1."""
    n_eff = np.sum(weights, axis=axis) ** 2 / np.sum(weights**2, axis=axis)
    return n_eff, np.maximum(1.0, np.minimum(float(weights.shape[axis]), n_eff) - 1.0)


def mean_with_error(errors: Floats, exact: bool) -> tuple[Floats, Floats, Floats]:
    """Per checkpoint, errors (..., R, m) -> (..., m): log mean, its jackknife error, Kish degrees of freedom."""
    log_mean, left_out = log_means(errors)
    if exact:
        return log_mean, np.zeros_like(log_mean), np.full(log_mean.shape, np.inf)
    mean = np.exp(log_mean)[..., None, :]
    shares = np.where(mean > 0, errors / np.where(mean > 0, mean, 1.0), 1.0)  # a mean of zero has no error
    return log_mean, np.where(np.isneginf(log_mean), 0.0, jackknife(left_out)), kish(shares, -2)[1]


def p_above(value: Any, limit: Any, error: Any, df: Any) -> Floats:
    """One-sided p-value against "the true value is at most ``limit``"; without noise 0 or 1, ties to round-off being 1."""
    value, limit, error = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (value, limit, error)))
    distance = value - limit - TOLERANCE * np.maximum(np.abs(value), np.abs(limit))
    certain = np.where(distance > 0, np.inf, -np.inf)
    ratio = np.divide(distance, error, out=certain, where=~(error == 0))
    return np.asarray(np.nan_to_num(stdtr(df, -ratio), nan=1.0))


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


def contrasts(variable: Floats) -> Contrasts:
    """The contrasts for sweep values (m,). A window that starts below e has 1 + log(variable / first) as its log factor."""
    x = np.log(variable)
    length = x[-1] - x[0]
    place = (x - x[0]) / length
    parts = [(0.0, 1.0), (1 / 2, 1.0), (0.0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1.0)]
    slopes = [_slope_weights(x, (place >= low - TOLERANCE) & (place <= high + TOLERANCE)) for low, high in parts]
    start = max(float(x[0]), 1.0)
    factor = np.log(x - x[0] + start)
    log_slope = float(slopes[0] @ factor)
    bend = factor - factor.mean() - log_slope * (x - x.mean())
    k = bend / (bend @ bend) if len(x) > 2 else np.full(x.shape, np.nan)
    log_drift = float(1 / (start + length / 6) - 1 / (start + 5 * length / 6))
    drift = -log_drift * k
    return Contrasts(np.stack([*slopes, k, drift, slopes[0] + drift]), log_drift, log_slope)


def _slope_weights(x: Floats, keep: Bools) -> Floats:
    if keep.sum() < 2:
        return np.full(x.shape, np.nan)  # no slope: whatever needs it stays undecided
    centred = np.where(keep, x - x[keep].mean(), 0.0)
    return np.asarray(centred / (centred @ centred))


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


def estimate(variable: Floats, errors: Floats, log_law: Floats | float = 0.0, exact: bool = False) -> Estimates:
    """All numbers of a rate for errors (..., R, m) > 0, or exact expectations (..., m), against log of the law (m,)."""
    plan = contrasts(variable)
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
    """The conditions of either verdict by name, and its p-value (for Holm over claims), each of the replicates' shape."""

    violated: Mapping[str, Bools]
    consistent: Mapping[str, Bools]
    p_violated: Floats
    p_consistent: Floats
    drift_limit: float

    @property
    def is_violated(self) -> Bools:
        return np.asarray(np.logical_and.reduce(list(self.violated.values())))

    @property
    def is_consistent(self) -> Bools:
        return np.asarray(np.logical_and.reduce(list(self.consistent.values())))


def judge(numbers: Estimates, within: float, one_sided: bool = False) -> Judgement:
    """The rule for "the slope of y is 0 up to ``within``" (one-sided: at most ``within``); neither verdict is UNDECIDED.

    CONSISTENT needs the exponent AND the drift inside (C2 stops a wrong exponent that fits because the curve bends).
    VIOLATED needs V3-V5: no drift back to the claim that a transient would show. Both are intersections of one-sided
    t tests, so no correction is due inside the rule, and the p-value is the largest one.
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
    settled = v5 >= LEVEL_CONSISTENT
    return Judgement(
        {"V1": v1 < LEVEL_VIOLATED, "V2": later, "V3": v3 < LEVEL_VIOLATED, "V4": v4 < LEVEL_VIOLATED, "V5": settled},
        {"C1": c1 < LEVEL_CONSISTENT, "C2": c2 < LEVEL_CONSISTENT, "C3": last},
        np.where(later & settled, np.maximum(np.maximum(v1, v3), v4), 1.0),
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
    theta = float(numbers.value["theta"])
    value = theta + float(contrasts(sample.x).weights[0] @ log_law)
    reach = 0.0 if exact else float(stdtrit(numbers.df, 0.975) * numbers.error["theta"])
    errors = {name: float(e) for name, e in numbers.error.items()}
    interval = None if exact or np.isnan(reach) else (value - reach, value + reach)
    window = (float(sample.x[0]), float(sample.x[-1]))
    return Fit(value, interval, theta, float(numbers.value["D"]), errors, window, numbers.seeds, numbers)
