"""The paper pamfcn: closed forms against many digits and by hand, light claims, and controls that fail for their own reason."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

import theorysim as ts
from theorysim.findings import Verdict
from theorysim.lab import Lab
from theorysim.mutation.mutants import select_faults
from theorysim.paper_checks import _pamfcn_bounds, _pamfcn_free, _pamfcn_limits, _pamfcn_misestimated
from theorysim.paper_checks import _pamfcn_paper as paper
from theorysim.registry import ALGORITHMS, PAPERS, PROBLEMS, algorithm

LIGHT = ["speed_up_has_three_regimes", "acceleration_is_guaranteed_below", "longest_step"]
ASSUMED = (4.0, 1e2, 1e6, 1e10)


def curvatures(kappa_a: float) -> list[float]:
    inside = [1e-15, 1e-9, 3e-3 / kappa_a, (1 - 1e-3) / kappa_a, (1 + 1e-3) / kappa_a, 30 / kappa_a, 0.4, 0.999]
    return [q for q in inside if q < 1]


def test_light_claims_are_consistent_and_their_controls_do_their_duty() -> None:
    report = ts.check("pamfcn", LIGHT, seed=1)
    assert {claim.claim.name: str(claim.verdict) for claim in report.claims} == dict.fromkeys(LIGHT, "CONSISTENT")
    assert report.controls_as_they_must


# ------------------------------------------------------------------------------------------------ closed forms
def largest_root(total: mpmath.mpf, product: mpmath.mpf) -> mpmath.mpf:
    """The largest modulus of the roots of z^2 - total z + product."""
    root = mpmath.sqrt(total**2 - 4 * product)
    return max(abs(total + root), abs(total - root)) / 2


@pytest.mark.parametrize("kappa_a", ASSUMED)
def test_rates_are_those_of_the_roots_of_the_characteristic_polynomials(kappa_a: float) -> None:
    with mpmath.workdps(60):
        root = mpmath.sqrt(mpmath.mpf(kappa_a))
        for q in curvatures(kappa_a):
            th, exact = (root - 1) / (root + 1), mpmath.mpf(q)
            nag = -mpmath.log(largest_root((1 + th) * (1 - exact), th * (1 - exact)))
            ball = -mpmath.log(largest_root(1 + th**2 - (1 + th) ** 2 * exact, th**2))
            assert float(paper.nag_rate(q, kappa_a)) == pytest.approx(float(nag), rel=1e-12)
            assert float(paper.heavy_ball_rate(q, kappa_a)) == pytest.approx(float(ball), rel=1e-12)


def test_rates_at_the_ends() -> None:
    assert paper.nag_rate(0.25, 4.0) == pytest.approx(-math.log(0.5))  # the double root 1 - sqrt s
    assert paper.nag_rate(0.3, 1.0) == pytest.approx(paper.descent_rate(0.3))  # kappa_a = 1 is gradient descent
    assert paper.heavy_ball_rate(0.3, 1.0) == pytest.approx(paper.descent_rate(0.3))
    assert np.isinf(paper.nag_rate(1.0, 9.0))


@pytest.mark.parametrize("kappa_a", ASSUMED)
def test_multiplier_follows_the_recursion(kappa_a: float) -> None:
    """y_{t+1} = (1 - q)((1 + th) y_t - th y_{t-1}), y_{-1} = y_0, with 50 digits."""
    steps = [0, 1, 2, 7, 60, 200]
    with mpmath.workdps(50):
        root = mpmath.sqrt(mpmath.mpf(kappa_a))
        th = (root - 1) / (root + 1)
        for q in [0.0, *curvatures(kappa_a), 1 / kappa_a, 1.0]:
            path = [mpmath.mpf(1), mpmath.mpf(1)]
            for _ in range(steps[-1]):
                path.append((1 - mpmath.mpf(q)) * ((1 + th) * path[-1] - th * path[-2]))
            value, size = paper.multiplier(q, kappa_a, steps)
            expected = np.array([float(path[t + 1]) for t in steps])
            np.testing.assert_allclose(value, expected, rtol=0, atol=1e-11 * size.max() + 0.0)
            assert (np.abs(value - expected) <= 1e-10 * size).all()


def test_multiplier_by_hand() -> None:
    """phi_1 = 1 - q and phi_2 = (1 - q)((1 + th)(1 - q) - th); th = 1/2 for kappa_a = 9."""
    value, _ = paper.multiplier(0.2, 9.0, [0, 1, 2])
    np.testing.assert_allclose(value, [1.0, 0.8, 0.8 * (1.5 * 0.8 - 0.5)], rtol=1e-14)


def test_radius_of_a_step_that_is_too_long() -> None:
    for kappa_a, c in ((9.0, 1.3), (1e4, 1.34), (400.0, 1.7)):
        th = (math.sqrt(kappa_a) - 1) / (math.sqrt(kappa_a) + 1)
        roots = np.roots([1.0, -(1 + th) * (1 - c), th * (1 - c)])
        assert _pamfcn_limits._radius(c, kappa_a) == pytest.approx(np.abs(roots).max(), rel=1e-12)


# ------------------------------------------------------------------------------------------------ how the claims measure
def test_a_bound_of_zero_is_kept_by_zero_only() -> None:
    texts = (_pamfcn_bounds._OSCILLATING, _pamfcn_bounds._FALLING)
    q, steps = np.array([0.9, 1.0]), np.array([0.0, 1.0, 3000.0])
    phi = np.array([[1.0, 0.1, 5e-324], [1.0, 0.0, 0.0]])
    ratio = _pamfcn_bounds._ratios(phi, texts, q, steps, 4.0)
    assert ratio[:, 0] == pytest.approx(1.0)
    assert ratio[0, 1] == pytest.approx(0.1 / (3 * math.sqrt(0.1 / 3)))
    assert ratio[0, 2] == ratio[1, 1] == ratio[1, 2] == 0.0
    phi[1, 1] = 1e-300
    assert np.isinf(_pamfcn_bounds._ratios(phi, texts, q, steps, 4.0)[1, 1])


@pytest.mark.parametrize("stepwise", [True, False])
def test_measured_rate_of_gradient_descent(stepwise: bool) -> None:
    """kappa_a = 1: every error is (1 - q)^t, so the slope is the rate itself."""
    guess = _pamfcn_misestimated.Guess(50.0, 1 / 50, stepwise)
    assert guess.horizon == math.ceil(30 / -math.log(1 - 1 / 50))
    assert _pamfcn_misestimated.measured_rate(Lab().run(guess.cell(1.0))) == pytest.approx(-math.log(1 - 1 / 50), rel=1e-9)


def test_worst_direction_in_one_step() -> None:
    """T = 1: kappa_a = 1, and q (1 - q)^2 is largest at q = 1/3, where it is 4/27."""
    assert _pamfcn_free.tuned(1, 1.5) == 1.0
    assert _pamfcn_free.tuned(100, 1.5) == pytest.approx((100 / (1.5 * math.log(101))) ** 2)
    found = _pamfcn_free.worst(Lab(), algorithm("parametrized_nesterov", kappa_a=1.0), 1.0, [1])
    assert found[0] == pytest.approx(4 / 27, rel=1e-3)


# ------------------------------------------------------------------------------------------------ controls
def test_a_heavy_ball_that_does_not_roll_is_no_control() -> None:
    claim = PAPERS.get("pamfcn").claims["speed_up_has_three_regimes"]
    with ALGORITHMS.replaced(paper.HEAVY_BALL, select_faults(["frozen"])[0].broken(ALGORITHMS.get(paper.HEAVY_BALL))):
        found = claim.function(Lab(), name=paper.HEAVY_BALL)
    assert found.verdict is Verdict.UNDECIDED


@pytest.mark.parametrize("fault", ["L1_halved", "declared_noise_steady", "trace_halved", "Delta_halved"])
def test_another_kind_of_noise_is_no_control(fault: str) -> None:
    claim = PAPERS.get("pamfcn").claims["acceleration_is_guaranteed_below"]
    assert claim.function(Lab(), noise=True).verdict is Verdict.VIOLATED
    with PROBLEMS.replaced("least_squares", select_faults([fault])[0].broken(PROBLEMS.get("least_squares"))):
        assert claim.function(Lab(), noise=True).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize("tuning", [0.5, 3.0])
def test_the_bound_alone_does_not_notice_a_wrong_tuning(tuning: float) -> None:
    found = PAPERS.get("pamfcn").claims["no_condition_number_is_needed"].function(Lab(), tuning=tuning)
    verdicts = [leaf.verdict for leaf in found.leaves()]
    assert verdicts == [Verdict.CONSISTENT, Verdict.VIOLATED, Verdict.VIOLATED]


@pytest.mark.parametrize(
    "name",
    [*LIGHT, "closed_form_is_the_iteration", "true_condition_number_doubles_the_exponent", "fixed_parameter_keeps_one_over_T"],
)
def test_a_method_that_never_moves_is_noticed(name: str) -> None:
    broken = select_faults(["frozen"])[0].broken(ALGORITHMS.get(paper.NAG))
    with ALGORITHMS.replaced(paper.NAG, broken), np.errstate(all="ignore"):
        assert PAPERS.get("pamfcn").claims[name].function(Lab()).verdict is Verdict.VIOLATED
