"""The paper on MaSS: the numbers of its derivations, computed through the engine, and its light claims with their controls."""

from __future__ import annotations

import numpy as np
import pytest

import theorysim as ts
from theorysim.backend import CPU
from theorysim.build import build_algorithm
from theorysim.findings import Verdict
from theorysim.lab import Lab
from theorysim.model import Cell, Draw, Spec
from theorysim.mutation.mutants import select_faults
from theorysim.noise import Draws
from theorysim.paper_checks import _mass_paper as paper
from theorysim.paper_checks import _mass_recursions as recursions
from theorysim.paper_checks import mass
from theorysim.problems._datasets import digits
from theorysim.registry import ALGORITHMS, PAPERS, algorithm, problem
from theorysim.run import Oracle

batches, momentum, transient = mass._mass_batches, mass._mass_momentum, mass._mass_transient
LIGHT = ["wrong_constants", "acceleration_over_sgd", "label_noise_leaves_a_floor", "expectations"]
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def products(problems: list[Spec]) -> Floats:
    traces = paper.rates(Lab(), problems, paper.mass())
    return paper.decays(traces) * paper.scales(traces)


def test_light_claims_are_consistent_and_their_controls_do_their_duty() -> None:
    report = ts.check("mass", LIGHT, seed=1)
    assert {claim.claim.name: str(claim.verdict) for claim in report.claims} == dict.fromkeys(LIGHT, "CONSISTENT")
    assert report.controls_as_they_must


# ------------------------------------------------------------------------------------------------ the rate
def test_the_rate_of_decoupled_data_has_the_digits_of_high_precision() -> None:
    """(1 - rho) S for c = 6, confirmed with 50 digits, down to 1 - rho = 3e-6."""
    found = products([paper.decoupled(6.0, 10.0**k) for k in (1, 2, 3, 4, 5, 6, 8, 10)])
    np.testing.assert_allclose(found, [1.3707, 1.5170, 1.6475, 1.7517, 1.8282, 1.8821, 1.9450, 1.9745], atol=6e-5)


@pytest.mark.parametrize(
    ("dim", "expected"), [(4, (1.419, 1.694, 1.854)), (64, (1.236, 1.543, 1.773)), (1000, (1.070, 1.357, 1.652))]
)
def test_the_rate_of_gaussian_data_has_the_digits_of_high_precision(dim: int, expected: tuple[float, ...]) -> None:
    np.testing.assert_allclose(products([paper.gaussian(dim, 10.0**k) for k in (2, 4, 6)]), expected, atol=6e-4)


def test_many_distinct_eigenvalues_do_not_break_the_rate() -> None:
    """1 (723 times), 5.58e-3 (805), 1.16e-6 (354): the products of w and u would say 1 - rho < 0."""
    spectrum = [1.0] * 723 + [5.58e-3] * 805 + [1.16e-6] * 354
    assert products([problem("least_squares", dim=len(spectrum), spectrum=spectrum)])[0] == pytest.approx(1.8145, abs=5e-3)


def test_the_fixed_instance() -> None:
    """Gaussian data, eigenvalues 1, .1, .01, m = 2: weights, expectations and largest ratios, worked out with many digits."""
    weights = recursions.mass((2 + 1.11) / 2 + 0.5, 5 / 2 + 0.5, 0.01)
    assert weights[:3] == pytest.approx((0.4866180049, 0.9225689097, 0.3118522157), abs=1e-10)
    instance = problem("least_squares", data="gaussian", dim=3, spectrum=[1.0, 0.1, 0.01], batch=2)
    trace = Lab().run(Cell(instance, paper.mass(), 200, 1, transient._MEASURES, "all", exact=True))
    assert paper.scales([trace])[0] == pytest.approx(24.829418, abs=1e-6)
    assert trace["square_distance"][0, [20, 200]] == pytest.approx([0.70040782965, 1.32783477925e-5], rel=1e-10)
    assert trace["gap"][0, 20] == pytest.approx(0.010876020071, rel=1e-10)
    shrunk = (1 - 1 / paper.scales([trace])[0]) ** np.arange(201)
    assert (trace["square_distance"][0] / 6 / shrunk)[1:].max() == pytest.approx(0.421, abs=6e-4)
    potential = transient.with_potential(trace)["potential"][0]
    assert (potential / shrunk)[1:].max() == pytest.approx(0.972, abs=6e-4)


def test_the_potential_is_that_of_the_second_sequence() -> None:
    """|v - w*|^2_{H^-1} + |w - w*|^2/mu, from v of simulated runs of the three sequences."""
    instance = problem("least_squares", data="decoupled", dim=2, spectrum=[1.0, 0.3], batch=8, start=[1.0, -2.0])
    exact = transient.with_potential(Lab().run(Cell(instance, paper.mass(), 3, 1, transient._MEASURES, "all", exact=True)))
    built, lam = Lab().build(instance, 40_000), np.array([1.0, 0.3])
    method = build_algorithm(algorithm("mass_three_sequences"), built, Draws(CPU, 0, np.arange(40_000)))
    oracle, state, means = Oracle(built), method.init(built, built.start), []
    for t in (1, 2, 3):
        oracle.begin(t)
        state = method.step(state, oracle)
        means.append(float(np.mean((state.auxiliary**2 / lam + state.x**2 / 0.3).sum(axis=1))))
    start = float(np.sum(built.start[0] ** 2 * (1 / lam + 1 / 0.3)))
    np.testing.assert_allclose(exact["potential"][0, 1:], np.array(means) / start, rtol=0.01)
    assert exact["potential"][0, 3] < 0.95


@pytest.mark.parametrize("data", ["decoupled", "gaussian"])
def test_the_constants_of_random_instances_are_those_of_their_law(data: str) -> None:
    for each in transient.instances(Lab(seed=3), data, 8):
        constants = Lab().build(each.spec).constants
        assert each.slow == pytest.approx(constants["kappa_m"]) and each.time**2 == pytest.approx(
            constants["kappa_m"] * constants["kappa_tilde_m"]
        )


def test_standing_still_is_noticed() -> None:
    frozen = select_faults(["frozen"])[0]
    claims = PAPERS.get("mass").claims
    for name, method in (("accelerated_rate", "mass"), ("sgd_contracts", "sgd"), ("nesterov_diverges", "nesterov")):
        with ALGORITHMS.replaced(method, frozen.broken(ALGORITHMS.get(method))):
            assert claims[name].function(Lab()).verdict is Verdict.VIOLATED


# ------------------------------------------------------------------------------------------------ momentum alone
def test_the_limit_of_stability_of_nesterov() -> None:
    """Measured with the map of second moments, for the closed form that the claim compares with."""
    table = {3: 0.65139, 4: 0.60391, 5: 0.57916, 6: 0.56394, 9: 0.54057, 12: 0.52971, 20: 0.51734, 48: 0.50706}
    for c, expected in table.items():
        assert momentum.stability_limit(float(c)) == pytest.approx(expected, abs=6e-6)


@pytest.mark.parametrize(
    ("method", "c", "kappa", "expected"),
    [
        ("nesterov", 6.0, 1e5, 1.321),
        ("nesterov", 4.0, 1e3, 3.034),
        ("nesterov", 48.0, 1e4, 0.0887),
        ("heavy_ball", 12.0, 1e6, 0.3635),
    ],
)
def test_the_best_weights_are_found(method: str, c: float, kappa: float, expected: float) -> None:
    """Against a search by another method (Nelder-Mead from six points of a grid)."""
    assert momentum.tuned(Lab(), paper.decoupled(c, kappa), method).decay * kappa == pytest.approx(expected, rel=2e-3)


# ------------------------------------------------------------------------------------------------ batches
def test_the_slopes_of_the_three_regimes() -> None:
    """Labelled by the upper end of each interval."""
    expected = {64: 0.531, 128: 0.508, 256: 0.481, 4096: 0.219, 32768: 0.049, 524288: 0.006}
    data = batches.Data(2000, 1)
    sizes = sorted({m // i for m in expected for i in (1, 2)})
    found = paper.decays(paper.rates(Lab(), [data.spec("gaussian", m) for m in sizes], paper.mass()))
    slopes = dict(zip(sizes[1:], paper.local_slopes(sizes, found), strict=True))
    for m, slope in expected.items():
        assert slopes[m] == pytest.approx(slope, abs=6e-4)
    assert data.critical == pytest.approx((3.002, 2002), abs=1e-3)


# ------------------------------------------------------------------------------------------------ other problems
@pytest.mark.parametrize("rho", [1.0, 2.0, 8.0])
def test_the_first_step_under_strong_growth(rho: float) -> None:
    """The largest ratio is that of the first step: .714, .86, .97, by its definition."""
    start, first = mass._mass_strong_growth._first_step(rho)
    ratio = first / start / (1 - np.sqrt(0.005) / rho)
    assert ratio == pytest.approx({1.0: 0.714, 2.0: 0.86, 8.0: 0.97}[rho], abs=5e-3)


def test_the_kernel_machine_is_what_it_says() -> None:
    built = Lab().build(problem("kernel_machine", samples=40, width=2.0, batch=3, target=7))
    images, shown = digits()
    apart = ((images[:40, None, :] - images[None, :40, :]) ** 2).sum(axis=2)
    kernel, labels = np.exp(-apart / 8), (shown[:40] == 7) * 1.0
    assert built.constants["Delta_0"] == pytest.approx(0.5 * np.mean(labels**2), rel=1e-9)
    np.testing.assert_allclose(built.capabilities["spectrum"], np.linalg.eigvalsh(kernel)[::-1] / 40, atol=1e-14)
    assert built.constants["D_2_0"][0] ** 2 == pytest.approx(labels @ np.linalg.solve(kernel, labels), rel=1e-9)
    assert (built.constants["L1"], built.constants["kappa_tilde"]) == (1.0, 40.0)
    gradients = np.concatenate([built.sample(built.start, Draw(t)) for t in range(1, 4001)])
    error = gradients.std(axis=0) / np.sqrt(len(gradients))
    assert (np.abs(gradients.mean(axis=0) - built.gradient(built.start)[0]) < 5 * error).all()
