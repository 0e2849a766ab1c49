"""Error levels shared among looks and claims: Holm, the shares of looks, and findings under both."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from theorysim.analyses.band import band
from theorysim.analyses.bound_in_expectation import bound_in_expectation
from theorysim.analyses.exponent import exponent
from theorysim.findings import Evidence, Finding, Verdict, together
from theorysim.levels import judged, number_of_looks, open_to_seeds, share_of_look
from theorysim.rates import estimate, judge
from theorysim.statistics import holm

C, U, V = Verdict.CONSISTENT, Verdict.UNDECIDED, Verdict.VIOLATED


def noisy(p_violated: float = 1.0, p_consistent: float = 1.0, p_drift: float = 1.0, **other: Any) -> Finding:
    """A leaf as an analysis leaves it: judged at the full level."""
    verdict = V if p_violated < 0.01 and p_drift >= 0.02 else C if p_consistent < 0.02 else U
    return Finding(
        "leaf",
        verdict,
        "because",
        evidence=Evidence(16, p_violated, p_consistent, 0.1, 9.0, "too large", "fine", p_drift),
        **other,
    )


def found(*findings: Finding, shares: list[float] | None = None) -> list[Verdict]:
    return [finding.verdict for finding in judged(findings, shares or [1.0] * len(findings))]


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (2, 2, 12)])
def test_holm_agrees_with_statsmodels(shape: tuple[int, ...]) -> None:
    p = np.random.default_rng(len(shape)).beta(0.2, 1, shape)
    p[..., 0] = p[..., -1]  # a tie
    expected = np.apply_along_axis(lambda row: multipletests(row, method="holm")[1], -1, p)
    np.testing.assert_allclose(holm(p), expected, rtol=1e-12)


def test_holm_never_rejects_what_is_no_number() -> None:
    assert not (holm([0.001, np.nan, 0.002])[1] < 0.05)
    assert holm([]).shape == (0,)


@pytest.mark.parametrize(("seeds", "looks"), [(8, 1), (9, 1), (15, 1), (16, 2), (64, 4), (512, 7), (1000, 7)])
def test_looks_double_and_spend_the_level_once(seeds: int, looks: int) -> None:
    assert number_of_looks(seeds) == looks
    shares = [share_of_look(look, looks) for look in range(looks)]
    assert sum(shares) == pytest.approx(1.0, rel=1e-12)
    assert all(later == pytest.approx(2 * earlier) for earlier, later in pairwise(shares))


def test_alone_and_at_the_full_level_nothing_changes() -> None:
    rng = np.random.default_rng(0)
    T = np.rint(np.geomspace(16, 4096, 13))
    errors = rng.chisquare(40, (12, 13)) / 40 / T
    for finding in (
        exponent(T, errors, claim=-1.0, within=0.2),
        exponent(T, errors, claim=-0.5, within=0.1),
        exponent(T, errors, claim=-0.9, within=0.1, one_sided=True),
        exponent(T, errors[:3], claim=-1.0),
        exponent(T, 1 / T, claim=-1.0, exact=True),
        bound_in_expectation(T, errors, 2 / T),
        bound_in_expectation(T, errors, 0.3 / T),
        bound_in_expectation(T, errors, 1 / T),
    ):
        (after,) = judged([finding], [1.0])
        assert (after.verdict, after.reason) == (finding.verdict, finding.reason)


def test_an_early_look_spends_its_share_only() -> None:
    assert found(noisy(0.004)) == [V]
    assert found(noisy(0.004), shares=[0.25]) == [U]
    assert found(noisy(1.0, 0.004), shares=[0.25]) == [C]
    assert found(noisy(1.0, 0.006), shares=[0.25]) == [U]
    (open_,) = judged([noisy(1.0, 0.006)], [0.25])
    assert "p = 0.024" in open_.reason and "16 seeds" in open_.reason


def test_the_drift_guard_is_as_strict_as_the_look() -> None:
    drifting = noisy(1e-9, 1.0, p_drift=0.01)
    assert drifting.verdict is U
    assert found(drifting) == [U]
    (early,) = judged([drifting], [0.25])
    assert (early.verdict, early.reason) == (V, "too large")


@pytest.mark.parametrize("power", [-1.0, -0.9, -0.8, -0.7])
@pytest.mark.parametrize("share", [1.0, 0.5, 1 / 127])
def test_a_finding_at_a_look_is_the_rule_at_that_level(power: float, share: float) -> None:
    """The rule on arrays, whose error rates are measured, and the path that every check takes give the same verdict."""
    rng = np.random.default_rng(7)
    T = np.rint(np.geomspace(16, 4096, 13))
    for dim in (10, 100, 1000):
        errors = rng.chisquare(dim, (16, 13)) / dim * T**power * (1 + rng.choice([0.0, 10.0]) / T)
        rule = judge(estimate(T, errors, -np.log(T)), 0.1, share=share)
        expected = V if rule.is_violated else C if rule.is_consistent else U
        assert found(exponent(T, errors, claim=-1.0), shares=[share]) == [expected]


def test_holm_counts_all_numbers_for_a_violation_and_claims_for_consistency() -> None:
    weak = noisy(0.006)
    assert found(weak, noisy(1.0, 1e-9)) == [U, C]
    assert found(weak, band(3.0, high=1.0, label="no noise")) == [V, V]  # what holds no noise takes no part
    assert found(weak, noisy(1e-5)) == [V, V]  # the stronger one is rejected first, and then this one stands alone
    drifting = noisy(1e-9, 1.0, p_drift=0.001)
    assert found(weak, drifting) == [U, U]  # what cannot be violated does not stand first in the order either
    several = together(noisy(1.0, 0.001), noisy(1.0, 0.015), noisy(1.0, 0.002))
    assert found(several) == [C]
    assert found(several, several) == [U, U]
    first = judged([several, several], [1.0, 1.0])[0]
    assert [part.verdict for part in first.parts] == [C, U, C]  # the least certain number answers for the claim
    assert "1 of 3 parts UNDECIDED" in first.reason


def test_nested_findings_keep_their_shape_and_evidence() -> None:
    inner = together(noisy(0.006), band(0.5, high=1.0, label="b"), label="inner")
    outer = together(inner, noisy(1.0, 1e-6), label="outer")
    (after,) = judged([outer], [0.5])
    assert [leaf.label for leaf in after.leaves()] == [leaf.label for leaf in outer.leaves()]
    assert after.verdict is U and after.parts[0].verdict is U and after.parts[0].label == "inner"
    assert after.parts[0].parts[1] == inner.parts[1]
    again = judged([after], [0.5])[0]
    assert again.verdict is after.verdict


def test_what_is_no_number_is_never_decided() -> None:
    nan = replace(noisy(), evidence=Evidence(8, np.nan, np.nan, np.nan, np.nan, "too large", "fine", np.nan))
    assert found(nan) == [U]
    assert found(nan, noisy(1e-9), noisy(1.0, 1e-9)) == [U, V, C]


def test_only_noise_can_be_grown_away() -> None:
    assert open_to_seeds(noisy())
    assert not open_to_seeds(noisy(0.001))
    assert not open_to_seeds(Finding("exact", U, "a drift"))
    assert not open_to_seeds(together(noisy(), band(2.0, high=1.0, label="broken")))
    assert not open_to_seeds(together(noisy(1.0, 1e-9), Finding("exact", U, "a drift")))


def test_the_interval_at_the_look_is_wider() -> None:
    halves = [judged([noisy()], [share])[0].details["interval half-width at this share"] for share in (1.0, 0.1)]
    assert halves[0] == pytest.approx(0.1 * 2.262157, rel=1e-6)
    assert halves[1] > 1.5 * halves[0]
