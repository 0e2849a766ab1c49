"""Variance-reduced methods on a pool: every outcome of few steps against the exact second moments, many steps by simulation."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

import theorysim as ts
from theorysim.algorithms._pooled import estimate
from theorysim.backend import CPU
from theorysim.build import build_algorithm, build_problem
from theorysim.model import Cell
from theorysim.moments import run_exact
from theorysim.noise import Draws
from theorysim.oracle import Oracle
from theorysim.run import run_cell

TINY = ts.problem(
    "decentralized_quadratic",
    m=3,
    n=2,
    dim=2,
    spectrum="log",
    kappa=3.0,
    placement="sorted",
    pool="random",
    rotation="random",
    start="uniform",
    graph="path",
)
M, N = 3, 6
RING = ts.problem("decentralized_quadratic", m=16, n=32, dim=8, kappa=100.0, placement="sorted", graph="ring")


# ------------------------------------------------------------------------------------------------ every outcome
def outcomes(batch, local, importance, chances):
    """All draws of a step as counts (M, 2), with their probabilities."""
    if local:
        picks = list(itertools.product(itertools.product(range(2), repeat=batch // M), repeat=M))
        counts = np.array([[np.bincount(each, minlength=2) for each in pick] for pick in picks])
        return counts, np.full(len(picks), 1 / len(picks))
    picks = list(itertools.product(range(N), repeat=batch))
    counts = np.array([np.bincount(pick, minlength=N).reshape(M, 2) for pick in picks])
    q = chances(importance).ravel()
    return counts, np.array([np.prod(q[list(pick)]) for pick in picks])


def every_outcome(method, steps, batch, chance, local=False, importance=False):
    """The states after 0, 1, ... steps, a row for each outcome of all draws and coins, its probability, and the problem."""
    once = build_problem(TINY, Draws(CPU, 0, np.zeros(1, dtype=int)))
    counts, odds = outcomes(batch, local, importance, once.capabilities["finite_sum"].chances)
    rows = np.array(list(itertools.product(range(2 * len(odds)), repeat=steps)))
    draws = Draws(CPU, 0, np.zeros(len(rows), dtype=int))
    problem = build_problem(TINY, draws)
    parts = replace(
        problem.capabilities["finite_sum"],
        draw_pool=lambda draw, batch, importance: 1.0 * counts[rows[:, draw.step - 1] // 2],
        draw_local=lambda draw, batch: 1.0 * counts[rows[:, draw.step - 1] // 2],
        coin=lambda draw, chance: rows[:, draw.step - 1] % 2 == 1,
    )
    problem = replace(problem, capabilities={**problem.capabilities, "finite_sum": parts})
    built, oracle = build_algorithm(method, problem, draws), Oracle(problem)
    states = [built.init(problem, problem.start)]
    for t in range(1, steps + 1):
        oracle.begin(t)
        states.append(built.step(states[-1], oracle))
    weights = np.prod(odds[rows // 2] * np.where(rows % 2 == 1, chance, 1 - chance), axis=1)
    return states, weights, problem


def measured(state, problem, importance):
    """The measures of moments/pooled.py of one state, by their definitions, (rows,)."""
    parts, star = problem.capabilities["finite_sum"], problem.minimizer
    points = getattr(state, "agents", state.x[:, None, :])
    snapshot = state.snapshot if state.snapshot.ndim == 3 else state.snapshot[:, None, :].repeat(M, axis=1)
    sigma = 0.0
    for j in range(2):
        one = np.zeros((len(points), M, 2))
        one[:, :, j] = 1
        change = parts.weighted_gradient(snapshot, one) - parts.weighted_gradient(0 * snapshot + star, one)
        sigma = sigma + (change**2 / (N * N * parts.chances(importance)[:, j, None])).sum(axis=(1, 2))
    found = {
        "square_distance": ((points - star) ** 2).sum(axis=(1, 2)),
        "mean_square_distance": ((state.x - star) ** 2).sum(axis=1),
        "gap": problem.gap(state.x),
        "square_disagreement": ((points - state.x[:, None, :]) ** 2).sum(axis=(1, 2)),
        "snapshot_variance": sigma,
    }
    if hasattr(state, "z"):
        z = state.z if state.z.ndim == 2 else state.z.mean(axis=1)
        found["z_square_distance"] = ((z - star) ** 2).sum(axis=1)
        found["snapshot_gap"] = problem.gap(snapshot.mean(axis=1))
    if hasattr(state, "tracker"):
        s, local = state.tracker, parts.local_gradient(0 * points + star)
        found["tracker_disagreement"] = ((s - s.mean(axis=1, keepdims=True)) ** 2).sum(axis=(1, 2))
        found["estimator_error"] = ((state.estimate - local) ** 2).sum(axis=(1, 2))
    return found


AVERAGES = {"batch": 1, "chance": 0.3}
AGENTS = {**AVERAGES, "rounds": 2}
CASES = {
    "l_svrg": ("l_svrg", {**AVERAGES, "lr": 0.2}, 3),
    "l_svrg, importance": ("l_svrg", {**AVERAGES, "lr": 0.2, "importance": True}, 3),
    "l_svrg, two at once": ("l_svrg", {**AVERAGES, "lr": 0.2, "batch": 2}, 2),
    "katyusha": ("katyusha", AVERAGES, 3),
    "katyusha, importance": ("katyusha", {**AVERAGES, "theta_2": 0.4, "smoothness_s": "L_s_importance", "importance": True}, 3),
    "dec_lsvrg": ("dec_lsvrg", {**AGENTS, "lr": 0.1}, 3),
    "dec_lsvrg, importance": ("dec_lsvrg", {**AGENTS, "lr": 0.1, "importance": True}, 3),
    "dec_lsvrg, plain": ("dec_lsvrg", {**AGENTS, "lr": 0.1, "mixing": "plain"}, 3),
    "dec_lsvrg, equal batches": ("dec_lsvrg", {**AGENTS, "lr": 0.1, "batch": 3, "estimator": "local"}, 3),
    "dec_lkatyusha": ("dec_lkatyusha", AGENTS, 3),
    "dec_lkatyusha, two at once": ("dec_lkatyusha", {**AGENTS, "batch": 2, "importance": True}, 2),
    "dec_lkatyusha, equal batches": ("dec_lkatyusha", {**AGENTS, "batch": 3, "estimator": "local"}, 3),
    "dec_lkatyusha, no tracking": ("dec_lkatyusha", {**AGENTS, "tracking": False, "mixing": "plain"}, 3),
}


@pytest.mark.parametrize("case", CASES)
def test_the_mean_over_every_outcome_is_the_exact_second_moment(case):
    name, settings, steps = CASES[case]
    method, importance = ts.algorithm(name, **settings), settings.get("importance", False)
    local = settings.get("estimator") == "local"
    states, weights, problem = every_outcome(method, steps, settings["batch"], settings["chance"], local, importance)
    tables = [measured(state, problem, importance) for state in states]
    assert weights.sum() == pytest.approx(1.0, rel=1e-12)
    names = [each for each in tables[0] if (name, each) != ("dec_lsvrg", "snapshot_gap")]
    exact = run_exact(Cell(TINY, method, steps, measure=tuple(names), record="all", exact=True), CPU)
    for each in names:
        np.testing.assert_allclose(exact[each][0], [weights @ table[each] for table in tables], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("settings", [{}, {"importance": True}, {"estimator": "local"}], ids=str)
def test_every_agent_estimates_its_own_gradient_without_bias(settings):
    """Also at agents that are not drawn: the division is by b/m and not by the agent's own count."""
    local, importance = settings.get("estimator") == "local", settings.get("importance", False)
    method = ts.algorithm("dec_lsvrg", batch=3, chance=0.5, rounds=1, lr=0.1, **settings)
    _, weights, problem = every_outcome(method, 1, 3, 0.5, local, importance)
    x = np.random.default_rng(1).normal(size=(2, 1, M, 2)) + np.zeros((2, len(weights), M, 2))
    oracle, parts = Oracle(problem), problem.capabilities["finite_sum"]
    oracle.begin(1)
    pooled = build_algorithm(method, problem, Draws(CPU, 0, np.zeros(len(weights), dtype=int))).pooled
    v = estimate(oracle, pooled, x[0], x[1], parts.local_gradient(x[1]))
    assert np.ptp(v, axis=0).max() > 0.1
    np.testing.assert_allclose(np.tensordot(weights, v, axes=1), parts.local_gradient(x[0])[0], rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------------------------ many steps
STEPS = (1, 5, 10, 20, 40)


@pytest.mark.parametrize(
    "method",
    [
        ts.algorithm("dec_lkatyusha", batch=64, chance=0.125, rounds=16),
        ts.algorithm("katyusha", batch=64, chance=0.125),
        ts.algorithm("dec_lsvrg", batch=64, chance=0.125, rounds=16, lr=0.03),
    ],
    ids=lambda method: method.name,
)
def test_a_simulation_agrees_with_its_expectation(method):
    """With the real draws. A step size that uses up its direction between two snapshots would leave the mean to rare runs."""
    distance = "agents_distance" if method.name.startswith("dec") else "distance:2"
    trace = run_cell(Cell(RING, method, 40, 300, (distance, "component_calls", "computation_time"), STEPS), CPU)
    names = ("square_distance", "component_calls", "computation_time")
    exact = run_exact(Cell(RING, method, 40, 1, names, STEPS, exact=True), CPU)
    for values, name in ((trace[distance] ** 2, names[0]), *((trace[each], each) for each in names[1:])):
        error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
        deviation = values.mean(axis=0) - exact[name][0]
        assert (np.abs(deviation) <= 4 * error + 1e-10 * exact[name][0]).all(), (name, deviation / error)


def test_what_a_step_costs():
    """2 b and, where the coin falls, N component gradients; K rounds for each of two mixed variables, or of three."""
    names = ("component_calls", "computation_time", "rounds", "messages")
    for name, mixed, more in (("dec_lsvrg", 2, {"lr": 0.1}), ("dec_lkatyusha", 3, {})):
        method = ts.algorithm(name, batch=64, chance=0.125, rounds=5, **more)
        trace = run_cell(Cell(RING, method, 60, 4, names, "all"), CPU)
        assert (trace["rounds"] == 5 * mixed * np.arange(61)).all() and (trace["messages"] == 32 * trace["rounds"]).all()
        calls, time = np.diff(trace["component_calls"]), np.diff(trace["computation_time"])
        assert set(calls.ravel()) == {128, 128 + 512} and 0.05 < (calls > 128).mean() < 0.25
        load = time - 32 * (calls > 128)
        assert load.min() >= 2 * 64 / 16 and len(set(load.ravel())) > 3 and (load % 2 == 0).all()
    equal = ts.algorithm("dec_lsvrg", batch=64, chance=0.125, rounds=5, lr=0.1, estimator="local")
    time = np.diff(run_cell(Cell(RING, equal, 60, 4, names, "all"), CPU)["computation_time"])
    assert set(time.ravel()) == {8, 40}


def test_variants_are_the_single_methods():
    for name, settings in (("katyusha", {}), ("dec_lkatyusha", {"rounds": 4})):
        several = ts.algorithm(name, batch=16, chance=[0.05, 0.2], theta_1=[0.1, 0.3], smoothness_s=["L_s", "L_g"], **settings)
        together = run_cell(Cell(RING, several, 9, 2, ("gap",), "all"), CPU)["gap"]
        exact = run_exact(Cell(RING, several, 9, measure=("gap",), record="all", exact=True), CPU)["gap"]
        for i, (p, t1, s) in enumerate(((0.05, 0.1, "L_s"), (0.2, 0.3, "L_g"))):
            one = ts.algorithm(name, batch=16, chance=p, theta_1=t1, smoothness_s=s, **settings)
            np.testing.assert_array_equal(
                together[2 * i : 2 * i + 2], run_cell(Cell(RING, one, 9, 2, ("gap",), "all"), CPU)["gap"]
            )
            np.testing.assert_array_equal(exact[i], run_exact(Cell(RING, one, 9, record="all", exact=True), CPU)["gap"][0])


def test_the_weights_of_katyusha():
    draws = Draws(CPU, 0, np.zeros(1, dtype=int))
    method = build_algorithm(ts.algorithm("katyusha", batch=32, chance="32/N"), build_problem(RING, draws), draws).pooled
    m = 100 + 2 * 800 / (32 / 16)
    assert (method.theta_2, method.theta_1) == (1 / 32, pytest.approx((2 / m) ** 0.5, rel=1e-14))
    assert method.lr == pytest.approx(1 / (method.theta_1 * (1 + 8 / (32 / 32))), rel=1e-14)
    easy = ts.problem("decentralized_quadratic", m=2, n=4, dim=2, kappa=1.0)
    assert build_algorithm(ts.algorithm("katyusha", batch=8, chance=1.0), build_problem(easy, draws), draws).pooled.theta_1 == 0.5


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        ("l_svrg", {"batch": 0, "chance": 0.5, "lr": 1.0}, "batch=0 is not allowed"),
        ("l_svrg", {"batch": 1, "chance": 1.5, "lr": 1.0}, "chance=1.5 is not allowed; give a probability"),
        ("katyusha", {"batch": 1, "chance": 0.0}, "chance=0.0 leaves the weights without a value"),
        ("dec_lsvrg", {"batch": 1, "chance": 0.5, "rounds": 0, "lr": 1.0}, "rounds=0 is not allowed"),
        ("dec_lsvrg", {"batch": 1, "chance": 0.5, "rounds": 1, "lr": 1.0, "mixing": "no"}, "mixing='no' is not allowed"),
        ("dec_lkatyusha", {"batch": 1, "chance": 0.5, "rounds": 1, "estimator": "all"}, "estimator='all' is not allowed"),
        ("dec_lkatyusha", {"batch": 8, "chance": 0.5, "rounds": 1, "estimator": "local"}, "batch=8 is no multiple of 16"),
        ("dec_lsvrg", {**AGENTS, "lr": 1.0, "estimator": "local", "importance": True}, "draws uniformly"),
    ],
)
def test_what_is_not_allowed(name, settings, text):
    method = ts.algorithm(name, **settings)
    for cell in (Cell(RING, method, 2), Cell(RING, method, 2, exact=True)):
        with pytest.raises(ts.TheorysimError, match=text):
            run_exact(cell, CPU) if cell.exact else run_cell(cell, CPU)
