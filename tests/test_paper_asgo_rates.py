"""Rates, dimension and rank of the paper asgo: light claims with their controls, and what the derivations behind them say."""

from __future__ import annotations

import numpy as np
import pytest

import theorysim as ts
from theorysim.findings import Verdict
from theorysim.lab import Lab
from theorysim.model import Cell
from theorysim.mutation.mutants import select_faults
from theorysim.paper_checks import asgo
from theorysim.registry import ALGORITHMS, PAPERS, algorithm, problem

LIGHT = ["aligned_adagrad_does_not_pay", "error_is_set_by_the_nuclear_norm"]


def test_light_claims_are_consistent_and_their_controls_do_their_duty() -> None:
    report = ts.check("asgo", LIGHT, seed=1)
    assert {claim.claim.name: str(claim.verdict) for claim in report.claims} == dict.fromkeys(LIGHT, "CONSISTENT")
    assert report.controls_as_they_must


def test_standing_still_has_the_right_exponents_and_is_found_out() -> None:
    """Under noise f(W_1) is ‖V‖_* (MT)^{-1/2} / 2 on the self-similar instance: only the distance travelled tells."""
    with ALGORITHMS.replaced("asgo", select_faults(["frozen"])[0].broken(ALGORITHMS.get("asgo"))):
        found = PAPERS.get("asgo").claims["noise_enters_by_its_nuclear_norm"].function(Lab(seeds=8))
    violated = [leaf for leaf in found.leaves() if leaf.verdict is Verdict.VIOLATED]
    assert [leaf.measured for leaf in violated] == [1.0]
    assert found.leaves()[0].measured == pytest.approx(1.0)


def test_a_control_that_does_not_arrive_says_nothing() -> None:
    """ASGO standing still in the place of the rivals has no exponent at all: that is not the reason why it must fail."""
    with ALGORITHMS.replaced("asgo", select_faults(["frozen"])[0].broken(ALGORITHMS.get("asgo"))):
        found = PAPERS.get("asgo").claims["rivals_pay_for_dimension"].function(Lab(), rivals=("ASGO",))
    assert found.verdict is Verdict.UNDECIDED


def test_a_row_of_the_grouped_quadratic_follows_a_scalar_recursion() -> None:
    """x <- x - eta b x / sqrt(sum of ‖b x_s‖^2), the same for every row, turned or not."""
    size, beta, delta, eta, steps = 30, 1.7, 0.4, 0.6, 25
    j = np.arange(1, size + 1.0)
    b, x, total, v = j**-beta, j ** (-(1 + delta) / 2), np.zeros(size), 0.0
    x /= np.linalg.norm(x)
    for _ in range(steps):
        total, v = total + x, v + np.sum((b * x) ** 2)
        x = x - eta * b * x / np.sqrt(v)
    instance = problem(
        "matrix_quadratic",
        m=4,
        n=4 * size,
        right="groups",
        right_decay=beta,
        start="groups",
        start_decay=delta,
        rotation="random",
        decay=1.3,
    )
    trace = Lab().run(Cell(instance, algorithm("average", of=algorithm("asgo", lr=eta)), steps, record="last"))
    expected = 0.5 * np.sum(b * (total / steps) ** 2)
    assert trace["gap"][0, -1] / trace.constant("L_nuclearnorm")[0] == pytest.approx(expected, rel=1e-10)


def test_the_regret_of_sgd_on_a_sum_of_norms_is_an_identity() -> None:
    """f is positively homogeneous and ‖G‖_F = ‖c‖, so sum f(W_t) = (‖X_1‖^2 - ‖X_{T+1}‖^2)/(2 eta) + eta T ‖c‖^2/2."""
    instance, lr, steps = asgo._asgo_rank.Instance(3, 0.6, 0.05), 0.03, 80
    trace = Lab().run(Cell(instance.spec, algorithm("sgd", lr=lr), steps, 2, ("regret", "distance:2"), "all"))
    squares = trace["distance:2"] ** 2
    identity = (squares[:, :1] - squares) / (2 * lr) + lr * trace.steps * np.sum(instance.weights**2) / 2
    np.testing.assert_allclose(trace["regret"], identity, rtol=1e-10, atol=1e-12)
    assert instance.error == pytest.approx(squares[0, 0] / trace.constant("D_op_0")[0] ** 2)


@pytest.mark.parametrize("spectrum", ["head_bulk", "linear"])
def test_the_initial_error_of_the_family_is_an_eighth_of_the_nuclear_norm(spectrum: str) -> None:
    """So A5 cannot see the law of ‖L‖_*: relative to f(W_1) the bound asks for the same steps on every spectrum."""
    built = Lab().build(problem("matrix_quadratic", m=64, n=64, spectrum=spectrum, kappa=2.0, rotation="random"))
    assert built.constants["Delta_0"][0] / built.constants["L_nuclearnorm"] == pytest.approx(1 / 8, rel=0.05)


def test_the_instances_of_one_seed_are_different_ones() -> None:
    labs = asgo._asgo_dimension._worlds(Lab(seed=7), 3)
    spec = problem("matrix_quadratic", m=12, n=12, spectrum="head_bulk", rotation="random")
    smooth = [lab.build(spec).capabilities["left_smoothness"]() for lab in labs]
    assert labs[0].seed == 7
    assert all(np.abs(smooth[i] - smooth[k]).max() > 0.1 for i, k in ((0, 1), (0, 2), (1, 2)))
