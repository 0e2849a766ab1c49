"""The paper shb_anisotropic: instances and formulas against independent numbers, light claims, and standing still."""

from __future__ import annotations

from math import ceil, exp, log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import theorysim as ts
from theorysim.findings import Verdict
from theorysim.lab import Lab
from theorysim.model import Spec, TheorysimError
from theorysim.mutation.mutants import select_faults
from theorysim.paper_checks import shb_anisotropic
from theorysim.paper_checks._shb_batch import critical_batch
from theorysim.paper_checks._shb_bound import stage_sum
from theorysim.paper_checks._shb_constant import last_stages
from theorysim.paper_checks._shb_paper import (
    MOMENTUM,
    SPECTRA,
    StepDecay,
    delta_of,
    expectation,
    gamma_of,
    last,
    method,
    quadratic,
    stages_of_length,
    step_decay,
)
from theorysim.registry import ALGORITHMS, PAPERS, algorithm, problem

PAPER = shb_anisotropic.PAPER.name
CLAIMS = PAPERS.get(PAPER).claims
LIGHT = [
    "bias_rate_factor",
    "main_theorem_as_recalled",
    "critical_batch_of_least_squares",
    "step_decay_is_a_logarithm_off",
    "variance_constant",
]


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THEORYSIM_CACHE", str(tmp_path))


# ------------------------------------------------------------------------------------------ claims
def test_light_claims_are_consistent_and_their_controls_do_their_duty() -> None:
    report = ts.check(PAPER, LIGHT, seed=1, device="cpu")
    assert {claim.claim.name: str(claim.verdict) for claim in report.claims} == dict.fromkeys(LIGHT, "CONSISTENT")
    assert report.controls_as_they_must


def test_every_claim_says_where_it_comes_from_and_has_a_control() -> None:
    assert len(CLAIMS) == 22
    for claim in CLAIMS.values():
        assert claim.statement and claim.assumptions
        assert any(mark in claim.source for mark in ("source", "recalled", "derived")), claim.name
        assert any(control.fires for control in claim.controls)


@pytest.mark.parametrize(
    ("name", "noticed_by"),
    [
        ("heavy_ball", ["main_theorem_as_recalled", "variance_constant", "trajectories_without_noise"]),
        ("sgd", ["isotropic_noise_pays_kappa", "step_decay_is_a_logarithm_off", "trajectories_without_noise"]),
        ("average", ["polyak_average", "trajectories_without_noise"]),
    ],
)
def test_standing_still_is_noticed(name: str, noticed_by: list[str]) -> None:
    fault = next(each for each in select_faults(["frozen"]) if each.applies_to(ALGORITHMS, name))
    with ALGORITHMS.replaced(name, fault.broken(ALGORITHMS.get(name))):
        verdicts = {claim: CLAIMS[claim].function(Lab()).verdict for claim in noticed_by}
    assert set(verdicts.values()) == {Verdict.VIOLATED}, verdicts


@pytest.mark.parametrize("claim", ["shb_bias_bound", "shb_variance_bound"])
@pytest.mark.parametrize(
    ("point", "why"),
    [
        (("log", 3.9, 2.0, 1000), "kappa=3.9 is below 4"),
        (("log", 1e6, 2.0, 1500), "T=1500 is below C sqrt(kappa)=2000"),
        (("log", 1e4, 2.0, 1000), "C^2 beta^K=1.247"),
    ],
)
def test_outside_its_scope_a_bound_is_never_violated(claim: str, point: Any, why: str) -> None:
    found = CLAIMS[claim].function(Lab(), only=(point,))
    assert found.verdict is Verdict.UNDECIDED
    assert found.reason.startswith("OUT_OF_SCOPE") and why in found.reason


def test_the_recalled_theorem_says_nothing_where_its_side_condition_fails() -> None:
    found = CLAIMS["main_theorem_as_recalled"].function(Lab(), horizons=(2**16,))
    assert found.verdict is Verdict.UNDECIDED and found.reason.startswith("OUT_OF_SCOPE")


# ------------------------------------------------------------------------------------------ the schedule
def test_step_decay_protects_exact_powers_of_its_divisor() -> None:
    for power in range(3, 40):
        assert step_decay(2**power * 8, 64.0).stages == power + 6  # T sqrt(kappa) = 2^(power + 6)
    decay = step_decay(1000, 1e2)
    assert decay == StepDecay(2.0, 14, 71) and decay.steps == 994 and decay.schedule == "step_decay:2.0,71"


@pytest.mark.parametrize(("horizon", "kappa", "divisor"), [(1, 2.0, 2.0), (3, 1e4, 2.0)])
def test_a_schedule_without_steps_is_refused(horizon: int, kappa: float, divisor: float) -> None:
    with pytest.raises(TheorysimError, match="take a longer horizon"):
        step_decay(horizon, kappa, divisor)


@pytest.mark.parametrize("length", [1, 7, 71, 12_345])
@pytest.mark.parametrize("divisor", [1.3, 2.0, 8.0])
def test_stages_of_a_length_are_consistent_with_their_own_horizon(length: int, divisor: float) -> None:
    found = stages_of_length(length, 500.0, divisor)
    assert found.length == length
    assert found.stages == ceil(log(found.steps * sqrt(500.0)) / log(divisor) - 1e-12)
    assert found.stages == 1 or ceil(log((found.stages - 1) * length * sqrt(500.0)) / log(divisor)) > found.stages - 1


def test_the_spectra_have_their_condition_number() -> None:
    for law, of in SPECTRA.items():
        eigenvalues = of(300.0, 10)
        assert eigenvalues.max() == 1 and eigenvalues.min() == pytest.approx(1 / 300, rel=1e-12), law
    built = Lab().build(quadratic("power", 300.0, 10, distance=3.0))
    assert built.constants["Delta_0"][0] == pytest.approx(9.0 * 10 / 2)


# ------------------------------------------------------------------------------------------ reference values
REFERENCE = [
    (1e2, 1000, 2.0, (14, 71), 0.0213709837688, 6.97913837018e-10),
    (1e3, 65_536, 2.0, (21, 3120), 4.70913458192e-4, 3.96352313712e-133),
    (1e3, 3000, 4.0, (9, 333), 0.0104253938031, 2.10077334217e-10),
    (1e6, 10**5, 2.0, (27, 3703), 4.15177138156e-4, 3.33068778775e-5),
    (1e6, 10**9, 2.0, (40, 25_000_000), 5.79812548742e-8, 0.0),
    (1e10, 10**7, 2.0, (40, 250_000), 6.31721968449e-6, 9.11777135307e-4),
]


@pytest.mark.parametrize(("kappa", "horizon", "divisor", "stages", "variance", "bias"), REFERENCE)
def test_expectations_have_the_values_of_arithmetic_with_sixty_digits(
    kappa: float, horizon: int, divisor: float, stages: tuple[int, int], variance: float, bias: float
) -> None:
    decay = step_decay(horizon, kappa, divisor)
    assert (decay.stages, decay.length) == stages
    cell = expectation(quadratic("log", kappa), method("SHB", decay.schedule), decay.steps, "gap_bias", "gap_variance")
    trace = Lab().run(cell)
    assert last(trace, "gap_variance") == pytest.approx(variance, rel=1e-11)
    assert last(trace, "gap_bias") == pytest.approx(bias, rel=1e-9, abs=0 if bias else 1e-300)


def _small(name: str, **settings: Any) -> Spec:
    return problem(name, dim=3, spectrum=[1.0, 0.1, 0.01], batch=16, **settings)


@pytest.mark.parametrize(
    ("instance", "name", "value"),
    [
        (_small("anisotropic_quadratic", noise=[1.0, sqrt(0.1), 0.1]), "SHB", 7.772200754673e-4),
        (_small("anisotropic_quadratic", noise=[1.0, sqrt(0.1), 0.1]), "SGD", 2.352601953337e-3),
        (_small("least_squares", label_noise=1.0), "SHB", 8.393014258946e-4),
        (_small("least_squares", label_noise=0.0), "SHB", 1.562683872995e-5),
    ],
)
def test_expectations_of_the_simulated_instance(instance: Spec, name: str, value: float) -> None:
    decay = step_decay(300, 100.0)
    assert last(Lab().run(expectation(instance, method(name, decay.schedule), decay.steps))) == pytest.approx(value, rel=1e-11)


@pytest.mark.parametrize(("name", "floor"), [("SHB", 13.0635453755), ("SGD", 1.03902777950)])
def test_floors_of_a_constant_step(name: str, floor: float) -> None:
    trace = Lab().run(expectation(quadratic("log", 1e3), method(name), 10**7, "gap", "floor"))
    assert [last(trace), last(trace, "floor")] == pytest.approx([floor, floor], rel=1e-10)


@pytest.mark.parametrize(
    ("kappa", "horizon", "divisor", "change"), [(1e3, 2**16, 2.0, -0.0013), (1e2, 1000, 2.0, -0.017), (700.0, 3000, 4.0, -0.042)]
)
def test_the_form_with_the_step_outside_the_buffer_has_a_little_less_variance(
    kappa: float, horizon: int, divisor: float, change: float
) -> None:
    decay = step_decay(horizon, kappa, divisor)
    one, other = (
        last(
            Lab().run(
                expectation(quadratic("log", kappa), method("SHB", decay.schedule, form=form), decay.steps, "gap_variance")
            ),
            "gap_variance",
        )
        for form in ("polyak", "library")
    )
    assert other / one - 1 == pytest.approx(change, rel=0.05)


# ------------------------------------------------------------------------------------------ formulas
@pytest.mark.parametrize(
    ("divisor", "sgd", "values"),
    [
        (2.0, False, (0.836, 0.641, 0.545, 0.526)),
        (4.0, False, (1.450, 1.156, 1.052, 1.038)),
        (8.0, False, (2.12, 2.09, 1.78, 1.77)),
        (2.0, True, (0.605, 0.445, 0.375, 0.361)),
        (4.0, True, (1.29, 0.998, 0.905, 0.884)),
    ],
)
def test_the_supremum_over_where_an_eigenvalue_lies(divisor: float, sgd: bool, values: tuple[float, ...]) -> None:
    assert [stage_sum(divisor, n, sgd) for n in (5, 10, 20, 30)] == pytest.approx(values, abs=6e-3)


def test_the_supremum_against_a_plain_sum() -> None:
    divisor, stages = 3.0, 7
    y = np.linspace(1e-3, divisor / stages, 4001)
    sums = [
        sum(min(u * divisor**k, 2 * (u * divisor**k) ** 2) * exp(-2 * u * (divisor**k - 1) / (divisor - 1)) for k in range(14))
        for u in y
    ]
    assert stage_sum(divisor, stages) == pytest.approx(max(sums), rel=1e-4)


@pytest.mark.parametrize("divisor", [1.5, 2.0, 3.0, 8.0])
def test_the_average_of_the_stage_sum_over_a_period_is_the_constant(divisor: float) -> None:
    y = 1e-7 * divisor ** (np.arange(256) / 256)
    h = last_stages(y, divisor, 4 + round(log(1e10) / log(divisor)))
    assert h.mean() == pytest.approx((divisor - 1) ** 2 / (4 * divisor * log(divisor)), rel=1e-6)


@pytest.mark.parametrize(
    ("kappa", "shb", "sgd"), [(1e1, 6.6727, 4.215), (1e2, 11.674, 2.889), (1e3, 28.811, 2.463), (1e5, 239.80, 2.183)]
)
def test_critical_batches(kappa: float, shb: float, sgd: float) -> None:
    q = SPECTRA["log"](kappa, 12)
    assert critical_batch(q, (1 - delta_of(kappa)) ** 2, gamma_of(kappa)) == pytest.approx(shb, rel=1e-4)
    assert critical_batch(q, 0.0, 1.0) == pytest.approx(sgd, rel=3e-4)


def test_the_critical_batch_against_the_map_of_second_moments() -> None:
    """At the root of G = 1 the 3d x 3d map of E e^2, E e v and E v^2 has spectral radius 1."""
    kappa, d = 60.0, 4
    lam, beta = SPECTRA["log"](kappa, d), (1 - delta_of(kappa)) ** 2
    batch, whole = critical_batch(lam, beta, gamma_of(kappa)), np.zeros((3 * d, 3 * d))
    for j, q in enumerate(lam):
        own = [
            [(1 - q) ** 2, 2 * (1 - q) * beta, beta**2],
            [-q * (1 - q), beta * (1 - 2 * q), beta**2],
            [q**2, -2 * q * beta, beta**2],
        ]
        whole[3 * j : 3 * j + 3, 3 * j : 3 * j + 3] = own
        whole[3 * j : 3 * j + 3, 3 * j] += q**2 / batch
        whole[3 * j : 3 * j + 3, ::3] += q * lam / batch
    assert np.abs(np.linalg.eigvals(whole)).max() == pytest.approx(1.0, abs=1e-10)


def test_the_momentum_of_the_paper() -> None:
    assert MOMENTUM == "(1 - sqrt(lambda_min/lambda_max))**2"
    found = algorithm("heavy_ball", lr=1.0, momentum=[MOMENTUM, (1 - delta_of(250.0)) ** 2])
    one, other = Lab().run(expectation(quadratic("flatlow", 250.0), found, 300, "gap"))["gap"][:, -1]
    assert one == pytest.approx(other, rel=1e-10)
