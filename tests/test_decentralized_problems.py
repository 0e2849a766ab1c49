"""Problems of several agents: their parts against the formulas, component by component; their draws against the laws."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from theorysim.agents import FiniteSum, PooledCoordinates
from theorysim.backend import CPU, Backend, to_host
from theorysim.build import build_problem
from theorysim.model import Draw, Problem
from theorysim.noise import Draws
from theorysim.problems._datasets import load, source
from theorysim.problems._finite_sum import finite_sum
from theorysim.registry import problem

RUNS = np.array([0, 4, 9])


def built(kind: str, backend: Backend = CPU, runs: np.ndarray = RUNS, seed: int = 3, **setting: Any) -> Problem:
    return build_problem(problem(f"decentralized_{kind}", **setting), Draws(backend, seed, runs))


def parts_of(instance: Problem) -> FiniteSum:
    found: FiniteSum = instance.capabilities["finite_sum"]
    return found


def points(instance: Problem, seed: int = 1, rows: int = len(RUNS)) -> np.ndarray:
    """A point for every agent: (rows, m, d)."""
    return np.random.default_rng(seed).normal(size=(rows, parts_of(instance).agents, instance.shape[0]))


def components(instance: Problem, x: np.ndarray) -> np.ndarray:
    """grad f_ij(x) of all components at one point, (m, n, d), each asked for alone."""
    parts = parts_of(instance)
    m, n = parts.agents, parts.components
    alone = np.broadcast_to(np.eye(n)[:, None, :], (n, m, n))
    at = np.broadcast_to(x, (n, m, len(x)))
    return np.swapaxes(parts.weighted_gradient(at, np.ascontiguousarray(alone)), 0, 1)


def pool_by_hand(m: int, n: int, d: int, h: np.ndarray, q: np.ndarray, placement: str) -> list[list[Any]]:
    """The components (k, c) of each agent, one by one as the formulas say, for the deterministic pool."""
    size = m * n // d
    s = [((2 * r + 1) / (2 * size)) ** 2 for r in range(size)]
    held: list[list[Any]] = [[] for _ in range(m)]
    for k, r in itertools.product(range(d), range(size)):
        agent = math.floor(r * d / n) if placement == "iid" else math.floor((k * size + r) / n)
        held[agent].append((d * h[k], q[:, k], 1 + 2 * (s[r] - sum(s) / size)))
    return held


QUADRATICS = [
    {"m": 8, "n": 12, "dim": 4, "spectrum": "log", "kappa": 30.0, "placement": placement, "rotation": rotation}
    for placement in ("iid", "sorted")
    for rotation in (None, "random", "hadamard")
] + [{"m": 5, "n": 8, "dim": 4, "spectrum": [0.3, 2.0, 1.0, 0.7], "placement": "sorted"}]


# ------------------------------------------------------------------------------------------------ quadratics
@pytest.mark.parametrize("setting", QUADRATICS)
def test_a_quadratic_is_the_sum_of_its_components(setting: dict[str, Any]) -> None:
    instance = built("quadratic", **setting)
    m, n, d, parts = setting["m"], setting["n"], setting["dim"], parts_of(instance)
    given = setting["spectrum"] if setting["spectrum"] != "log" else np.geomspace(1, 1 / 30, d)
    h, q = np.array(given), np.asarray(instance.capabilities["eigenbasis"](np.eye(d)))
    held = pool_by_hand(m, n, d, h, q, setting["placement"])
    x, weights = points(instance), np.random.default_rng(2).uniform(size=(len(RUNS), m, n))
    for i, row in itertools.product(range(m), range(len(RUNS))):
        gradients = np.array([a * (direction @ x[row, i] - c) * direction for a, direction, c in held[i]])
        np.testing.assert_allclose(parts.local_gradient(x)[row, i], gradients.mean(axis=0), atol=1e-13)
        np.testing.assert_allclose(parts.weighted_gradient(x, weights)[row, i], weights[row, i] @ gradients, atol=1e-12)
    whole = [piece for pieces in held for piece in pieces]
    hessian = sum(a * np.outer(direction, direction) for a, direction, _ in whole) / len(whole)
    np.testing.assert_allclose(instance.capabilities["hessian"](), hessian, atol=1e-14)
    np.testing.assert_allclose(hessian, (q * h) @ q.T, atol=1e-14)
    value = np.array([np.mean([a / 2 * (v @ each - c) ** 2 for a, v, c in whole]) for each in x[:, 0]])
    best = np.mean([a / 2 * (v @ instance.minimizer - c) ** 2 for a, v, c in whole])
    np.testing.assert_allclose(instance.gap(x[:, 0]), value - best, rtol=1e-10)
    np.testing.assert_allclose(instance.minimizer, q.sum(axis=1), atol=1e-14)
    own = [sum(a * np.outer(v, v) for a, v, _ in pieces) / n for pieces in held]
    values = np.linalg.eigvalsh(np.array(own))
    assert instance.constants["L_loc"] == pytest.approx(values.max()) and instance.constants["L_g"] == h.max()
    assert instance.constants["mu_loc"] == pytest.approx(values.min(), abs=1e-12) and instance.constants["mu"] == h.min()
    assert instance.constants["L_s"] == d * h.max() and instance.constants["L_s_importance"] == pytest.approx(h.sum())


@pytest.mark.parametrize("pool", ["deterministic", "random"])
def test_a_placement_only_permutes_the_pool(pool: str) -> None:
    setting = {"m": 8, "n": 12, "dim": 4, "pool": pool, "rotation": "random"}
    x = np.array([0.3, -1.2, 2.0, 0.1])
    found = [built("quadratic", placement=placement, **setting) for placement in ("iid", "sorted")]
    one, other = (components(instance, x).reshape(-1, 4) for instance in found)
    assert np.abs(one - other).max() > 0.1
    np.testing.assert_allclose(one[np.lexsort(one.round(9).T)], other[np.lexsort(other.round(9).T)], atol=1e-12)
    local = {"L_loc", "mu_loc", "kappa_loc", "G_star"}
    for name in found[1].constants.keys() - local:
        np.testing.assert_array_equal(found[0].constants[name], found[1].constants[name])
    np.testing.assert_array_equal(found[0].minimizer, found[1].minimizer)


def test_a_random_pool_belongs_to_the_seed_and_keeps_the_minimizer() -> None:
    one, other = (built("quadratic", m=4, n=8, dim=4, pool="random", seed=seed) for seed in (3, 4))
    for instance in (one, other):
        np.testing.assert_array_equal(instance.minimizer, np.ones(4))
        still = parts_of(instance).local_gradient(np.ones((3, 4, 4)))
        np.testing.assert_allclose(still.mean(axis=1), 0, atol=1e-14)
        assert np.linalg.norm(still[0]) == pytest.approx(instance.constants["G_star"], rel=1e-12)
    assert one.constants["G_star"] != other.constants["G_star"]


def test_local_and_global_constants_of_the_tables() -> None:
    iid, by_direction = (built("quadratic", placement=placement) for placement in ("iid", "sorted"))
    assert by_direction.constants["L_loc"] / by_direction.constants["L_g"] == 8.0 and by_direction.constants["mu_loc"] == 0.0
    assert iid.constants["kappa_loc"] == iid.constants["kappa_g"] == 100.0 and "kappa_loc" not in by_direction.constants
    assert round(by_direction.constants["G_star"], 2) == 5.66 and round(iid.constants["G_star"], 2) == 2.38
    assert by_direction.constants["kappa_s"] == 8 * by_direction.constants["kappa_g"]


@pytest.mark.parametrize("start", ["zeros", "minimizer", [1.0, -2.0, 0.5, 3.0]])
def test_coordinates_for_exact_moments(start: Any) -> None:
    instance = built("quadratic", m=8, n=12, dim=4, placement="sorted", rotation="random", start=start)
    data: PooledCoordinates = instance.capabilities["pooled_coordinates"]
    turn, parts = instance.capabilities["eigenbasis"], parts_of(instance)
    best = np.broadcast_to(instance.minimizer, (3, 8, 4))
    np.testing.assert_allclose(turn(parts.local_gradient(best)[0]), data.gradient_at_minimizer, atol=1e-13)
    np.testing.assert_allclose(turn(instance.start - instance.minimizer)[0], data.error, atol=1e-13)
    assert (data.counts.sum(axis=1) == 12).all() and (data.counts.sum(axis=0) == 24).all()
    moved = turn((parts.local_gradient(best + np.asarray(turn(np.eye(4)))[:, 2]) - parts.local_gradient(best))[0])
    np.testing.assert_allclose(moved[:, 2], 4 * data.h[2] * data.counts[:, 2] / 12, atol=1e-13)


def test_the_noise_of_a_pooled_gradient_is_the_declared_one() -> None:
    instance = built("quadratic", m=4, n=6, dim=3, pool="random", batch=5, rotation="random")
    noise, turn = instance.capabilities["gradient_noise"], instance.capabilities["eigenbasis"]
    x = np.array([0.3, -1.2, 2.0])
    each = turn(components(instance, x).reshape(-1, 3))
    e = turn((x - instance.minimizer)[None])[0]
    np.testing.assert_allclose(each.var(axis=0) / 5, noise.additive + noise.own * e**2, rtol=1e-12)
    np.testing.assert_allclose(each.mean(axis=0), turn(instance.gradient(np.tile(x, (3, 1))))[0], atol=1e-14)


# ------------------------------------------------------------------------------------------------ draws
FINITE = [
    ("quadratic", {"m": 4, "n": 6, "dim": 3, "placement": "sorted", "rotation": "random"}),
    ("regression", {"m": 3, "samples": 17, "dim": 4}),
    ("regression", {"m": 3, "samples": 17, "dim": 4, "loss": "squared", "split": "label"}),
]
each_finite_sum = pytest.mark.parametrize(("kind", "setting"), FINITE)


@each_finite_sum
def test_equal_weights_give_the_local_gradients(kind: str, setting: dict[str, Any]) -> None:
    instance = built(kind, **setting)
    parts, x = parts_of(instance), points(instance)
    equal = np.full((3, parts.agents, parts.components), 1 / parts.components)
    np.testing.assert_allclose(parts.weighted_gradient(x, equal), parts.local_gradient(x), atol=1e-13)
    same = np.broadcast_to(x[:, :1], x.shape)
    np.testing.assert_allclose(parts.local_gradient(same).mean(axis=1), instance.gradient(x[:, 0]), atol=1e-13)
    weights = np.random.default_rng(5).uniform(-1, 2, size=equal.shape)
    sums = np.einsum("rij,ijd->rid", weights, components(instance, x[0, 0]))
    np.testing.assert_allclose(parts.weighted_gradient(np.tile(x[0, 0], (3, parts.agents, 1)), weights), sums, atol=1e-12)
    some = np.array([2])
    alone = parts_of(built(kind, runs=RUNS[some], **setting))
    np.testing.assert_array_equal(alone.local_gradient(x[some]), parts.local_gradient(x)[some])
    np.testing.assert_array_equal(alone.weighted_gradient(x[some], equal[some]), parts.weighted_gradient(x, equal)[some])


@each_finite_sum
@pytest.mark.parametrize("importance", [False, True])
def test_the_pooled_estimator_has_the_local_gradients_as_its_mean(kind: str, setting: dict[str, Any], importance: bool) -> None:
    """Over all m n outcomes of a batch of one; a larger batch is the mean of such."""
    instance = built(kind, **setting)
    parts = parts_of(instance)
    m, n, q = parts.agents, parts.components, parts.chances(importance)
    outcomes = np.eye(m * n).reshape(m * n, m, n)
    x, w = (np.broadcast_to(points(instance, seed)[:1], (m * n, m, instance.shape[0])) for seed in (1, 2))
    weights = m * outcomes / (m * n * q)
    v = parts.local_gradient(w) + parts.weighted_gradient(x, weights) - parts.weighted_gradient(w, weights)
    mean = np.einsum("o,oid->id", q.reshape(-1), v)
    np.testing.assert_allclose(mean, parts.local_gradient(x)[0], atol=1e-12)
    assert np.abs(v - mean).max() > 0.1 and q.sum() == pytest.approx(1)


@pytest.mark.parametrize("importance", [False, True])
def test_counts_of_the_pool_are_multinomial(importance: bool) -> None:
    parts = parts_of(built("quadratic", runs=np.arange(4000), m=3, n=4, dim=2, placement="sorted", kappa=5.0))
    batch, size = 7, 12
    counts = np.concatenate([parts.draw_pool(Draw(t), batch, importance).reshape(-1, size) for t in range(1, 6)])
    q = parts.chances(importance).reshape(-1)
    assert (counts.sum(axis=1) == batch).all() and counts.dtype == np.float64
    assert np.abs((counts.mean(axis=0) - batch * q) / np.sqrt(batch * q * (1 - q) / len(counts))).max() < 4
    expected = batch * (np.diag(q) - np.outer(q, q))
    assert np.abs(np.cov(counts.T) - expected).max() < 6 * expected.max() / np.sqrt(len(counts))
    if importance:
        np.testing.assert_allclose(sorted(set(q)), [0.2 / 1.2 / 6, 1 / 1.2 / 6])


def test_counts_of_every_agent_are_multinomial() -> None:
    parts = parts_of(built("quadratic", runs=np.arange(6000), m=3, n=4, dim=2))
    counts = parts.draw_local(Draw(2), 5)
    assert (counts.sum(axis=2) == 5).all()
    flat = counts.reshape(-1, 12)
    assert np.abs(flat.mean(axis=0) - 1.25).max() < 4.5 * np.sqrt(5 * 0.25 * 0.75 / 6000)
    across = np.corrcoef(flat.T)
    assert np.abs(across[:4, 4:]).max() < 4.5 / np.sqrt(6000) and across[0, 1] == pytest.approx(-1 / 3, abs=0.06)


def test_the_coin_is_fair_and_shared_by_rows_of_a_run() -> None:
    runs = np.concatenate([np.arange(5000), np.arange(5)])
    parts = parts_of(built("quadratic", runs=runs, m=2, n=2, dim=1))
    heads = parts.coin(Draw(3, 1), 0.3)
    assert heads.shape == (5005,) and heads.dtype == bool and np.array_equal(heads[:5], heads[5000:])
    assert abs(heads.mean() - 0.3) < 4 * math.sqrt(0.21 / 5000)
    assert parts.coin(Draw(3, 1), 1.0).all() and not parts.coin(Draw(3, 1), 0.0).any()
    each = np.where(np.arange(5005) % 2 == 0, 1.0, 0.0)[:, None]
    assert np.array_equal(parts.coin(Draw(3, 1), each), np.arange(5005) % 2 == 0)
    assert not np.array_equal(parts.coin(Draw(3, 2), 0.3), heads) and not np.array_equal(parts.coin(Draw(4, 1), 0.3), heads)


def test_draws_do_not_depend_on_the_batch_or_the_device(strict: Backend) -> None:
    setting = {"m": 3, "n": 4, "dim": 2, "placement": "sorted"}
    here, alone = (parts_of(built("quadratic", runs=runs, **setting)) for runs in (RUNS, RUNS[1:2]))
    there = parts_of(built("quadratic", strict, **setting))
    for draw, importance in ((Draw(1), False), (Draw(5, 2), True)):
        counts = here.draw_pool(draw, 9, importance)
        np.testing.assert_array_equal(alone.draw_pool(draw, 9, importance), counts[1:2])
        np.testing.assert_array_equal(to_host(there.draw_pool(draw, 9, importance)), counts)
        np.testing.assert_array_equal(to_host(there.draw_local(draw, 4)), here.draw_local(draw, 4))
        np.testing.assert_array_equal(alone.draw_local(draw, 4), here.draw_local(draw, 4)[1:2])
        np.testing.assert_array_equal(to_host(there.coin(draw, 0.5)), here.coin(draw, 0.5))
        assert len({row.tobytes() for row in counts}) == 3
    x, counts = points(built("quadratic", **setting)), here.draw_pool(Draw(1), 9, False)
    theirs = there.weighted_gradient(strict.asarray(x), strict.asarray(counts))
    np.testing.assert_allclose(to_host(theirs), here.weighted_gradient(x, counts), atol=1e-14)


def test_importance_sampling_reaches_the_first_and_the_last_component() -> None:
    smooth = np.array([[5.0, 1.0], [1.0, 3.0]])
    parts = finite_sum(lambda x: x, lambda x, c: x, smooth, Draws(CPU, 0, np.arange(2000)))
    share = parts.draw_pool(Draw(1), 10, True).mean(axis=0) / 10
    assert np.abs(share - smooth / 10).max() < 4 * math.sqrt(0.25 / 20_000)


# ------------------------------------------------------------------------------------------------ regression
@pytest.mark.parametrize("loss", ["logistic", "squared"])
@pytest.mark.parametrize("split", ["order", "iid", "label"])
def test_regression_is_the_sum_over_its_samples(loss: str, split: str) -> None:
    setting = {"data": "breast_cancer", "samples": 103, "m": 5, "loss": loss, "split": split, "ridge": 0.02}
    instance = built("regression", **setting)
    features, labels = load(source("breast_cancer", 103, None, False, 0))
    a, y, x = features[:100], labels[:100], points(instance)
    constants, parts = instance.constants, parts_of(instance)
    assert (constants["m"], constants["n"], constants["N"], constants["dropped"]) == (5, 20, 100, 3)
    score = a @ x[0, 0]
    slope = -y / (1 + np.exp(y * score)) if loss == "logistic" else score - y
    expected = slope[:, None] * a + 0.02 * x[0, 0]
    found = components(instance, x[0, 0]).reshape(100, -1)
    np.testing.assert_allclose(found[np.lexsort(found.round(9).T)], expected[np.lexsort(expected.round(9).T)], atol=1e-12)
    np.testing.assert_allclose(found.reshape(5, 20, -1).mean(axis=1), parts.local_gradient(np.tile(x[0, 0], (3, 5, 1)))[0])
    assert np.abs(instance.gradient(np.tile(instance.minimizer, (3, 1)))).max() < 1e-12
    c = 0.25 if loss == "logistic" else 1.0
    smooth = c * (a**2).sum(axis=1) + 0.02
    assert constants["L_max"] == constants["L_s"] == pytest.approx(smooth.max())
    assert constants["L_s_importance"] == pytest.approx(smooth.mean())
    values = np.linalg.eigvalsh(c * a.T @ a / 100 + 0.02 * np.eye(30))
    assert constants["L_g"] == pytest.approx(values[-1]) and constants["mu"] <= values[0] * (1 + 1e-9)
    assert constants["L_g"] <= constants["L_loc"] <= 5 * constants["L_g"]
    np.testing.assert_allclose(np.sort(parts.chances(True), axis=None), np.sort(smooth / smooth.sum()))


def test_a_split_decides_who_holds_what() -> None:
    def share_of_ones(split: str) -> np.ndarray:
        """From the gradients at 0, which are -y a/2: features are not negative."""
        instance = built("regression", data="breast_cancer", m=8, split=split, ridge=1e-3, samples=400, intercept=True)
        return (components(instance, np.zeros(31))[:, :, -1] < 0).mean(axis=1)

    order, drawn, label = (share_of_ones(split) for split in ("order", "iid", "label"))
    assert (np.diff(label) >= 0).all() and label[0] == 0 and label[-1] == 1
    assert drawn.min() > 0 and drawn.max() < 1 and not np.array_equal(order, drawn)
    assert order.sum() == pytest.approx(drawn.sum()) == pytest.approx(label.sum())


def test_synthetic_rows_cluster_around_their_agents() -> None:
    ratios = []
    for seed in range(5):
        instance = built("regression", seed=seed)
        constants, parts = instance.constants, parts_of(instance)
        gradients = components(instance, np.zeros(8))
        np.testing.assert_allclose(np.linalg.norm(gradients, axis=2), 0.5, rtol=1e-12)
        assert constants["L_max"] == pytest.approx(0.25 + 1e-3) and constants["mu"] == 1e-3
        rows = gradients * np.sign((gradients * gradients[:, :1]).sum(axis=2))[:, :, None]
        assert (np.linalg.norm(rows.mean(axis=1), axis=1) > 0.3).all()
        assert (parts.agents, parts.components, instance.shape) == (16, 32, (8,))
        ratios.append(constants["L_loc"] / constants["L_g"])
    assert min(ratios) > 2.5 and max(ratios) < 5


def test_a_file_of_samples(tmp_path: Path) -> None:
    file = tmp_path / "data.libsvm"
    file.write_text("".join(f"{(-1) ** k} 1:{k}.5 2:{k * k}\n" for k in range(7)))
    instance = built("regression", data=str(file), m=3, loss="squared", ridge=0.1)
    assert instance.constants["dropped"] == 1 and instance.shape == (2,)
    a, y = np.array([[k + 0.5, k * k] for k in range(6)]), (-1.0) ** np.arange(6)
    best = np.linalg.solve(a.T @ a / 6 + 0.1 * np.eye(2), a.T @ y / 6)
    np.testing.assert_allclose(instance.minimizer, best, rtol=1e-10)


# ------------------------------------------------------------------------------------------------ nonconvex
def test_agents_tilt_around_a_common_function() -> None:
    instance = built("nonconvex", m=6, dim=5, L=3.0, zeta=2.0)
    x = np.random.default_rng(0).normal(size=(3, 6, 5))
    sampled = instance.capabilities["local_sample"](x, Draw(1))
    tilt = sampled - 3 * x / (1 + x**2) ** 2
    angle = 2 * np.pi * np.arange(6) / 6
    expected = np.stack([2 * np.cos(angle), 2 * np.sin(angle), *[np.zeros(6)] * 3], axis=1)
    np.testing.assert_allclose(tilt, np.broadcast_to(expected, x.shape), atol=1e-14)
    np.testing.assert_allclose(tilt.sum(axis=1), 0, atol=1e-14)
    assert np.sqrt((tilt[0] ** 2).sum(axis=1).mean()) == pytest.approx(instance.constants["zeta"])
    np.testing.assert_allclose(instance.start, 1 / np.sqrt(5))
    assert instance.constants["Delta_0"][0] == pytest.approx(1.5 * 5 * 0.2 / 1.2)
    quadratic = built("nonconvex", m=6, dim=5, L=3.0, quadratic=True)
    np.testing.assert_allclose(quadratic.gradient(x[:, 0]), 3 * x[:, 0])
    assert quadratic.constants["Delta_0"][0] == pytest.approx(1.5)
    assert built("nonconvex", m=1, zeta=2.0).constants["zeta"] == 0.0


def test_noise_is_independent_over_agents_and_has_its_size() -> None:
    instance = built("nonconvex", runs=np.arange(8000), m=4, dim=3, sigma=2.0, graph="complete")
    at = np.broadcast_to(np.array([0.5, -1.0, 2.0]), (8000, 4, 3))
    exact = at / (1 + at**2) ** 2
    noise = instance.capabilities["local_sample"](at, Draw(2)) - exact
    flat = noise.reshape(8000, 12)
    np.testing.assert_allclose(flat.var(axis=0), 4 / 3, rtol=4.5 * math.sqrt(2 / 8000))
    assert np.abs(np.corrcoef(flat.T) - np.eye(12)).max() < 4.5 / math.sqrt(8000)
    assert (noise**2).sum(axis=2).mean() == pytest.approx(4.0, rel=0.03)
    np.testing.assert_allclose(instance.sample(at[:, 0], Draw(2)), (noise + exact).mean(axis=1), atol=1e-14)
    np.testing.assert_allclose(instance.vectors["sigma"], 2 / math.sqrt(12))
    assert instance.constants["sigma_2norm"] == pytest.approx(1.0)


def test_contraction_numbers_of_nonlazy_graphs() -> None:
    known = {("ring", False): 0.9493, ("ring", True): 0.9746, ("hypercube", False): 0.6, ("hypercube", True): 0.8}
    for (graph, lazy), rho in known.items():
        assert built("nonconvex", m=16, graph=graph, lazy=lazy).constants["rho"] == pytest.approx(rho, abs=5e-5)
    assert built("nonconvex", m=8, graph="complete", lazy=False).constants["rho"] == 0.0
