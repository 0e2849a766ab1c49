"""The calibration of the verdict rule: planted noise against its law, the rates against their limits, broken rules caught."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from theorysim.calibration import CLAIMS, PAPER, applied, bounds, compared, coverage, exact, fixed, growing, rules, several, tally
from theorysim.calibration.documented import DOCUMENTED, documented
from theorysim.calibration.planted import FAMILIES, NOISES, Trial
from theorysim.check import check_claims
from theorysim.cli_calibrate import calibrate_command, rate_lines
from theorysim.findings import Verdict
from theorysim.lab import Lab
from theorysim.rates import estimate, judge
from theorysim.report import report_data

LAB = Lab(level="quick", seed=5)


def drawn(name, seeds=10, replicates=3000, seed=1, **window):
    trial = Trial(name, seeds, replicates, seed=seed, **window)
    return trial.grid, np.concatenate(list(trial.batches()))


# ------------------------------------------------------------------------------------------------ planted noise
@pytest.mark.parametrize("dim", [1, 10, 100])
def test_a_running_mean_is_that_of_a_brownian_path(dim):
    """Against a path in R^d: marginal law, and the correlation sqrt(T_i/T_j) of |W|/sqrt T squared."""
    grid, noise = drawn(f"d={dim}", replicates=2000)
    scaled = dim * noise.reshape(-1, len(grid))
    for j in (0, 5, 12):
        assert stats.kstest(scaled[::3, j], stats.chi2(dim).cdf).pvalue > 1e-3
    correlation = np.corrcoef(scaled.T)
    assert correlation[3, 9] == pytest.approx(grid[3] / grid[9], abs=0.03)
    assert correlation[11, 12] == pytest.approx(grid[11] / grid[12], abs=0.03)


def test_families_have_mean_one_and_the_documented_standard_errors():
    for name in NOISES:
        if name != "lognormal 2":  # its mean converges too slowly to be seen
            grid, noise = drawn(name, replicates=2000)
            assert np.mean(noise) == pytest.approx(1.0, abs=0.05), name
    grid, noise = drawn("d=10")
    numbers = estimate(grid, noise / grid, -np.log(grid))
    assert np.std(numbers.value["theta"]) == pytest.approx(0.036, rel=0.04)
    assert np.std(numbers.value["D"]) == pytest.approx(0.135, rel=0.04)
    grid, fresh = drawn("fresh", replicates=500)
    assert abs(np.corrcoef(fresh.reshape(-1, 13).T)[3, 4]) < 0.05
    outliers = drawn("5 % x20", seeds=1)[1][..., -1]
    assert np.mean(outliers > 5) == pytest.approx(0.05, abs=0.015)


def test_a_trial_is_a_function_of_its_fields(monkeypatch):
    again = [drawn("Pareto 3", replicates=40)[1] for _ in range(2)]
    assert np.array_equal(*again)
    assert not np.array_equal(again[0], drawn("Pareto 3", replicates=40, seed=2)[1])
    # the same stream would leave a factor for each seed between these two
    ratio = drawn("lognormal 1", replicates=40)[1] / drawn("d=10", replicates=40)[1]
    assert not np.allclose(ratio, ratio[..., :1])
    monkeypatch.setattr("theorysim.calibration.planted.BATCH", 13 * 10 * 7)
    sizes = [len(batch) for batch in Trial("fresh", 10, 40).batches()]
    assert sizes == [7, 7, 7, 7, 7, 5]


# ------------------------------------------------------------------------------------------------ rates and limits
def rate(count, trials, limits=tally.FREE, key=("fixed", "row", "column")):
    return tally.Rate(tally.Key(*key), count, trials, limits)


@pytest.mark.parametrize(
    ("count", "limits", "verdict"),
    [(18, (0.0, 1.0), "C"), (20, (0.0, 1.0), "V"), (914, (93.0, 98.0), "C"), (900, (93.0, 98.0), "V"), (999, (93.0, 98.0), "V"),
     (1000, (95.0, 100.0), "C"), (925, (95.0, 100.0), "V"), (1, (0.0, 0.0), "V"), (0, (0.0, 0.0), "C")],
)  # fmt: skip
def test_a_rate_may_miss_its_limit_by_three_monte_carlo_errors(count, limits, verdict):
    found = rate(count, 1000, limits).finding()
    assert found.verdict.value[0] == verdict
    assert found.details["Monte Carlo error"] == pytest.approx(100 * np.sqrt(count / 1000 * (1 - count / 1000) / 1000))
    assert found.evidence is None


def test_documented_figures_keep_their_digits():
    for text, low, high, rounding in (
        ("17", 17, 17, 0.5),
        (".3", 0.3, 0.3, 0.05),
        (".4-.9", 0.4, 0.9, 0.05),
        ("<=.1", 0, 0.1, 0.05),
    ):
        found = documented(text, 10)
        assert (found.low, found.high, found.rounding) == (low, high, pytest.approx(rounding))
    assert DOCUMENTED["16 to 4096", "T^-0.8 as T^-1: VIOLATED", "d=10, R=64"].low == 87
    assert DOCUMENTED["intervals", "theta", "lognormal 2, R=8"].low == 97.6
    assert DOCUMENTED["intervals, t with R - 1", "theta", "lognormal 2, R=8"].low == 87.2
    tables = Counter(table for table, _, _ in DOCUMENTED)
    assert (tables["intervals"], tables["intervals, t with R - 1"], tables["16 to 4096"]) == (7 * 5, 7 * 4, 12 * 11 * 2)


def test_the_distance_counts_the_error_of_both_and_the_rounding():
    key = ("16 to 4096", "T^-0.8 as T^-1: VIOLATED", "d=10, R=64")  # 87 of 100 in 1000 replicates
    assert rate(435, 500, key=key).distance == 0.0
    assert rate(437, 500, key=key).distance == 0.0
    pooled = (450 + 870) / 1500
    spread = 100 * np.sqrt(pooled * (1 - pooled) * (1 / 500 + 1 / 1000))
    assert rate(450, 500, key=key).distance == pytest.approx((90 - 87.5) / spread)
    assert rate(450, 500).distance is None


# ------------------------------------------------------------------------------------------------ the rule and broken rules
def leaves(finding):
    return {leaf.label: leaf.verdict for leaf in finding.leaves()}


def test_intervals_cover_in_every_family():
    finding = coverage.intervals_cover(LAB, noises=FAMILIES, seeds=(8, 16, 32))
    assert finding.verdict is Verdict.CONSISTENT, finding.reason
    assert len(finding.leaves()) == 7 * 3 * 4


@pytest.mark.parametrize(("rule", "noise"), [(rules.STUDENT, "lognormal 2"), (rules.REGRESSION, "d=10")])
def test_other_intervals_do_not_cover(rule, noise):
    found = leaves(coverage.intervals_cover(LAB, rule, (noise,), (8, 16)))
    assert found[f"theta, {noise}, R=8"] is found[f"theta, {noise}, R=16"] is Verdict.VIOLATED


def test_verdicts_at_fixed_seeds_keep_the_limits_and_the_documented_rates():
    experiments = (("d=10", 16), ("d=10", 64), ("d=100", 16))
    rates = fixed.fixed_rates(LAB, experiments=experiments)
    assert [r.key for r in rates if r.finding().verdict is Verdict.VIOLATED] == []
    assert len(rates) == 3 * len(fixed.CASES) * 2
    assert max(r.distance for r in rates) < 4


def test_without_the_drift_conditions_the_limits_are_missed():
    found = leaves(fixed.verdicts_at_fixed_seeds(LAB, rules.NO_C2, (("d=10", 64),)))
    assert found["log T/T as T^-0.81: CONSISTENT, d=10, R=64"] is Verdict.VIOLATED
    assert found["1/T as T^-1: VIOLATED, d=10, R=64"] is Verdict.CONSISTENT
    sound, broken = (fixed.transients_do_not_violate(LAB, rule, ("d=10",)) for rule in ("", rules.NO_GUARDS))
    assert sound.verdict is Verdict.CONSISTENT
    assert leaves(broken)[f"1/(T + 2000) as T^-1: VIOLATED, {fixed.WORST}"] is Verdict.VIOLATED


def test_every_look_spends_its_share_only():
    sound = growing.grown(Trial("d=100", 64, 2000, seed=2), growing.EDGE[0].cases)
    for growth in sound.values():
        assert growth.verdicts.sum(axis=0)[1] < 20 + 3 * np.sqrt(20)
        assert growth.covered[0] / 2000 == pytest.approx(0.95, abs=0.02)
        assert growth.covered[1] / 2000 > 0.955
    assert growing.growing_seeds(LAB, rules.NO_SPENDING).verdict is Verdict.VIOLATED


def test_growing_seeds_equal_a_loop_over_replicates():
    trial, case = Trial("d=100", 64, 60, seed=3), growing.OFF_BY_TWO
    expected = np.zeros((4, 2), dtype=int)
    for errors in drawn("d=100", 64, 60, seed=3)[1] * case.curve(trial.grid):
        for look in range(4):
            numbers = estimate(trial.grid, errors[: 8 * 2**look], case.log_claim(trial.grid))
            judged = judge(numbers, 0.1, share=2**look / 15)
            expected[look] += judged.is_consistent, judged.is_violated
            if judged.is_consistent or judged.is_violated:
                break
    found = growing.grown(trial, (case,))[case].verdicts
    assert np.array_equal(found, expected)
    assert expected[:3, 1].min() > 0


def test_the_median_of_the_seeds_is_that_of_the_stopping_looks():
    growth = growing.Growth(np.array([[1, 0], [0, 2], [1, 0]]))
    stops = [8, 16, 16, 32, 32, 32]  # two of six without a verdict
    assert growth.median_seeds(6) == np.median(stops)
    assert growing.Growth(np.array([[3, 0], [0, 3]])).median_seeds(6) == 12.0


def test_bounds_and_their_broken_rules():
    assert bounds.faster_never_fails(LAB, seeds=(32,)).verdict is Verdict.CONSISTENT
    assert bounds.faster_never_fails(LAB, rules.TWO_SIDED, (32,)).verdict is Verdict.VIOLATED
    assert bounds.bounds_in_expectation(LAB, noises=("d=10", "lognormal 1"), seeds=(8, 64)).verdict is Verdict.CONSISTENT
    assert bounds.bounds_in_expectation(LAB, rules.NO_BONFERRONI, ("fresh",), (32,)).verdict is Verdict.VIOLATED
    assert bounds.upper_limits_of_a_skewed_mean(LAB).verdict is Verdict.CONSISTENT
    assert bounds.upper_limits_of_a_skewed_mean(LAB, rules.PLAIN_SCALE).verdict is Verdict.VIOLATED


def test_several_true_claims_are_not_violated_more_often_than_one():
    assert several.any_of_several_claims(LAB, counts=(1, 10)).verdict is Verdict.CONSISTENT
    assert several.any_of_several_claims(LAB, rules.NO_HOLM, (10,)).verdict is Verdict.VIOLATED


@pytest.mark.parametrize("rule", ["", rules.NO_C2, rules.NO_GUARDS])
def test_exact_verdicts_and_what_the_conditions_are_for(rule):
    found = leaves(exact.exact_verdicts(LAB, rule))
    wrong = {label for label, verdict in found.items() if verdict is Verdict.VIOLATED}
    assert ("log T/T as T^-0.81" in wrong) == (rule == rules.NO_C2)
    assert ("1/T + 500/T^2 as T^-1" in wrong) == (rule == rules.NO_GUARDS)
    assert bool(wrong) == bool(rule)


def test_the_analyses_apply_this_rule():
    finding = applied.analyses_apply_the_rule(LAB)
    assert finding.verdict is Verdict.CONSISTENT, finding.reason
    tallies = " ".join(leaf.details["found"] for leaf in finding.leaves())
    assert all(verdict in tallies for verdict in Verdict)
    assert applied.analyses_apply_the_rule(LAB, rules.NO_C2).verdict is Verdict.VIOLATED


def test_another_rule_does_not_give_the_documented_rates():
    assert compared.documented_rates(LAB, rules.NO_C2).verdict is Verdict.VIOLATED
    assert compared.documented_rates(LAB, rules.REGRESSION).verdict is Verdict.VIOLATED


@pytest.mark.parametrize(
    ("what", "instead", "row"),
    [("LEVEL_CONSISTENT", 0.2, "T^-0.9 as T^-1: CONSISTENT"), ("LEVEL_VIOLATED", 0.1, "T^-0.9 as T^-1: VIOLATED")],
)
def test_a_change_of_the_rule_itself_shows(monkeypatch, what, instead, row):
    monkeypatch.setattr(f"theorysim.rates.{what}", instead)
    found = leaves(fixed.verdicts_at_fixed_seeds(Lab(seed=len(row)), experiments=(("d=100", 32),)))
    assert found[f"{row}, d=100, R=32"] is Verdict.VIOLATED


# ------------------------------------------------------------------------------------------------ the command
def test_the_claims_stand_as_a_paper():
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)
    assert all(claim.controls and claim.paper is PAPER and claim.title.endswith(".") for claim in CLAIMS)
    chosen = [claim for claim in CLAIMS if claim.name in ("exact_verdicts", "upper_limits_of_a_skewed_mean")]
    report = check_claims(PAPER, chosen, level="quick", device="cpu")
    assert report.exit_code == 0
    assert report.controls_as_they_must
    lines = list(rate_lines(report_data(report)))
    assert max(map(len, lines)) <= 80
    assert "  log scale: covers" in lines


@pytest.mark.parametrize(("rule", "code"), [("broken", 1), ("sound", 0)])
def test_the_command_writes_a_report_and_leaves_with_its_code(tmp_path, monkeypatch, rule, code):
    setting = {"rule": rules.NO_C2 if rule == "broken" else ""}
    claim = next(claim for claim in CLAIMS if claim.name == "exact_verdicts")

    def judged(lab, **given):
        return exact.exact_verdicts(lab, **(given or setting))

    monkeypatch.setattr("theorysim.calibration.CLAIMS", (replace(claim, function=judged),))
    result = CliRunner().invoke(calibrate_command, ["--quick", "--out", str(tmp_path / "r"), "--json"], standalone_mode=False)
    assert result.return_value == code
    assert json.loads(result.stdout)["exit_code"] == code
    assert (tmp_path / "r" / "report.html").exists()
    assert "CONSISTENT" in (tmp_path / "r" / "table.csv").read_text()
