"""The rate verdict against planted laws, hand-made oracles and deliberately weakened variants of the rule."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import statsmodels.api
from scipy import stats

from theorysim.analyses.exponent import exponent
from theorysim.findings import Verdict
from theorysim.model import TheorysimError
from theorysim.rates import estimate, fit_exponent, judge
from theorysim.rivals import Diagnosis, diagnose

T = np.geomspace(16, 4096, 13)
X = np.log(T)
END = T[-1]


def running_mean(rng, replicates, seeds, dim):
    """(1/dT) |W_T|^2 for a Brownian path in R^d: the error of a running mean over its expectation, correlated in T."""
    steps = np.sqrt(np.diff(T, prepend=0.0))
    path = np.zeros((replicates, seeds, dim))
    out = np.empty((replicates, seeds, len(T)))
    for j, step in enumerate(steps):
        path += step * rng.standard_normal(path.shape)
        out[:, :, j] = np.sum(path**2, axis=2) / (dim * T[j])
    return out


def noise(kind, rng, replicates, seeds):
    if kind == "fresh":
        return rng.chisquare(10, (replicates, seeds, len(T))) / 10
    scale = {"running": 0.0, "lognormal": 1.0, "heavy": 2.0}[kind]
    return running_mean(rng, replicates, seeds, 10) * np.exp(scale * rng.standard_normal((replicates, seeds, 1)) - scale**2 / 2)


@pytest.mark.parametrize(
    ("first", "last", "log_drift", "log_slope", "limit"),
    [(16, 4096, 0.135, 0.192, 0.122), (64, 65536, 0.088, 0.138, 0.079), (100, 1e4, 0.068, 0.149, 0.061)],
)
def test_the_size_of_a_log_factor(first, last, log_drift, log_slope, limit):
    grid = np.geomspace(first, last, 13)
    numbers = estimate(grid, np.log(grid), exact=True)
    assert numbers.log_drift == pytest.approx(log_drift, abs=6e-4)
    assert numbers.log_slope == pytest.approx(log_slope, abs=6e-4)
    assert judge(numbers, 0.1).drift_limit == pytest.approx(limit, abs=6e-4)
    assert numbers.value["k"] == pytest.approx(1.0, rel=1e-9)
    assert numbers.value["D"] == pytest.approx(-numbers.log_drift, rel=1e-9)


def test_numbers_equal_regressions_and_a_jackknife_by_hand():
    rng = np.random.default_rng(1)
    errors, law = rng.lognormal(size=(9, 13)) / T, T**-0.9

    def by_hand(sample):
        y = np.log(sample.mean(axis=0)) - np.log(law)
        parts = {"theta": slice(0, 13), "H": slice(6, 13), "t1": slice(0, 5), "t2": slice(4, 9), "t3": slice(8, 13)}
        numbers = {name: stats.linregress(X[part], y[part]).slope for name, part in parts.items()}
        numbers["k"] = statsmodels.api.OLS(y, np.stack([np.ones(13), X, np.log(X)], axis=1)).fit().params[2]
        span = X[-1] - X[0]
        numbers["D"] = numbers["k"] * (1 / (X[0] + 5 * span / 6) - 1 / (X[0] + span / 6))
        return numbers | {"L": numbers["theta"] + numbers["D"]}

    got = estimate(T, errors, np.log(law))
    left_out = [by_hand(np.delete(errors, r, axis=0)) for r in range(9)]
    for name, value in by_hand(errors).items():
        assert got.value[name] == pytest.approx(value, rel=1e-10, abs=1e-12), name
        values = np.array([numbers[name] for numbers in left_out])
        assert got.error[name] == pytest.approx(np.sqrt(8 / 9 * np.sum((values - values.mean()) ** 2)), rel=1e-10), name
    shares = (errors / errors.mean(axis=0)).mean(axis=1)
    assert got.n_eff == pytest.approx(81 / np.sum(shares**2))
    assert got.df == pytest.approx(got.n_eff - 1)


def test_seed_order_and_scale_do_not_matter_and_batches_equal_a_loop():
    rng = np.random.default_rng(2)
    errors = noise("lognormal", rng, 5, 12) / T
    batch = estimate(T, errors, -X)
    for n, one in enumerate(errors):
        for scaled in (1e-200 * one, 1e200 * one, 1.5e308 * (one / one.max())):
            single = estimate(T, rng.permutation(scaled, axis=0), -X)
            assert single.df == pytest.approx(batch.df[n], rel=1e-10)
            for name in single.value:
                assert single.value[name] == pytest.approx(batch.value[name][n], rel=1e-10, abs=1e-10)
                assert single.error[name] == pytest.approx(batch.error[name][n], rel=1e-10)


def test_one_seed_that_carries_the_mean_is_seen():
    """Total minus the seed would cancel here; the left-out mean is that of the others."""
    errors = noise("fresh", np.random.default_rng(3), 1, 8)[0] / T
    errors[3] *= 1e25 * T**0.5
    rest = np.delete(errors, 3, axis=0)
    assert estimate(T, errors).df == 1.0
    slopes = [stats.linregress(X, np.log(errors[3])).slope] * 7 + [stats.linregress(X, np.log(rest.mean(axis=0))).slope]
    assert estimate(T, errors).error["theta"] == pytest.approx(np.sqrt(7 * np.var(slopes)), rel=1e-9)


@pytest.mark.parametrize("kind", ["running", "lognormal", "fresh"])
@pytest.mark.parametrize("seeds", [8, 16, 32])
def test_intervals_cover(kind, seeds):
    numbers = estimate(T, noise(kind, np.random.default_rng(seeds), 2000, seeds) / T, -X)
    quantile = stats.t.ppf(0.975, numbers.df)
    for name in ("theta", "H", "D", "L"):
        covered = np.mean(np.abs(numbers.value[name]) < quantile * numbers.error[name])
        assert 0.93 < covered < 0.98, (name, covered)


def test_student_with_all_seeds_and_regression_over_checkpoints_would_not_cover():
    rng = np.random.default_rng(4)
    numbers = estimate(T, noise("heavy", rng, 2000, 16) / T, -X)
    within = np.abs(numbers.value["theta"]) / numbers.error["theta"]
    assert np.mean(within < stats.t.ppf(0.975, 15)) < 0.91
    assert 0.94 < np.mean(within < stats.t.ppf(0.975, numbers.df)) < 0.98
    fits = [stats.linregress(X, curve) for curve in np.log(noise("running", rng, 500, 16).mean(axis=1))]
    assert np.mean([abs(fit.slope) < stats.t.ppf(0.975, 11) * fit.stderr for fit in fits]) < 0.88


ROWS = {  # law, exponent claimed, CONSISTENT and VIOLATED in % at (d, R) = (10, 64) and (100, 16)
    "true": (1 / T, -1.0, (17, 0), (80, 0)),
    "off by 2 delta": (T**-0.8, -1.0, (0, 87), (0, 99.6)),
    "log, its apparent exponent claimed": (X / T, -0.81, (0.7, 0), (0.8, 0)),
    "transient": (1 / T + 10 / T**2, -1.0, (0, 0), (0, 0)),
    "floor": (1 / T + 4 / END, -1.0, (0, 100), (0, 100)),
}


@pytest.mark.parametrize(("dim", "seeds", "column"), [(10, 64, 2), (100, 16, 3)])
def test_rates_of_the_verdicts(dim, seeds, column):
    unit = running_mean(np.random.default_rng(dim), 500, seeds, dim)
    for name, row in ROWS.items():
        judged = judge(estimate(T, unit * row[0], row[1] * X), 0.1)
        for share, percent in zip((judged.is_consistent, judged.is_violated), row[column], strict=True):
            p = percent / 100
            assert abs(share.mean() - p) < 3 * np.sqrt(p * (1 - p) / 500) + 0.01, name
        assert not np.any(judged.is_consistent & judged.is_violated)
        assert np.array_equal(judged.is_violated, (judged.p_violated < 0.01) & (judged.p_drift >= 0.02))
        assert np.array_equal(judged.is_consistent, judged.p_consistent < 0.02)


def test_without_the_drift_conditions_the_rule_would_err():
    unit = running_mean(np.random.default_rng(6), 300, 64, 10)
    log = judge(estimate(T, unit * X / T, -0.81 * X), 0.1)
    assert np.mean(log.consistent["C1"] & log.consistent["C3"]) > 0.7
    assert np.mean(log.is_consistent) < 0.03
    transient = judge(estimate(T, unit / (T + 300), -X), 0.1)
    assert np.mean(transient.violated["V1"] & transient.violated["V2"]) > 0.9
    assert np.mean(transient.is_violated) < 0.01
    noisy = judge(estimate(T, running_mean(np.random.default_rng(6), 300, 16, 3) / (T + 2000), -X), 0.1)
    assert np.mean(np.all([noisy.violated[name] for name in ("V1", "V2", "V3", "V5")], axis=0)) > 0.2
    assert np.mean(noisy.is_violated) < 0.02


def test_an_upper_bound_that_is_beaten_is_consistent():
    unit = running_mean(np.random.default_rng(7), 500, 16, 10)
    faster = judge(estimate(T, unit * T**-1.2, -X), 0.1, one_sided=True)
    assert abs(faster.is_consistent.mean() - 0.72) < 0.07
    assert not faster.is_violated.any()
    slower = judge(estimate(T, unit * T**-0.8, -X), 0.1, one_sided=True)
    assert slower.is_violated.mean() > 0.1
    assert not slower.is_consistent.any()


EXACT = [
    ("C", 1 / T, -1), ("V", T**-0.85, -1), ("V", T**-0.8, -1), ("V", T**-1.2, -1), ("U", X / T, -1), ("U", X / T, -0.81),
    ("U", 1 / T + 10 / T**2, -1), ("U", 1 / T + 50 / T**2, -1), ("U", 1 / (T + 100), -1), ("U", 1 / T + 500 / T**2, -1),
    ("U", (1 + 10 * T**-0.5) / T, -1), ("U", 1 / T + 0.3 / END, -1), ("V", 1 / T + 1 / END, -1), ("V", 1 / T + 4 / END, -1),
    ("U", np.exp(-5 * T / END), -1), ("V", np.exp(-50 * T / END), -1),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "law", "claim"), EXACT)
def test_exact_verdicts(expected, law, claim):
    finding = exponent(T, law, claim=claim, exact=True)
    assert finding.verdict.value[0] == expected
    assert finding.interval is None
    assert finding.measured == pytest.approx(stats.linregress(X, np.log(law)).slope)


@pytest.mark.parametrize(
    ("law", "expected"), [(1 / T, "C"), (T**-1.2, "C faster"), (T**-0.8, "V"), (np.exp(-50 * T / END), "C faster"), (X / T, "U")]
)
def test_exact_one_sided_verdicts(law, expected):
    finding = exponent(T, law, claim=-1, one_sided=True, exact=True)
    assert finding.verdict.value[0] == expected[0]
    assert ("not tight" in finding.reason) == ("faster" in expected)


def test_a_claim_with_a_logarithm_is_compared_with_the_law_itself():
    finding = exponent(T, 3 * X / T, law=lambda t: np.log(t) / t, exact=True)
    assert finding.verdict is Verdict.CONSISTENT
    assert finding.measured == pytest.approx(finding.predicted) == pytest.approx(stats.linregress(X, np.log(X / T)).slope)
    assert exponent(T, 3 / T, law=X / T, exact=True).verdict is Verdict.UNDECIDED


def test_a_sweep_that_starts_at_one():
    """log log of the first value does not exist there; the log factor is then 1 + log of the variable."""
    kappa = np.geomspace(1, 1000, 10)
    assert exponent(kappa, 5 * kappa, claim=1, exact=True).verdict is Verdict.CONSISTENT
    assert exponent(kappa, kappa**1.2, claim=1, exact=True).verdict is Verdict.VIOLATED
    log = exponent(kappa, kappa * (1 + np.log(kappa)), claim=1, exact=True)
    assert log.verdict is Verdict.UNDECIDED
    assert (log.details["k"], log.details["d_max"]) == pytest.approx((1, 0.15))


def seeded(law, seeds=16):
    return running_mean(np.random.default_rng(8), 1, seeds, 10)[0] * law


def test_a_finding_carries_its_evidence():
    errors = seeded(T**-0.8, 64)
    finding = exponent(T, errors, claim=-1, within=0.1, label="rate", variable="steps")
    numbers = estimate(T, errors, -X)
    reach = stats.t.ppf(0.975, numbers.df) * numbers.error["theta"]
    assert finding.verdict is Verdict.VIOLATED
    assert (finding.label, finding.predicted, finding.limits) == ("rate", -1.0, (-1.1, -0.9))
    assert finding.measured == pytest.approx(numbers.value["theta"] - 1)
    assert finding.interval == pytest.approx((finding.measured - reach, finding.measured + reach))
    assert finding.details["p_V"] < 0.01 < finding.details["p_C"]
    (panel,) = finding.panels
    measured, predicted = panel.series
    assert (panel.x_label, panel.window) == ("steps", pytest.approx((16, 4096)))
    assert (measured.role, predicted.role) == ("measured", "predicted")
    assert measured.y == pytest.approx(errors.mean(axis=0))
    assert all(low < mean < high for low, mean, high in zip(measured.low, measured.y, measured.high, strict=True))
    assert stats.linregress(X, np.log(predicted.y)).slope == pytest.approx(-1)
    assert np.mean(np.log(predicted.y)) == pytest.approx(np.mean(np.log(measured.y)))


@pytest.mark.parametrize(
    ("keep", "seeds", "said"),
    [(slice(0, 13, 3), 16, "5 of the 7 sweep"), (slice(3, 13), 16, "a factor of 64"), (slice(0, 13), 7, "7 of the 8 seeds")],
)
def test_too_little_data_is_undecided(keep, seeds, said):
    finding = exponent(T[keep], seeded(1 / T**3, seeds)[:, keep], claim=-1)
    assert (finding.verdict, said in finding.reason) == (Verdict.UNDECIDED, True)


def test_the_reason_names_the_failed_condition_the_drift_and_the_seeds():
    errors = seeded(1 / T, 32)
    finding = exponent(T, errors, claim=-1)
    error = estimate(T, errors, -X).error
    needed = np.ceil(32 * max(2, (3.7 * error["D"] / finding.details["d_max"]) ** 2, (3.7 * error["theta"] / 0.1) ** 2))
    assert finding.verdict is Verdict.UNDECIDED
    assert "a drift of the local slope by 0.122 is not excluded; no significant drift" in finding.reason
    assert f"about {needed:.0f} seeds are needed" in finding.reason
    bent = exponent(T, seeded(1 / T + 50 / T**2, 256), claim=-1)
    assert "later half" in bent.reason
    assert "towards the claim" in bent.reason
    assert "more seeds alone would not decide it" in bent.reason


# ------------------------------------------------------------------------------------------------ the diagnosis
@pytest.mark.parametrize(
    ("law", "seeds", "verdict", "said"),
    [
        (1 / T + 50 / T**2, 64, "U", "start the window at about"),
        (1 / (T + 3000), 64, "U", "a transient that fills the window cannot be told from another exponent"),
        (1 / T + 0.3 / END, 256, "U", "a floor below about 0.3 of the claim's last value cannot be told"),
        (1 / T + 4 / END, 16, "V", "the curve flattens"),
        (X / T, 512, "U", "in this window a log factor counts as T^0.19"),
        (np.exp(-5 * T / END), 32, "U", "log-linear fits better"),
        (T**-0.8, 64, "V", "a power T^-0.81"),
    ],
)
def test_the_reason_names_the_best_rival(law, seeds, verdict, said):
    finding = exponent(T, seeded(law, seeds), claim=-1)
    assert finding.verdict.value[0] == verdict
    assert said in finding.reason and finding.details["rival_text"] in finding.reason
    assert len(finding.reason) < 450
    if verdict == "V":
        assert finding.evidence.violated == finding.reason


def test_the_numbers_of_the_diagnosis_are_in_the_details():
    errors = seeded(1 / T + 4 / END, 16)
    details = exponent(T, errors, claim=-1).details
    found = diagnose(T, np.log(errors.mean(axis=0)), -1)
    assert (details["rival"], details["rival_clear"]) == ("floor", True)
    assert details["rival_parameter"] == pytest.approx(found.parameter) == pytest.approx(4 / END, rel=0.5)
    assert details["rivals"] == pytest.approx(found.rss) and np.isfinite(list(details["rivals"].values())).all()
    against_law = exponent(T, errors, law=lambda t: 1 / t).details["rivals"]
    assert "burn_in" not in against_law
    assert against_law["floor"] == pytest.approx(details["rivals"]["floor"])


def test_noise_alone_calls_for_no_rival():
    finding = exponent(T, seeded(1 / T, 32), claim=-1)
    assert finding.details["rival_text"] not in finding.reason
    assert "no significant change" in finding.details["thirds"]


@pytest.mark.parametrize(
    ("law", "said"),
    [(1 / T + 10 / T**2, "settling"), (X / T, "settling"), (1 / T + 4 / END, "running away"), (1 / T, "no significant")],
)
def test_the_thirds_are_told_in_words(law, said):
    details = exponent(T, law, claim=-1, exact=True).details
    assert said in details["thirds"]
    if said != "no significant":
        assert f"{details['ratio_of_thirds']:.2f} of the first" in details["thirds"]


def test_a_clear_rival_is_drawn_where_the_claim_is_in_doubt():
    floor = exponent(T, 3 / T + 12 / END, claim=-1, exact=True).panels[0].series
    assert [series.label for series in floor[1:]] == ["slope -1", "best rival: floor"]
    assert floor[-1].role == "predicted" and floor[-1].y == pytest.approx(3 / T + 12 / END)
    for law in (1 / T, (1 + 10 * T**-0.5) / T):  # consistent; a tie
        assert len(exponent(T, law, claim=-1, exact=True).panels[0].series) == 2


def test_a_window_that_hides_a_log_factor_says_so():
    late = np.geomspace(1e5, 1e9, 13)
    finding = exponent(late, np.log(late) / late, claim=-1, within=0.1, exact=True)
    assert finding.verdict is Verdict.CONSISTENT
    assert "a log factor counts as T^0.06, less than the tolerance" in finding.reason
    assert "less than" not in exponent(T, 1 / T, claim=-1, exact=True).reason


def test_too_many_seeds_name_the_limits_of_a_window():
    swing = 0.5 * np.random.default_rng(4).uniform(-1, 1, (8, 13))
    finding = exponent(T, np.concatenate([1 + swing, 1 - swing]) / T, claim=-1, within=3e-4)
    assert finding.verdict is Verdict.UNDECIDED
    assert "more than is feasible: no window decides on a transient that fills it" in finding.reason


def test_the_diagnosis_decides_nothing(monkeypatch):
    sweeps = [(T, law, claim, True) for _, law, claim in EXACT]
    for law in (1 / T, T**-0.8, X / T, 1 / T + 50 / T**2, 1 / T + 4 / END):
        sweeps += [(T, seeded(law, seeds), -1, False) for seeds in (8, 64, 256)]
    cases = [(*case, one_sided) for case in sweeps for one_sided in (False, True)]

    def judged():
        found = [exponent(x, errors, claim=claim, exact=exact, one_sided=one) for x, errors, claim, exact, one in cases]
        p = [(f.evidence.p_violated, f.evidence.p_consistent, f.evidence.p_drift) if f.evidence else None for f in found]
        return [f.verdict for f in found], p

    before = judged()
    assert len(set(before[0])) == 3
    nothing = Diagnosis("power", np.nan, True, (), {"claim": np.nan}, np.ones(13), "nothing is known")
    monkeypatch.setattr(sys.modules["theorysim.analyses.exponent"], "diagnose", lambda *_, **__: nothing)
    assert judged() == before


@pytest.mark.parametrize("points", [2, 3])
@pytest.mark.parametrize("values", [np.ones(3), np.array([1.0, 0.5, 0.25])])
def test_few_or_equal_points_have_a_diagnosis_too(points, values):
    finding = exponent(T[:points], values[:points], claim=-1, exact=True)
    assert finding.verdict is Verdict.UNDECIDED
    assert finding.details["rival_clear"] is False


def test_diverged_seeds_are_never_dropped():
    errors = seeded(T**-1.5)
    errors[3, 7:], errors[5, 9] = np.inf, np.nan
    finding = exponent(T, errors, claim=-1, one_sided=True)
    assert finding.verdict is Verdict.VIOLATED
    assert "2 of 16 seeds are not finite (first at 406.375)" in finding.reason
    assert exponent(T, errors, claim=-1).verdict is Verdict.UNDECIDED
    assert len(finding.panels[0].series[0].x) == 7


@pytest.mark.parametrize("value", [0.0, -1e-9, -np.inf])
def test_values_without_a_logarithm_are_undecided(value):
    errors = seeded(1 / T)
    errors[2, 12] = value
    finding = exponent(T, errors, claim=-1, one_sided=True)
    assert finding.verdict is Verdict.UNDECIDED
    assert "zero or negative (first at 4096)" in finding.reason


def test_excluded_points_are_shown_and_not_fitted():
    sweep = np.append(T, [8192.0, 1.0])
    curve = np.append(1 / T, [1e-3, 5.0])
    order = np.random.default_rng(9).permutation(15)
    finding = exponent(sweep[order], curve[order], claim=-1, exact=True, excluded=np.isin(sweep, [8192.0, 1.0])[order])
    assert (finding.verdict, finding.measured) == (Verdict.CONSISTENT, pytest.approx(-1))
    shown = {series.role: series for series in finding.panels[0].series}
    assert (shown["excluded"].x, shown["excluded"].y) == ((1.0, 8192.0), (5.0, 1e-3))
    assert exponent(sweep, curve, claim=-1, exact=True).verdict is not Verdict.CONSISTENT


@pytest.mark.parametrize(
    ("change", "said"),
    [({"law": T}, "either claim"), ({"claim": None}, "either claim"), ({"within": 0.0}, "above 0"), ({"x": T[:-1]}, "fit"),
     ({"x": np.append(T[:-1], T[0])}, "different"), ({"x": -T}, "positive"), ({"exact": True}, "one curve"),
     ({"claim": None, "law": -T}, "law must be positive"), ({"excluded": T}, "boolean mask")],
)  # fmt: skip
def test_mistakes_are_explained(change, said):
    arguments = {"x": T, "errors": seeded(1 / T), "claim": -1} | change
    with pytest.raises(TheorysimError, match=said):
        exponent(arguments.pop("x"), arguments.pop("errors"), **arguments)


def test_a_fit_of_ones_own_data():
    fit = fit_exponent([1, 10, 100, 1000], [2, 20, 200, 2000])
    assert (fit.value, fit.interval, fit.seeds) == (pytest.approx(1), None, 0)
    errors = seeded(T**-0.7, 20)
    fit = fit_exponent(T, errors)
    assert fit.value == fit.theta == pytest.approx(stats.linregress(X, np.log(errors.mean(axis=0))).slope)
    assert fit.interval[0] < -0.7 < fit.interval[1]
