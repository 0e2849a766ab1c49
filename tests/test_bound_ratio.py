"""The analysis of a bound on every run: what counts as exceeding it, what cannot be judged, and what a violation hands on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.findings import Verdict
from theorysim.model import TheorysimError
from theorysim.registry import algorithm, problem
from theorysim.run import run

BOWL = problem("anisotropic_quadratic", dim=3, spectrum=[1.0, 0.5, 0.2], start=[1.0, -2.0, 3.0])
GD = algorithm("gradient_descent", lr=0.5)


def judged(bound: str, **options: Any) -> Any:
    settings: dict[str, Any] = {"of": "gap", "label": "ratio"} | options
    return bound_ratio([run(BOWL, GD, 20, record="all")], bound=bound, **settings)


def test_the_supremum_and_where_it_is_attained() -> None:
    curvature, start = np.array([1.0, 0.5, 0.2]), np.array([1.0, -2.0, 3.0])
    steps = np.arange(1, 21)
    gap = 0.5 * ((1 - 0.5 * curvature) ** (2 * steps[:, None]) * curvature * start**2).sum(axis=1)
    ratio = gap * steps / 4
    found = judged("4/T")
    assert found.measured == pytest.approx(ratio.max(), rel=1e-12) and found.verdict is Verdict.CONSISTENT
    assert found.details["worst step"] == steps[ratio.argmax()] and found.reproducer is None
    assert found.details["final ratio"] == pytest.approx(ratio[-1], rel=1e-12)
    over = judged(f"{0.99 * ratio.max()}*4/T")
    assert over.verdict is Verdict.VIOLATED
    assert over.reproducer["step"] == steps[ratio.argmax()]
    assert over.reproducer["ratio"] == pytest.approx(1 / 0.99, rel=1e-12) == over.measured
    assert over.reproducer["measured"] / over.reproducer["limit"] == pytest.approx(over.reproducer["ratio"], rel=1e-15)


@pytest.mark.parametrize(
    ("bound", "verdict"),
    [
        ("-1", Verdict.VIOLATED),  # a gap is above every negative number, whatever the quotient says
        ("0", Verdict.VIOLATED),
        ("1e3 - 2e3*lambda_max", Verdict.VIOLATED),
        ("log(-lambda_max)", Verdict.UNDECIDED),  # no number
        ("log(10.5 - T)", Verdict.VIOLATED),  # no number from T = 11 on; exceeded at T = 10 anyway
        ("100 + log(10.5 - T)", Verdict.UNDECIDED),
        ("exp(1000*T)", Verdict.CONSISTENT),  # an infinite bound allows everything
    ],
)
def test_a_bound_that_is_not_positive_or_no_number(bound: str, verdict: Verdict) -> None:
    found = judged(bound)
    assert found.verdict is verdict
    assert np.isnan(found.measured) == (verdict is Verdict.UNDECIDED)
    assert ("no number" in found.reason) == (verdict is Verdict.UNDECIDED)
    assert (found.reproducer is not None) == (verdict is Verdict.VIOLATED)


def test_a_negative_measurement_is_judged_by_its_value() -> None:
    """``coordinate:1`` starts at -2 and rises to 0: never above -0.001 in the first steps, and not below -3."""
    few = bound_ratio([run(BOWL, GD, 3, measure="coordinate:1")], of="coordinate:1", bound="-0.001", label="ratio")
    assert few.verdict is Verdict.CONSISTENT
    low = bound_ratio([run(BOWL, GD, 3, measure="coordinate:1")], of="coordinate:1", bound="-3", label="ratio")
    assert low.verdict is Verdict.VIOLATED


def test_nothing_is_exceeded_at_the_optimum() -> None:
    still = problem("anisotropic_quadratic", dim=2, start=[0.0, 0.0])
    found = bound_ratio([run(still, GD, 5)], of="gap", bound="lambda_max*D_2_0**2/T", label="ratio")
    assert found.verdict is Verdict.CONSISTENT and found.measured == 0


def test_a_diverged_run_violates_but_one_that_stopped_at_its_target_does_not() -> None:
    lost = run(BOWL, algorithm("gradient_descent", lr=[0.5, 1e60]), 12, record="all")
    found = bound_ratio([lost], of="gap", bound="1e300", label="ratio")
    assert found.verdict is Verdict.VIOLATED and found.measured == np.inf
    slow = problem("anisotropic_quadratic", dim=6, start="lognormal")
    stopped = run(slow, algorithm("gradient_descent", lr=[0.3, 0.9]), 300, runs=5, record="all", until=0.05)
    assert np.isnan(stopped["gap"]).any()
    assert bound_ratio([stopped], of="gap", bound="1.001*Delta_0", label="ratio").verdict is Verdict.CONSISTENT
    both = run(slow, algorithm("gradient_descent", lr=[1e60, 0.9]), 300, runs=5, record="all", until=0.05)
    assert bound_ratio([both], of="gap", bound="1.001*Delta_0", label="ratio").verdict is Verdict.VIOLATED


def test_the_reproducer_is_the_violating_run_and_variant_alone() -> None:
    method = algorithm("average", of=algorithm("adagrad", lr=["0.2*D_inf_0", "5*D_inf_0"], eps=[0.0, 0.01]))
    noisy = problem("anisotropic_quadratic", dim=4, start="lognormal", noise=0.5)
    trace = run(noisy, method, 30, runs=6, seed=3, measure=("distance", "gap", "max_distance:inf"))
    ratio = trace.split(trace["gap"] / (0.1 * trace["max_distance:inf"]))[:, :, 1:]
    variant, number, record = np.unravel_index(ratio.argmax(), ratio.shape)
    where = {"D": "max_distance:inf", "eta": "lr", "c": np.float64(0.1)}
    found = bound_ratio([trace], of="gap", bound="c*D + 0*eta", where=where, label="ratio").reproducer
    assert found is not None and found["step"] == trace.steps[1:][record]
    cell = found["cell"]
    assert (cell["runs"], cell["first_run"], cell["seed"], cell["steps"]) == (1, number, 3, 30)
    assert cell["measure"] == ["gap", "max_distance:inf"]
    inner = cell["algorithm"]["params"]["of"]["params"]
    assert inner == {"lr": ["0.2*D_inf_0", "5*D_inf_0"][variant], "eps": [0.0, 0.01][variant]}
    assert found["where"] == where and found["slack"] == 1e-9


def test_traces_that_say_nothing_are_refused() -> None:
    with pytest.raises(TheorysimError, match="recorded step T >= 1"):
        bound_ratio([run(BOWL, GD, 3, record=[0])], of="gap", bound="1", label="ratio")
    with pytest.raises(TheorysimError, match="recorded step T >= 1"):
        bound_ratio([], of="gap", bound="1", label="ratio")
