"""Methods of several agents: against loops over agents written from their equations, their fixed points, what they count."""

from __future__ import annotations

import itertools
import math

import networkx as nx
import numpy as np
import pytest
from plain_loops import built, walk

from theorysim.agents import FiniteSum, Network
from theorysim.backend import CPU
from theorysim.model import Cell, Draw, Problem, TheorysimError
from theorysim.oracle import Oracle
from theorysim.registry import algorithm
from theorysim.registry import problem as known
from theorysim.run import run, run_cell

M, N, D, ROWS = 5, 4, 3, 2
RNG = np.random.default_rng(11)
SHAPES = RNG.standard_normal((M, N, D, 2))
CURVATURES = SHAPES @ np.swapaxes(SHAPES, 2, 3)  # (m, n, d, d), singular each
CENTRES = RNG.standard_normal((M, N, D)) + 2 * RNG.standard_normal((M, 1, D))
LOCAL = CURVATURES.mean(axis=1)
GRAPH = nx.Graph([(0, 1), (0, 2), (0, 3), (1, 2), (3, 4)])
STARTS = RNG.standard_normal((ROWS, D))


def metropolis(graph):
    """The lazy W of a graph, (m, m)."""
    w = np.zeros((len(graph), len(graph)))
    for i, j in graph.edges:
        w[i, j] = w[j, i] = 0.5 / (1 + max(graph.degree[i], graph.degree[j]))
    return w + np.diag(1 - w.sum(axis=1))


W = metropolis(GRAPH)


def picked(draw, b=1):
    """The components that b draws of every agent meet, (m, b)."""
    return np.random.default_rng((9, *draw)).integers(0, N, (M, b))


def counts(draw, b=1):
    return np.tile(np.stack([np.bincount(each, minlength=N) for each in picked(draw, b)]), (ROWS, 1, 1)).astype(float)


def weighted(x, c):
    return np.einsum("rij,ijab,rijb->ria", c, CURVATURES, x[:, :, None] - CENTRES)


def quadratics(network=W, *, own=None, without=()):
    """f_ij(x) = (x - c_ij)' A_ij (x - c_ij)/2 on five agents, no two alike."""
    values = np.linalg.eigvalsh(network)
    parts = FiniteSum(M, N, lambda x: weighted(x, np.full((len(x), M, N), 1 / N)), weighted, None, counts, None, None)
    talk = Network(M, lambda x, t: np.einsum("ik,rkd->rid", network, x), network, values[-2], values[0], 2 * len(GRAPH.edges))
    hessian = LOCAL.mean(axis=0)
    best = np.linalg.solve(hessian, np.einsum("ijab,ijb->a", CURVATURES, CENTRES) / (M * N))
    offered = {"network": talk, "finite_sum": parts, "local_sample": own}
    return Problem(
        shape=(D,),
        start=STARTS,
        minimizer=best,
        constants={"m": M, "lambda_max": np.linalg.eigvalsh(hessian)[-1]},
        gap=lambda x: 0.5 * np.sum((x - best) * ((x - best) @ hessian), axis=1),
        gradient=lambda x: (x - best) @ hessian,
        sample=lambda x, draw: (x - best) @ hessian,
        capabilities={name: each for name, each in offered.items() if each is not None and name not in without},
    )


# ------------------------------------------------------------------------------------------- the equations, agent by agent
def grad(i, x):
    return sum(CURVATURES[i, j] @ (x - CENTRES[i, j]) for j in range(N)) / N


def grads(x):
    return np.array([grad(i, x[i]) for i in range(M)])


def sampled(t, call, x):
    return np.array([CURVATURES[i, j] @ (x[i] - CENTRES[i, j]) for i, (j,) in enumerate(picked((t, call)))])


def gossip(x, w=W):
    return np.array([sum(w[i, k] * x[k] for k in range(M)) for i in range(M)])


def loop_dgd(x, lr):
    while True:
        x = gossip(x) - lr * grads(x)
        yield x


def loop_tracking(x, lr, form="diging"):
    s = g = grads(x)
    while True:
        x = gossip(x) - lr * s if form == "diging" else gossip(x - lr * s)
        old, g = g, grads(x)
        s = gossip(s) + g - old if form == "diging" else gossip(s + g - old)
        yield x


def loop_extra(x, lr):
    before, x = x, gossip(x) - lr * grads(x)
    while True:
        yield x
        before, x = x, x + gossip(x) - gossip(before, (np.eye(M) + W) / 2) - lr * (grads(x) - grads(before))


def loop_nids(x, lr):
    before, x = x, x - lr * grads(x)
    while True:
        yield x
        before, x = x, gossip(2 * x - before - lr * (grads(x) - grads(before)), (np.eye(M) + W) / 2)


def loop_diffusion(x, lr):
    psi = x
    while True:
        old, psi = psi, x - lr * grads(x)
        x = gossip(psi + x - old, (np.eye(M) + W) / 2)
        yield x


def loop_saga(x, lr):
    table = np.array([[CURVATURES[i, j] @ (x[i] - CENTRES[i, j]) for j in range(N)] for i in range(M)])
    s = v = grads(x)
    for t in itertools.count(1):
        x, old = gossip(x) - lr * s, v
        fresh, v, before = sampled(t, 0, x), np.empty((M, D)), table.copy()
        for i, (j,) in enumerate(picked((t, 0))):
            v[i] = fresh[i] - before[i, j] + before[i].mean(axis=0)
            table[i, j] = fresh[i]
        s = gossip(s) + v - old
        yield x


def loop_sgd(x, lr):
    for t in itertools.count(1):
        x = gossip(x - lr * sampled(t, 0, x))
        yield x


def loop_nasa(x, horizon, alpha_0=1.0, gamma_0=1.0, start="fresh", alpha=None, gamma=None):
    alpha = min(1, alpha_0 * math.sqrt(M / horizon)) if alpha is None else alpha
    gamma = gamma_0 * M ** (1 / 4) / horizon ** (3 / 4) if gamma is None else gamma
    z = sampled(1, 0, x) if start == "fresh" else np.zeros((M, D))
    for t in itertools.count(1):
        g = sampled(t, int(start == "fresh" and t == 1), x)
        steps = [zi / np.linalg.norm(zi) if zi.any() else 0 * zi for zi in z]
        x, z = gossip(x - gamma * np.array(steps)), gossip((1 - alpha) * z + alpha * g)
        yield x


CASES = [
    ("dgd", {"lr": 0.05}, loop_dgd),
    ("gradient_tracking", {"lr": 0.05}, loop_tracking),
    ("gradient_tracking", {"lr": 0.05, "form": "atc"}, loop_tracking),
    ("extra", {"lr": 0.05}, loop_extra),
    ("nids", {"lr": 0.05}, loop_nids),
    ("exact_diffusion", {"lr": 0.05}, loop_diffusion),
    ("gt_saga", {"lr": 0.02}, loop_saga),
    ("d_sgd", {"lr": 0.02}, loop_sgd),
    ("d_nasa", {"horizon": 40}, loop_nasa),
    ("d_nasa", {"horizon": 3}, loop_nasa),
    ("d_nasa", {"horizon": 40, "alpha_0": 0.3, "gamma_0": 2.0, "start": "zero"}, loop_nasa),
    ("d_nasa", {"horizon": 40, "alpha": 1.0}, loop_nasa),
    ("d_nasa", {"horizon": 40, "alpha": 0.1, "gamma": 0.02}, loop_nasa),
]
IDS = [f"{name}-{'-'.join(map(str, params.values()))}" for name, params, _ in CASES]
EXACT = [case for case in CASES if case[0] in ("gradient_tracking", "extra", "nids", "exact_diffusion")]


def agents(problem, spec, steps):
    """X after every step, (steps + 1, rows, m, d)."""
    return np.array([state.agents for state in walk(*built(problem, spec), steps)])


@pytest.mark.parametrize(("name", "params", "loop"), CASES, ids=IDS)
def test_is_what_its_equations_say(name, params, loop):
    states = walk(*built(quadratics(), algorithm(name, **params)), 40)
    for row, x0 in enumerate(STARTS):
        x = np.tile(x0, (M, 1))
        expected = np.array([x, *itertools.islice(loop(x, **params), 40)])
        found = np.array([state.agents[row] for state in states])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
        np.testing.assert_allclose([state.x[row] for state in states], expected.mean(axis=1), atol=1e-12)


@pytest.mark.parametrize(("name", "params", "loop"), EXACT)
def test_all_agents_reach_the_minimizer(name, params, loop):
    made = quadratics()
    assert np.linalg.norm(agents(made, algorithm(name, **params), 3000)[-1] - made.minimizer) < 1e-10


def test_one_component_a_step_is_enough_for_the_minimizer():
    made = quadratics()
    assert np.linalg.norm(agents(made, algorithm("gt_saga", lr=0.02), 2500)[-1] - made.minimizer) < 1e-10


def fixed_point(lr):
    """Where decentralised gradient descent ends, (m, d): (I - W) X + lr grad F(X) = 0."""
    system = np.kron(np.eye(M) - W, np.eye(D))
    for i in range(M):
        system[i * D : i * D + D, i * D : i * D + D] += lr * LOCAL[i]
    target = lr * np.einsum("ijab,ijb->ia", CURVATURES, CENTRES) / N
    return np.linalg.solve(system, target.ravel()).reshape(M, D)


def test_gradient_descent_ends_beside_the_minimizer():
    made, lr = quadratics(), 0.05
    last = agents(made, algorithm("dgd", lr=lr), 3000)[-1]
    np.testing.assert_allclose(last, np.broadcast_to(fixed_point(lr), last.shape), atol=1e-10)
    assert np.linalg.norm(last[0] - made.minimizer) > 0.1


def test_its_bias_is_known_in_leading_order():
    made, lr = quadratics(), 1e-6
    at_best = grads(np.tile(made.minimizer, (M, 1)))
    differences = -np.linalg.pinv(np.eye(M) - W) @ at_best
    bias = -np.linalg.solve(LOCAL.mean(axis=0), np.einsum("iab,ib->a", LOCAL, differences) / M)
    x = fixed_point(lr)
    apart, beside = (x - x.mean(axis=0)) / lr, (x.mean(axis=0) - made.minimizer) / lr
    assert np.linalg.norm(apart - differences) < 1e-3 * np.linalg.norm(differences)
    assert np.linalg.norm(beside - bias) < 1e-3 * np.linalg.norm(bias)


@pytest.mark.parametrize("form", ["diging", "atc"])
def test_the_trackers_mean_is_the_mean_gradient(form):
    for state in walk(*built(quadratics(), algorithm("gradient_tracking", lr=0.05, form=form)), 20):
        np.testing.assert_allclose(state.tracker.mean(axis=1), state.gradient.mean(axis=1), atol=1e-12)


def test_a_table_of_points_gives_the_average_of_its_gradients():
    for state in walk(*built(quadratics(), algorithm("gt_saga", lr=0.02)), 30):
        each = np.einsum("ijab,rijb->rija", CURVATURES, state.table - CENTRES)
        np.testing.assert_allclose(state.average, each.mean(axis=2), atol=1e-12)
        np.testing.assert_allclose(state.tracker.mean(axis=1), state.estimate.mean(axis=1), atol=1e-12)


# Rounds, component gradients and waiting time of the first step, and of every later one.
SPENT = {
    "dgd": ((1, M * N, N), (1, M * N, N)),
    "gradient_tracking": ((2, M * N, N), (2, M * N, N)),
    "extra": ((1, M * N, N), (1, M * N, N)),
    "nids": ((0, M * N, N), (1, M * N, N)),
    "exact_diffusion": ((1, M * N, N), (1, M * N, N)),
    "gt_saga": ((2, M, 1), (2, M, 1)),
    "d_sgd": ((1, M, 1), (1, M, 1)),
    "d_nasa": ((2, 2 * M, 2), (2, M, 1)),
}


@pytest.mark.parametrize("own", [None, lambda x, draw: x], ids=["drawn", "own"])
@pytest.mark.parametrize("name", SPENT)
def test_counts_what_it_asks_for(name, own):
    made = quadratics(own=own)
    _, method = built(made, algorithm(name, **({"horizon": 9} if name == "d_nasa" else {"lr": 0.05})))
    oracle, state, before = Oracle(made), method.init(made, made.start), np.zeros(3)
    for t in range(1, 5):
        oracle.begin(t)
        state = method.step(state, oracle)
        now = np.array([oracle.calls[kind] for kind in ("communication", "component", "time")])
        assert tuple(now - before) == SPENT[name][t > 1]
        assert oracle.calls["messages"] == 2 * len(GRAPH.edges) * now[0]
        before = now
    assert oracle.calls["gradient"] == oracle.calls["sample"] == 0


def test_a_problem_may_have_samples_of_its_own():
    made = quadratics(own=lambda x, draw: x + draw.step, without=("finite_sum",))
    found = agents(made, algorithm("d_sgd", lr=0.1), 2)
    one = gossip(0.9 * np.tile(STARTS[1], (M, 1)) - 0.1)
    np.testing.assert_allclose(found[2, 1], gossip(0.9 * one - 0.2), atol=1e-14)
    oracle = Oracle(made)
    oracle.begin(3)
    x = RNG.standard_normal((ROWS, M, D))
    oracle.local_sample(x)
    oracle.local_sample(0 * x)
    np.testing.assert_allclose(oracle.point, x.mean(axis=1))
    np.testing.assert_allclose(oracle.answer, x.mean(axis=1) + 3)


# ------------------------------------------------------------------------------------- agents that hold different coordinates
def held(**settings):
    return known("decentralized_quadratic", **{"graph": "ring", "kappa": 20, "placement": "sorted", **settings})


def steps_to(eps, of, method, steps):
    """The first t with |X_t - 1 x*|^2 <= eps |X_0 - 1 x*|^2; 0 if there is none."""
    distance = run_cell(Cell(of, method, steps, measure=("agents_distance",), record="all"), CPU)["agents_distance"][0]
    return int(np.argmax(distance**2 <= eps * distance[0] ** 2))


@pytest.mark.parametrize("name", ["extra", "nids", "exact_diffusion"])
def test_steps_of_the_local_smoothness_are_slow_where_agents_differ(name):
    """L_loc = L_g with like agents, 8 L_g with unlike ones."""
    method = algorithm(name, lr="1/L_loc")
    assert steps_to(1e-8, held(kappa=100, placement="iid"), method, 930) == 910
    assert steps_to(1e-8, held(kappa=100), method, 7320) == 7309


@pytest.mark.parametrize("name", ["extra", "nids"])
def test_steps_of_the_global_smoothness_diverge_where_agents_differ(name):
    distance = run_cell(Cell(held(kappa=100), algorithm(name, lr="1/L_g"), 100, measure=("agents_distance",)), CPU)
    assert distance["agents_distance"][0, -1] > 1e6


@pytest.mark.parametrize("form", ["diging", "atc"])
def test_tracking_goes_where_gradient_descent_does_not(form):
    of = held(m=8, n=8, dim=4, kappa=5)
    assert steps_to(1e-20, of, algorithm("gradient_tracking", lr=0.05, form=form), 2500) > 0
    assert steps_to(1e-4, of, algorithm("dgd", lr=0.05), 2500) == 0


def bias(of, lr):
    """Where gradient descent ends, X - 1 x* (m, d), by a linear system; its leading order; alpha |G*|/gamma."""
    made, _ = built(of, algorithm("dgd", lr=lr), runs=1)
    w, local = made.capabilities["network"].weights, made.capabilities["finite_sum"].local_gradient
    m, d = len(w), made.shape[0]
    best = np.tile(made.minimizer, (1, m, 1))
    at_best = local(best)[0]
    curvature = local(best + 1.0)[0] - at_best  # the Hessians are diagonal
    system = np.kron(np.eye(m) - w, np.eye(d)) + lr * np.diag(curvature.ravel())
    error = np.linalg.solve(system, -lr * at_best.ravel()).reshape(m, d)
    apart = -lr * np.linalg.pinv(np.eye(m) - w) @ at_best
    beside = -np.mean(curvature * apart, axis=0) / curvature.mean(axis=0)
    return error, apart, beside, lr * np.linalg.norm(at_best) / made.constants["gamma"]


@pytest.mark.parametrize(("settings", "leading", "bounded"), [
    ({}, 0.9998, 0.124), ({"graph": "hypercube"}, 0.9998, 0.518), ({"m": 32}, 0.9993, 0.126),
])  # fmt: skip
def test_the_bias_of_gradient_descent_in_small_steps(settings, leading, bounded):
    error, apart, beside, bound = bias(held(**settings), 1e-5)
    differences = np.linalg.norm(error - error.mean(axis=0))
    assert differences / np.linalg.norm(apart) == pytest.approx(leading, abs=6e-5)
    assert differences / bound == pytest.approx(bounded, abs=6e-4)
    if settings == {"m": 32}:  # four agents a coordinate; with two, the means agree by symmetry
        assert np.linalg.norm(error.mean(axis=0)) / np.linalg.norm(beside) == pytest.approx(0.9998, abs=6e-5)


@pytest.mark.parametrize(("lr", "floor"), [(0.02, 1.18e-3), (0.01, 4.09e-4), (0.005, 1.23e-4)])
def test_the_floor_of_gradient_descent(lr, floor):
    error = bias(held(), lr)[0]
    assert np.sum(error**2) / error.size == pytest.approx(floor, rel=5e-3)


# ------------------------------------------------------------------------------------------------------------------- D-NASA
@pytest.mark.parametrize(("settings", "alpha", "gamma"), [
    ({"horizon": 80}, 0.25, 5**0.25 / 80**0.75),
    ({"horizon": 80, "alpha_0": 2.0, "gamma_0": 3.0}, 0.5, 3 * 5**0.25 / 80**0.75),
    ({"horizon": 4}, 1.0, 5**0.25 / 4**0.75),
    ({"horizon": 80, "alpha": "1/sqrt(80)", "gamma": "80**(-3/4)"}, 80**-0.5, 80**-0.75),
    ({"horizon": 80, "alpha": "Min(1, 2*sqrt(m/80))"}, 0.5, 5**0.25 / 80**0.75),
])  # fmt: skip
def test_weight_and_length_are_their_formulas(settings, alpha, gamma):
    first, *_, last = walk(*built(quadratics(), algorithm("d_nasa", **settings)), 5)
    assert first.alpha == last.alpha == pytest.approx(alpha, rel=1e-15)
    assert first.gamma == last.gamma == pytest.approx(gamma, rel=1e-15)


def test_every_agent_moves_by_the_same_length_and_none_from_zero():
    complete = np.full((M, M), 1 / M)
    unmixed = quadratics(np.eye(M))
    found = agents(unmixed, algorithm("d_nasa", horizon=50, start="zero"), 4)
    moved = np.linalg.norm(np.diff(found, axis=0), axis=-1)
    assert not moved[0].any()
    np.testing.assert_allclose(moved[1:], 5**0.25 / 50**0.75, rtol=1e-12)
    together = agents(quadratics(complete), algorithm("d_nasa", horizon=50), 4)
    assert np.ptp(together, axis=2).max() < 1e-15


def test_a_list_of_weights_is_one_batch_with_the_numbers_of_single_runs():
    two, one = algorithm("d_nasa", horizon=30, alpha_0=[0.5, 9.0], gamma_0=[1.0, 2.0]), []
    made = quadratics()
    for alpha_0, gamma_0 in ((0.5, 1.0), (9.0, 2.0)):
        one.append(agents(made, algorithm("d_nasa", horizon=30, alpha_0=alpha_0, gamma_0=gamma_0), 6))
    method = built(made, algorithm("d_nasa", horizon=30), runs=ROWS)[1]
    assert method.requires == ("network",)
    _, both = built(made, two, runs=1)
    states = walk(made, both, 6)
    for row in range(ROWS):
        np.testing.assert_array_equal([state.agents[row] for state in states], one[row][:, row])


@pytest.mark.parametrize(("problem", "spec", "words"), [
    (quadratics(), algorithm("gradient_tracking", lr=0.1, form="push"), "form='push' is not allowed; choose one of diging, atc"),
    (quadratics(), algorithm("d_nasa", horizon=9, start="cold"), "start='cold' is not allowed; choose one of fresh, zero"),
    (quadratics(), algorithm("d_nasa", horizon=0), "horizon=0 is not allowed"),
    (quadratics(without=("finite_sum",)), algorithm("extra", lr=0.1), "extra needs a problem with 'finite_sum'"),
    (quadratics(without=("network",)), algorithm("d_nasa", horizon=9), "d_nasa needs a problem with 'network'"),
    (quadratics(without=("finite_sum",)), algorithm("d_sgd", lr=0.1), "d_sgd needs a problem with 'local_sample' or"),
    (quadratics(without=("finite_sum",)), algorithm("d_nasa", horizon=9), "d_nasa needs a problem with 'local_sample' or"),
])  # fmt: skip
def test_says_what_is_missing_or_not_allowed(problem, spec, words):
    with pytest.raises(TheorysimError, match=words):
        walk(*built(problem, spec), 1)


def test_draws_of_a_step_are_not_shared():
    """The stand-in above is no use if every draw is the same."""
    assert len({counts(Draw(t, call)).tobytes() for t in range(1, 9) for call in (0, 1)}) > 12


def test_gradient_measures_see_the_mean_of_the_agents_or_refuse() -> None:
    """Local gradients give their mean; a method that hears parts of gradients only has none, and nothing stands in for it."""
    what = known("decentralized_quadratic", m=4, n=6, dim=3, kappa=9.0, placement="sorted")
    trace = run(
        what, algorithm("dgd", lr=0.05), 5, measure=("mean_gradient_norm:2", "squared_gradients"), record="all", device="cpu"
    )
    assert (np.diff(trace["squared_gradients"][0]) > 0).all() and trace["mean_gradient_norm:2"][0, 1] > 0
    pooled = algorithm("dec_lsvrg", batch=3, chance=0.4, rounds=4, lr=0.05)
    moved = run(what, pooled, 40, measure="mean_gradient_norm:2", record=(1, 40), device="cpu")["mean_gradient_norm:2"][0]
    assert moved[1] < 0.9 * moved[0]
    with pytest.raises(TheorysimError, match="asked for parts of one only"):
        run(what, pooled, 3, measure="regret", device="cpu")
