"""The paper dnasa: the bound by hand, how schedules are read, light claims, and implementations broken on purpose."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import theorysim as ts
from theorysim.bounds import Bound
from theorysim.findings import Verdict
from theorysim.lab import Lab
from theorysim.model import Algorithm, Array, Problem
from theorysim.mutation.fault import ALGORITHM, FROZEN, PROBLEM, Fault
from theorysim.paper_checks import _dnasa_assumptions, _dnasa_bound, _dnasa_heterogeneity, _dnasa_schedule, dnasa
from theorysim.paper_checks import _dnasa_paper as paper
from theorysim.registry import ALGORITHMS, PAPERS, PROBLEMS, algorithm

LIGHT = ["constant_steps_need_the_curvature", "schedule_is_free_of_the_problem"]
CLAIMS = PAPERS.get(dnasa.PAPER.name).claims


def test_light_claims_are_consistent_and_their_controls_do_their_duty() -> None:
    report = ts.check("dnasa", LIGHT, seed=1)
    assert {claim.claim.name: str(claim.verdict) for claim in report.claims} == dict.fromkeys(LIGHT, "CONSISTENT")
    assert report.controls_as_they_must


# ------------------------------------------------------------------------------------------------ the bound
def by_hand(v: dict[str, float]) -> float:
    """D1 as it is written in the statement, with one bracket."""
    inside = (
        v["sigma"] * math.sqrt(v["alpha"] / (2 - v["alpha"]) / v["m"])
        + v["sigma"] / (math.sqrt(v["m"]) * v["alpha"] * v["T"])
        + v["L"] * v["gamma"] * (1 / v["alpha"] + v["k"])
        + v["alpha"] * v["k"] * (v["zeta"] + v["sigma"] + v["L"] * v["gamma"] * v["k"])
        + (v["zeta"] + v["sigma"]) * (1 + v["k"]) / v["T"]
    )
    return v["Delta_0"] / (v["gamma"] * v["T"]) + v["L"] * v["gamma"] / 2 + 2 * inside


def test_bound_by_hand() -> None:
    names = ("Delta_0", "gamma", "alpha", "T", "L", "sigma", "zeta", "m", "k")
    known = dict(zip(names, (1.7, 0.3, 0.6, 11.0, 2.3, 1.9, 3.1, 5.0, 4.3), strict=True))
    whole = Bound(paper.BOUND)(known)
    assert whole == pytest.approx(by_hand(known), rel=1e-14)
    for name, text in paper.TERMS.items():
        assert Bound(paper.without(name))(known) == pytest.approx(whole - Bound(text)(known), rel=1e-12)
        assert Bound(text)(known) > 0


@pytest.mark.parametrize("given", [{}, {"alpha": 0.3, "gamma": 0.04}])
def test_limit_takes_the_numbers_that_the_method_uses(given: dict[str, float]) -> None:
    where = paper.instance(16, "ring", sigma=0.5, zeta=3.0, L=2.0, dim=3)
    trace = Lab().run(paper.run_cell(Lab(), where, 100, 2, **given))
    x0 = np.full(3, 3**-0.5)
    rho = (1 + 2 * math.cos(math.pi / 8)) / 3
    known = {"alpha": 0.4, "gamma": 2 / 100**0.75, "T": 100.0, "L": 2.0, "sigma": 0.5, "zeta": 3.0, "m": 16.0, **given}
    known |= {"Delta_0": float(np.sum(x0**2 / (1 + x0**2))), "k": rho / (1 - rho)}
    assert paper.limit(trace) == pytest.approx(by_hand(known), rel=1e-10)
    values = trace[paper.AVERAGE][:, -1]
    assert paper.surely(trace) == pytest.approx(values.mean() + 3 * abs(values[0] - values[1]) / 2, rel=1e-12)


def test_a_single_noisy_run_has_no_error_and_decides_nothing() -> None:
    noisy, exact = (Lab().run(paper.run_cell(Lab(seeds=1), paper.instance(2, sigma=sigma, dim=2), 3)) for sigma in (1.0, 0.0))
    assert math.isinf(paper.surely(noisy))
    assert paper.surely(exact) == paper.mean(exact) > 0


# ------------------------------------------------------------------------------------------------ schedules
def test_schedule_by_hand() -> None:
    assert paper.schedule(16, 64) == (0.5, 2 / 64**0.75)
    assert paper.schedule(64, 16) == (1.0, 64**0.25 / 8)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.37, 0.02), (1.0, 3e-3), (0.01, 0.3)])
def test_alpha_and_gamma_are_read_off_a_trajectory(alpha: float, gamma: float) -> None:
    """The reading sees the trajectory only, here that of a loop written down again."""
    x = z = np.array([0.9, 0.35])
    z, path = x / (1 + x * x) ** 2, [x]
    for _ in range(3):
        g = x / (1 + x * x) ** 2
        x, z = x - gamma * z / np.linalg.norm(z), (1 - alpha) * z + alpha * g
        path.append(x)
    where = paper.instance(3, "ring", dim=2, L=7.0, start=[0.9, 0.35], normalize=None)
    method = algorithm("d_nasa", horizon=5, alpha=alpha, gamma=gamma)
    trace = ts.run(where, method, 3, measure=("coordinate:0", "coordinate:1"), record="all", device="cpu")
    np.testing.assert_allclose(np.stack([trace[f"coordinate:{i}"][0] for i in (0, 1)], axis=1), path, rtol=1e-12)
    lengths, weight = _dnasa_schedule.read(Lab(), where, method)
    np.testing.assert_allclose(lengths, gamma, rtol=1e-10)
    assert weight == pytest.approx(alpha, rel=1e-6)


# ------------------------------------------------------------------------------------------------ broken methods
def stepping(step: Callable[[Any, Any], Any]) -> Callable[..., Algorithm]:
    """The method with another step."""
    return lambda build, arguments: dataclasses.replace(build(**arguments), step=step)


def replaced(name: str, change: Callable[..., Algorithm]) -> Any:
    return ALGORITHMS.replaced(name, Fault("broken", "another step", ALGORITHM, change).broken(ALGORITHMS.get(name)))


def moved(
    state: Any,
    oracle: Any,
    mix_x: bool = True,
    mix_z: bool = True,
    late: bool = False,
    direction: Callable[[Array], Array] = lambda z: z / np.linalg.norm(z, axis=2, keepdims=True),
) -> Any:
    """A step of D-NASA, or one with a part left out."""
    z = oracle.local_sample(state.agents) if state.z is None else state.z
    g = oracle.local_sample(state.agents)
    x = state.agents - state.gamma * direction(z)
    x = oracle.mix(x) if mix_x else x
    average = (1 - state.alpha) * z + state.alpha * (oracle.local_sample(x) if late else g)
    return state._replace(agents=x, z=oracle.mix(average) if mix_z else average)


def test_the_step_that_is_broken_below_is_the_step() -> None:
    where = paper.instance(6, "ring", sigma=1.0, zeta=3.0)
    sound = ts.run(where, algorithm("d_nasa", horizon=50), 50, measure=("gap",), device="cpu")
    with replaced("d_nasa", stepping(moved)):
        again = ts.run(where, algorithm("d_nasa", horizon=50), 50, measure=("gap",), device="cpu")
    np.testing.assert_allclose(again["gap"], sound["gap"], rtol=1e-12)


@pytest.mark.parametrize(
    "broken",
    [{"late": True}, {"direction": np.sign}, {"direction": lambda z: z}],
    ids=["gradient after", "signs", "not normalised"],
)
def test_a_wrong_step_is_noticed_by_the_schedule(broken: dict[str, Any]) -> None:
    with replaced("d_nasa", stepping(lambda state, oracle: moved(state, oracle, **broken))):
        found = CLAIMS["schedule_is_free_of_the_problem"].function(Lab())
    assert found.verdict is Verdict.VIOLATED


def test_points_that_are_not_mixed_are_noticed() -> None:
    def found() -> Verdict:
        traces = Lab().run_all(paper.network_cells(Lab(), "hypercube", False, (300,)))
        return _dnasa_bound._consensus(traces).verdict

    assert found() is Verdict.CONSISTENT
    with replaced("d_nasa", stepping(lambda state, oracle: moved(state, oracle, mix_x=False))):
        assert found() is Verdict.VIOLATED


def test_averages_that_are_not_mixed_keep_the_bias() -> None:
    def ratio() -> float:
        averaged, alone = _dnasa_heterogeneity._both(Lab(), "hypercube", (600,), 20.0)
        return float(alone[0] / averaged[0])

    assert ratio() > 1.5
    with replaced("d_nasa", stepping(lambda state, oracle: moved(state, oracle, mix_z=False))):
        assert ratio() < 1.3


@pytest.mark.parametrize("name", [name for name in CLAIMS if name != "assumptions_hold"])
def test_a_method_that_never_moves_is_noticed(name: str) -> None:
    method = "d_sgd" if name == "constant_steps_need_the_curvature" else "d_nasa"
    still = Fault(FROZEN, "never moves", ALGORITHM, stepping(lambda state, oracle: state))
    with ALGORITHMS.replaced(method, still.broken(ALGORITHMS.get(method))), np.errstate(all="ignore"):
        assert CLAIMS[name].function(Lab()).verdict is Verdict.VIOLATED


# ------------------------------------------------------------------------------------------------ broken instances
def heard(new: Callable[[Problem, Array, Any], Array]) -> Callable[..., Problem]:
    """An instance whose agents hear ``new(problem, X, draw)`` in place of their stochastic gradients."""

    def change(build: Callable[..., Problem], arguments: dict[str, Any]) -> Problem:
        sound = build(**arguments)
        local = {"local_sample": lambda x, draw: new(sound, x, draw)}
        return dataclasses.replace(sound, capabilities={**sound.capabilities, **local})

    return change


def local(problem: Problem, x: Array, draw: Any) -> Array:
    return problem.capabilities["local_sample"](x, draw)


def exact(problem: Problem, x: Array) -> Array:
    return problem.gradient(x.reshape(-1, x.shape[2])).reshape(x.shape)


@pytest.mark.parametrize(
    "new",
    [
        lambda problem, x, draw: exact(problem, x) + (local(problem, x, draw) - exact(problem, x)).mean(axis=1, keepdims=True),
        lambda problem, x, draw: exact(problem, x) + 0.9 * (local(problem, x, draw) - exact(problem, x)),
        lambda problem, x, draw: 1.2 * exact(problem, x) + local(problem, x, draw) - exact(problem, x),
        lambda problem, x, draw: local(problem, x[:, :1].repeat(x.shape[1], axis=1), draw),
        lambda problem, x, draw: local(problem, x, draw._replace(step=1)),
        lambda problem, x, draw: local(problem, x, draw) + 0.5 * np.arange(x.shape[1])[:, None] * np.ones(x.shape[2]),
    ],
    ids=["one noise for all", "less noise", "longer gradients", "everyone at the first", "noise repeated", "heterogeneity"],
)
def test_agents_that_hear_something_else_are_noticed(new: Callable[..., Array]) -> None:
    where = paper.instance(5, "ring", sigma=1.0, zeta=2.0)

    def verdicts() -> set[Verdict]:
        return {part.verdict for part in _dnasa_assumptions._agents(Lab().build(where, 64), "ring")}

    assert verdicts() == {Verdict.CONSISTENT}
    broken = Fault("broken", "agents hear something else", PROBLEM, heard(new)).broken(PROBLEMS.get("decentralized_nonconvex"))
    with PROBLEMS.replaced("decentralized_nonconvex", broken):
        assert Verdict.VIOLATED in verdicts()
