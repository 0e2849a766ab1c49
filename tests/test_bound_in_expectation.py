"""The bound in expectation: error rates where the bound is tight or exceeded, and the edge cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from theorysim.analyses.bound_in_expectation import bound_in_expectation
from theorysim.findings import Verdict
from theorysim.model import TheorysimError

T = np.geomspace(16, 4096, 13)


def running_mean(rng, replicates, seeds, dim=10):
    """(1/dT) |W_T|^2 for a Brownian path in R^d: correlated in T, mean 1 at every checkpoint."""
    steps = np.sqrt(np.diff(T, prepend=0.0))[:, None]
    path = np.cumsum(steps * rng.standard_normal((replicates, seeds, len(T), dim)), axis=2)
    return np.sum(path**2, axis=3) / (dim * T)


def share_violated(errors, bound):
    return np.mean([bound_in_expectation(T, one, bound).verdict is Verdict.VIOLATED for one in errors])


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_a_tight_bound_is_rarely_called_violated(scale):
    rng = np.random.default_rng(1)
    size = np.exp(scale * rng.standard_normal((600, 16, 1)) - scale**2 / 2)
    assert share_violated(running_mean(rng, 600, 16) * size / T, 1 / T) < 0.02


def test_a_bound_exceeded_by_a_quarter_is_found():
    rng = np.random.default_rng(2)
    assert abs(share_violated(running_mean(rng, 300, 32) * 1.25 / T, 1 / T) - 0.89) < 0.06
    assert abs(share_violated(running_mean(rng, 300, 8) * 1.25 / T, 1 / T) - 0.11) < 0.06


def test_the_largest_ratio_and_its_interval():
    errors = running_mean(np.random.default_rng(3), 1, 12)[0] / T
    errors[:, 5] *= 2
    finding = bound_in_expectation(T, errors, 1 / T)
    column = errors[:, 5] * T[5]
    left_out = [np.log(np.delete(column, r).mean()) for r in range(12)]
    error = np.sqrt(11 * np.var(left_out))
    df = column.sum() ** 2 / np.sum(column**2) - 1
    reach = np.exp(stats.t.ppf(0.975, df) * error)
    assert finding.measured == pytest.approx(column.mean())
    assert finding.interval == pytest.approx((column.mean() / reach, column.mean() * reach))
    assert finding.details["worst_at"] == T[5]
    assert finding.details["p_V"] == pytest.approx(13 * stats.t.sf(np.log(column.mean()) / error, df), rel=1e-6)
    assert finding.verdict is (Verdict.VIOLATED if finding.details["p_V"] < 0.01 else Verdict.UNDECIDED)
    assert finding.predicted == 1.0
    assert [series.role for series in finding.panels[0].series] == ["measured", "bound"]


def test_a_loose_bound_is_consistent_and_a_near_one_undecided():
    errors = running_mean(np.random.default_rng(4), 1, 16)[0] / T
    loose = bound_in_expectation(T, errors, 2 / T)
    assert loose.verdict is Verdict.CONSISTENT
    assert loose.details["p_C"] < 0.02
    near = bound_in_expectation(T, errors, 1.1 / T)
    assert near.verdict is Verdict.UNDECIDED
    assert "seeds are needed" in near.reason
    few = bound_in_expectation(T, errors[:7], 2 / T)
    assert few.verdict is Verdict.UNDECIDED
    assert "7 of the 8 seeds" in few.reason


def test_exact_expectations_need_no_margin():
    bound = (1 + np.log(T)) / T
    assert bound_in_expectation(T, bound, bound, exact=True).verdict is Verdict.CONSISTENT
    assert bound_in_expectation(T, bound * np.where(T < 20, 1 + 1e-6, 0.5), bound, exact=True).verdict is Verdict.VIOLATED
    assert bound_in_expectation(T, bound * np.where(T < 20, 0.0, 0.5), bound, exact=True).measured == pytest.approx(0.5)


def test_the_verdict_does_not_depend_on_scale():
    errors = running_mean(np.random.default_rng(5), 1, 16)[0] / T
    reference = bound_in_expectation(T, errors, 1.3 / T)
    for scale in (1e-200, 1e200):
        scaled = bound_in_expectation(T, scale * errors[::-1], scale * 1.3 / T)
        assert scaled.measured == pytest.approx(reference.measured, rel=1e-10)
        assert scaled.details["p_C"] == pytest.approx(reference.details["p_C"], rel=1e-8)


def test_diverged_seeds_violate_and_zero_errors_do_not():
    errors = running_mean(np.random.default_rng(6), 1, 16)[0] / T
    errors[:, 12] = 0.0
    assert bound_in_expectation(T, errors, 3 / T).verdict is Verdict.CONSISTENT
    errors[4, 3] = np.nan
    finding = bound_in_expectation(T, errors, 1e9 / T)
    assert finding.verdict is Verdict.VIOLATED
    assert "1 of 16 seeds are not finite" in finding.reason
    assert bound_in_expectation(T, errors, 3 / T, excluded=np.arange(13) == 3).verdict is Verdict.CONSISTENT
    errors[4, 3] = -1.0
    assert bound_in_expectation(T, errors, 3 / T).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize("bound", [-1 / T, np.full(13, np.nan), np.ones(12)])
def test_a_bound_that_is_none_is_refused(bound):
    with pytest.raises(TheorysimError, match=r"bound must be positive|fit together"):
        bound_in_expectation(T, np.ones((8, 13)), bound)
