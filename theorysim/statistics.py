"""The statistics below the verdicts, on plain arrays: means over seeds, their errors, and tests.

Standard errors come from the jackknife over SEEDS: the checkpoints of one trajectory share their noise, so a regression
over checkpoints covers 70-80 % where it promises 95 %. Degrees of freedom are Kish's, because a few seeds may carry the mean.
Leading axes of ``errors`` are replicates; no function here loops over seeds or replicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theorysim.model import TheorysimError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

TOLERANCE = 1e-9  # strict inequalities and grid points, so that round-off decides nothing
LOG_ZERO = -1e6  # stands for log 0: a mean of exactly zero is below every bound
LEVEL_VIOLATED = 0.01  # one-sided levels of the t tests inside the rule
LEVEL_CONSISTENT = 0.02


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
    from scipy.special import stdtr  # three times the load time of NumPy, which --help need not wait for

    value, limit, error = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (value, limit, error)))
    distance = value - limit - TOLERANCE * np.maximum(np.abs(value), np.abs(limit))
    certain = np.where(distance > 0, np.inf, -np.inf)
    ratio = np.divide(distance, error, out=certain, where=~(error == 0))
    return np.asarray(np.nan_to_num(stdtr(df, -ratio), nan=1.0))


@dataclass(frozen=True)
class BoundTests:
    """Is the mean at most the bound at every checkpoint? ``z``: log mean - log bound, with its ``error`` and ``df``; one-sided
    p-values against "it is at most the bound" (``p_above``) and "it is above" (``p_below``), each (..., m). Equality holds."""

    z: Floats
    error: Floats
    df: Floats
    p_above: Floats
    p_below: Floats

    @property
    def p_violated(self) -> Floats:
        """For "above at some checkpoint": Bonferroni over the m checkpoints."""
        return np.asarray(np.minimum(1.0, self.z.shape[-1] * np.min(self.p_above, axis=-1)))

    @property
    def p_consistent(self) -> Floats:
        """For "below at every checkpoint"."""
        return np.asarray(np.max(self.p_below, axis=-1))


def bound_tests(errors: Floats, log_bound: Floats | float = 0.0, exact: bool = False) -> BoundTests:
    """Tests of errors (..., R, m) >= 0 against the log of a bound (m,).

    The log scale is deliberate: the upper end of a t interval for a skewed mean is too low on the plain scale.
    """
    log_mean, error, df = mean_with_error(errors, exact)
    z = np.maximum(log_mean - log_bound, LOG_ZERO)
    return BoundTests(z, error, df, p_above(z, TOLERANCE, error, df), p_above(TOLERANCE, z, error, df))


def holm(p: ArrayLike) -> Floats:
    """Holm's adjusted p-values over the last axis (..., n): the k-th smallest times n - k + 1, made increasing, at most 1.

    Rejecting where the adjusted value is below a level keeps the chance of any false rejection below it. [Holm 1979]
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, axis=-1)
    stepped = np.take_along_axis(values, order, axis=-1) * np.arange(values.shape[-1], 0, -1)
    adjusted = np.minimum(1.0, np.maximum.accumulate(stepped, axis=-1))
    result = np.empty_like(values)
    np.put_along_axis(result, order, adjusted, axis=-1)
    return result
