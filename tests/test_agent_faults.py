"""The faults of decentralised methods and of finite sums do what they say, to runs and to exact expectations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import theorysim as ts
from theorysim.backend import CPU
from theorysim.build import build_problem
from theorysim.model import Cell, Draw, Problem, Spec
from theorysim.moments import run_exact
from theorysim.mutation.agents import AGENT_FAULTS, AGENT_PROBLEM_FAULTS, _own_batch
from theorysim.mutation.mutants import FAULTS
from theorysim.noise import Draws
from theorysim.registry import ALGORITHMS, PROBLEMS

POOL = ts.problem("decentralized_quadratic", m=4, n=6, dim=3, kappa=9.0, placement="sorted")
NASA = ts.problem("decentralized_nonconvex", m=4, dim=3, zeta=0.5, sigma=0.3)
LSVRG: dict[str, Any] = {"batch": 3, "chance": 0.4, "rounds": 8, "lr": 0.05}
KATYUSHA: dict[str, Any] = {"batch": 3, "chance": 0.4, "rounds": 8}

PARAMETERS: dict[str, tuple[Spec, str, dict[str, Any], dict[str, Any]]] = {
    "tracking_dropped": (POOL, "dec_lkatyusha", KATYUSHA, {"tracking": False}),
    "memory_dropped": (POOL, "dec_lsvrg", LSVRG, {"mixing": "plain"}),
    "rounds_quartered": (POOL, "dec_lsvrg", LSVRG, {"rounds": 2}),
    "chance_quartered": (POOL, "dec_lsvrg", LSVRG, {"chance": 0.1}),
    "snapshot_kept": (POOL, "dec_lsvrg", LSVRG, {"chance": 0.0}),
    "alpha_unscaled": (NASA, "d_nasa", {"horizon": 100}, {"alpha_0": 3.0}),
    "gamma_unscaled": (NASA, "d_nasa", {"horizon": 100}, {"gamma_0": 3.0}),
}


def runs(what: Spec, method: Spec) -> Any:
    return ts.run(what, method, 12, runs=3, record="all", measure=("gap", "disagreement"), device="cpu")


def broken(name: str, what: Spec, method: Spec) -> tuple[Any, Any]:
    """The runs, and the exact expectation where the problem has one."""
    chosen = next(fault for fault in FAULTS if fault.name == name and fault.applies_to(ALGORITHMS, method.name))
    with ALGORITHMS.replaced(method.name, chosen.broken(ALGORITHMS.get(method.name))):
        return runs(what, method), expected(what, method)


def expected(what: Spec, method: Spec) -> Any:
    if what is not POOL or method.name not in ("dec_lsvrg", "dec_lkatyusha"):
        return None
    return run_exact(Cell(what, method, 12, measure=("square_distance",), record="all", exact=True), CPU)["square_distance"]


def test_every_fault_is_tried_here() -> None:
    assert {fault.name for fault in AGENT_FAULTS} == {*PARAMETERS, "message_lost", "own_batch"}
    assert {fault.name for fault in AGENT_PROBLEM_FAULTS} == {*OF_PROBLEMS, *STATED}


@pytest.mark.parametrize("name", PARAMETERS)
def test_faults_that_are_another_parameter(name: str) -> None:
    what, method, settings, other = PARAMETERS[name]
    sound, faulty = ts.algorithm(method, **settings), ts.algorithm(method, **{**settings, **other})
    trace, exact = broken(name, what, sound)
    for measure in ("gap", "disagreement"):
        np.testing.assert_allclose(trace[measure], runs(what, faulty)[measure], rtol=1e-12, atol=1e-15)
    assert not np.allclose(trace["gap"], runs(what, sound)["gap"], rtol=1e-9)
    if exact is not None:
        np.testing.assert_allclose(exact, expected(what, faulty), rtol=1e-12)
        assert not np.allclose(exact, expected(what, sound), rtol=1e-9)


def test_an_agent_that_hears_nobody() -> None:
    method, alpha = ts.algorithm("dgd", lr=0.05), 0.05
    made = build_problem(POOL, Draws(CPU, 0, np.arange(1)))
    network, parts = made.capabilities["network"], made.capabilities["finite_sum"]
    x = np.repeat(made.start[:, None], 4, axis=1)
    for _ in range(3):
        mixed = network.weights @ x[0]
        mixed[0] = x[0, 0]
        x = (mixed - alpha * parts.local_gradient(x)[0])[None]
    trace, _ = broken("message_lost", POOL, method)
    np.testing.assert_allclose(trace.at(3)[0, 0], made.gap(x.mean(axis=1))[0], rtol=1e-12)


def test_an_agent_that_divides_by_its_own_batch() -> None:
    class Oracle:
        def draw_pool(self, batch: int, importance: bool, each: int) -> Any:
            return np.array([[[2.0, 1.0], [0.0, 0.0], [0.0, 1.0]]])

    found = _own_batch(Oracle())["draw_pool"](4)
    np.testing.assert_allclose(found, (4 / 3) * np.array([[[2 / 3, 1 / 3], [0.0, 0.0], [0.0, 1.0]]]))
    assert not np.allclose(
        broken("own_batch", POOL, ts.algorithm("dec_lsvrg", **LSVRG))[0]["gap"],
        runs(POOL, ts.algorithm("dec_lsvrg", **LSVRG))["gap"],
    )


@pytest.mark.parametrize(
    ("what", "method"),
    [
        (POOL, ts.algorithm("dec_lsvrg", **LSVRG)),
        (POOL, ts.algorithm("dec_lkatyusha", **KATYUSHA)),
        (POOL, ts.algorithm("extra", lr=0.05)),
        (NASA, ts.algorithm("d_nasa", horizon=100)),
    ],
    ids=str,
)
def test_agents_that_never_move(what: Spec, method: Spec) -> None:
    trace, exact = broken("frozen", what, method)
    np.testing.assert_array_equal(trace["gap"], trace["gap"][:, :1] * np.ones(13))
    np.testing.assert_array_equal(trace["disagreement"], 0.0)
    if exact is not None:
        np.testing.assert_allclose(exact, exact[:, :1] * np.ones(13), rtol=1e-12)


# ------------------------------------------------------------------------------------------------ problems
AT = np.random.default_rng(0).standard_normal((2, 4, 3))
COUNTS = np.ones((2, 4, 6))
FIRST = np.zeros((4, 3))
FIRST[0, 0] = 1.0


def twins(name: str, spec: Spec) -> tuple[Problem, Problem]:
    draws, chosen = Draws(CPU, 3, np.arange(2)), next(fault for fault in AGENT_PROBLEM_FAULTS if fault.name == name)
    sound = build_problem(spec, draws)
    with PROBLEMS.replaced(spec.name, chosen.broken(PROBLEMS.get(spec.name))):
        return sound, build_problem(spec, draws)


def parts(made: Problem) -> Any:
    return made.capabilities["finite_sum"]


def noise(made: Problem, draw: Draw) -> Any:
    return made.capabilities["local_sample"](AT, draw)


OF_PROBLEMS: dict[str, tuple[Spec, Any]] = {
    "local_gradient_doubled": (
        POOL,
        lambda s, f: [(parts(f).weighted_gradient(AT, COUNTS), 2 * parts(s).weighted_gradient(AT, COUNTS))],
    ),
    "local_gradient_lost": (POOL, lambda s, f: [(parts(f).local_gradient(AT), (1 - FIRST) * parts(s).local_gradient(AT))]),
    "pool_repeated": (POOL, lambda s, f: [(parts(f).draw_pool(Draw(5), 7, False), parts(s).draw_pool(Draw(1), 7, False))]),
    "coin_repeated": (POOL, lambda s, f: [(parts(f).coin(Draw(5), 0.5), parts(s).coin(Draw(1), 0.5))]),
    "local_sample_doubled": (NASA, lambda s, f: [(noise(f, Draw(2)), 2 * noise(s, Draw(2)))]),
    "local_sample_repeated": (NASA, lambda s, f: [(noise(f, Draw(2)), noise(s, Draw(1)))]),
}
STATED = {"stochastic_is_global": {"L_s": "L_g", "kappa_s": "kappa_g"}, "local_is_global": {"L_loc": "L_g"}}


@pytest.mark.parametrize("name", OF_PROBLEMS)
def test_faults_of_what_agents_are_given(name: str) -> None:
    spec, compare = OF_PROBLEMS[name]
    for found, due in compare(*twins(name, spec)):
        np.testing.assert_allclose(found, due, rtol=1e-13)


@pytest.mark.parametrize("name", STATED)
def test_constants_stated_as_others(name: str) -> None:
    sound, faulty = twins(name, POOL)
    for key, value in sound.constants.items():
        np.testing.assert_array_equal(faulty.constants[key], sound.constants[STATED[name].get(key, key)], err_msg=key)
        assert key not in STATED[name] or not np.array_equal(faulty.constants[key], value)
