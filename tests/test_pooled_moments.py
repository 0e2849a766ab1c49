"""The exact second moments of variance-reduced methods: closed forms, limits, and numbers of an independent computation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import theorysim as ts
from theorysim.backend import CPU
from theorysim.lab import Lab
from theorysim.model import Cell
from theorysim.moments import pooled, run_exact
from theorysim.moments.pooled_costs import expected_maximum
from theorysim.moments.pooled_symmetry import merged

LSVRG = "1/(L_g + 6*L_s/{})"


def pool(m=1, n=512, dim=8, kappa=100.0, spectrum="two", placement="sorted", **network):
    return ts.problem(
        "decentralized_quadratic", m=m, n=n, dim=dim, kappa=kappa, spectrum=spectrum, placement=placement, **network
    )


def ring(**settings):
    return pool(**{"m": 16, "n": 32, "graph": "ring", **settings})


def svrg(batch, **settings):
    return ts.algorithm("l_svrg", batch=batch, chance=f"{batch}/N", lr=LSVRG.format(batch), **settings)


def katyusha(batch, **settings):
    return ts.algorithm("katyusha", batch=batch, chance=f"Min(1/2, {batch}/N)", **settings)


def dec_katyusha(rounds, batch=64, **settings):
    return ts.algorithm("dec_lkatyusha", batch=batch, chance=f"{batch}/N", rounds=rounds, **settings)


def dec_svrg(rounds, batch=64, **settings):
    chance, lr = f"Min(1/2, {batch}/N)", LSVRG.format(batch)
    return ts.algorithm("dec_lsvrg", batch=batch, chance=chance, rounds=rounds, lr=lr, **settings)


def exact(problem, method, steps, *measures, record="last", until=None):
    return run_exact(Cell(problem, method, steps, 1, measures, record, until, exact=True), CPU)


def first_below(eps, problem, method, steps):
    """The first t with E square distance at most eps times that of the start; None if there is none."""
    trace = exact(problem, method, steps, "square_distance", record="all", until=eps)
    values = trace["square_distance"][0]
    return int(trace.steps[-1]) if values[-1] <= eps * values[0] else None


# ------------------------------------------------------------------------------------------------ numbers
@pytest.mark.parametrize(
    ("eps", "problem", "method", "steps"),
    [
        (1e-6, pool(dim=16, kappa=10.0), svrg(16), 488),
        (1e-6, pool(dim=16, kappa=30.0), svrg(16), 1441),
        (1e-6, pool(dim=16, kappa=100.0), svrg(16), 4810),
        (1e-6, pool(dim=16, kappa=300.0), svrg(1), 200074),
        (1e-6, pool(dim=16, kappa=10.0, spectrum="log"), svrg(16), 409),
        (
            1e-6,
            pool(dim=16, kappa=300.0, spectrum="log"),
            ts.algorithm("l_svrg", batch=1, chance="1/N", lr="1/(L_g + 6*L_s_importance)", importance=True),
            33071,
        ),
        *[(1e-8, pool(kappa=k), katyusha(32), t) for k, t in ((100.0, 483), (400.0, 915), (1600.0, 1803), (6400.0, 3585))],
        *[
            (1e-8, pool(kappa=1000.0), katyusha(b), t)
            for b, t in ((4, 10800), (8, 5416), (16, 2740), (32, 1430), (64, 825), (128, 582), (256, 502))
        ],
        (1e-8, pool(kappa=1000.0), katyusha(8, theta_2=0.5), 77422),
        (1e-8, pool(kappa=1000.0, spectrum="log"), katyusha(16), 2485),
        (1e-8, pool(kappa=1000.0, spectrum="log"), katyusha(16, importance=True, smoothness_s="L_s_importance"), 1383),
        (1e-10, ring(), dec_katyusha(21), 334),
        (1e-10, ring(kappa=400.0), dec_katyusha(21), 642),
        (1e-10, ring(kappa=25.0), dec_svrg(21), 496),
        (1e-8, ring(), dec_katyusha(21), 273),
        (1e-8, ring(placement="iid"), dec_katyusha(21), 273),
        (1e-8, ring(), dec_katyusha(21, batch=16), 933),
        (1e-8, ring(), dec_katyusha(21, batch=16, estimator="local"), 928),
        (1e-8, ring(placement="iid"), dec_katyusha(21, estimator="local"), 273),
        (1e-8, ring(), dec_svrg(16), 1596),
        (1e-12, ring(), dec_katyusha(4), 388),
        (1e-12, ring(), dec_katyusha(6), 393),
    ],
    ids=str,
)
def test_steps_until_the_square_distance_is_small(eps, problem, method, steps):
    assert first_below(eps, problem, method, 2 * steps) == steps


@pytest.mark.parametrize(
    ("dim", "kappa", "spectrum", "batch", "stated"),
    [(8, 100.0, "two", 16, 0.0088127), (8, 30.0, "log", 4, 0.0229801), (16, 10.0, "log", 1, 0.0326381)],
)
def test_a_snapshot_that_is_never_renewed_leaves_a_floor(dim, kappa, spectrum, batch, stated):
    problem = pool(dim=dim, kappa=kappa, spectrum=spectrum)
    method = ts.algorithm("l_svrg", batch=batch, chance=0.0, lr=LSVRG.format(batch))
    first, last = exact(problem, method, 40_000, "square_distance")["square_distance"][0]
    h = np.geomspace(1, 1 / kappa, dim) if spectrum == "log" else np.array([1.0, *[1 / kappa] * (dim - 1)])
    q, om = h / (1 + 6 * dim / batch), (dim - 1) / batch
    assert last / first == pytest.approx(np.mean(q * om / (2 - q * (1 + om))), rel=1e-9)
    assert last / first == pytest.approx(stated, rel=1e-5)


@pytest.mark.parametrize(
    ("problem", "rounds", "steps"),
    [
        (ring(), 1, None),
        (ring(), 2, None),
        (ring(), 3, None),
        (ring(), 4, 271),
        (ring(), 6, 273),
        (pool(m=16, n=32, graph="star"), 4, None),
        (pool(m=16, n=32, graph="torus"), 1, None),
        (pool(m=16, n=32, graph="torus"), 2, 273),
    ],
    ids=str,
)
def test_few_rounds_of_accelerated_gossip_may_diverge(problem, rounds, steps):
    assert first_below(1e-8, problem, dec_katyusha(rounds), 600) == steps
    if steps is None:
        first, last = exact(problem, dec_katyusha(rounds), 600, "square_distance")["square_distance"][0]
        assert last > 1e6 * first


def test_the_radius_of_the_mean_dynamics():
    problem = pool(m=32, n=16, graph="ring")
    found = [exact(problem, dec_katyusha(k), 1, "mean_radius")["mean_radius"][0, 0] for k in (1, 2, 3, 4, 5, 42)]
    np.testing.assert_allclose(found[:5], [2.50, 1.93, 1.42, 1.08, 1.03], atol=0.006)
    assert 0.9 < found[5] < 1


def test_without_tracking_there_is_a_floor():
    found = []
    for rounds in (4, 8, 16, 21):
        first, last = exact(ring(), dec_katyusha(rounds, tracking=False), 600, "square_distance")["square_distance"][0]
        found.append(last / first)
    np.testing.assert_allclose(found, [2.5e-3, 1.35e-5, 5.0e-9, 3.0e-11], rtol=0.02)


def test_katyusha_with_the_wrong_smoothness_grows():
    method = ts.algorithm("katyusha", batch=1, chance=0.05, smoothness_s="L_g")
    trace = exact(pool(dim=16, kappa=1000.0), method, 400, "gap", "decay", record=(399, 400))
    assert trace["gap"][0, 1] / trace["gap"][0, 0] == pytest.approx(1.109, abs=5e-4)
    assert 1 - trace["decay"][0, 0] == pytest.approx(trace["gap"][0, 1] / trace["gap"][0, 0], rel=1e-9)
    assert first_below(1e-8, pool(dim=16, kappa=1000.0), ts.algorithm("katyusha", batch=1, chance=0.05), 20_000) == 11958


def test_an_envelope_holds():
    """E Psi_k <= (1 - min(mu eta, p/2))^k Psi_0, with equality at the start."""
    eta, b, p = 1 / (1 + 6 * 16 / 16), 16, 16 / 512
    trace = exact(pool(dim=16, kappa=30.0), svrg(b), 3000, "square_distance", "snapshot_variance", record="all")
    psi = trace["square_distance"][0] + 4 * eta**2 / (b * p) * trace["snapshot_variance"][0]
    ratio = psi / (psi[0] * (1 - min(eta / 30, p / 2)) ** trace.steps)
    assert psi[0] == pytest.approx(16 + 4 * eta**2 / (b * p) * 16 * (1 + 15 / 900), rel=1e-12)
    assert ratio.max() == ratio[0] == 1 and ratio[-1] < 1e-3


# ------------------------------------------------------------------------------------------------ one against the other
def test_perfect_gossip_is_exact_averaging():
    """On a complete graph with W = J all agents stay at one point."""
    problem = pool(m=4, n=8, dim=4, kappa=10.0, spectrum="log", graph="complete", lazy=False)
    for decentralized, together, settings in (
        ("dec_lsvrg", "l_svrg", {"lr": 0.2}),
        ("dec_lkatyusha", "katyusha", {}),
        ("dec_lsvrg", "l_svrg", {"lr": 0.1, "importance": True}),
    ):
        settings = {"batch": 3, "chance": 0.2, **settings}
        names = ("square_distance", "gap", "snapshot_variance", "square_disagreement")
        agents = exact(problem, ts.algorithm(decentralized, rounds=2, **settings), 40, *names, record="all")
        one = exact(problem, ts.algorithm(together, **settings), 40, *names, record="all")
        np.testing.assert_allclose(agents["square_distance"], 4 * one["square_distance"], rtol=1e-11)
        for name in names[1:3]:
            np.testing.assert_allclose(agents[name], one[name], rtol=1e-11)
        assert np.abs(agents["square_disagreement"]).max() < 1e-12 and not one["square_disagreement"].any()


def test_the_records_do_not_depend_on_each_other():
    """However a horizon is cut, by powers or step by step, and however many equal coordinates are computed once."""
    for problem, method in ((pool(), katyusha(32)), (ring(placement="iid"), dec_katyusha(6))):
        every = exact(problem, method, 700, "gap", record="all")
        some = exact(problem, method, 700, "gap", record=(3, 511, 512, 700))
        np.testing.assert_allclose(some["gap"][0], every["gap"][0, [3, 511, 512, 700]], rtol=1e-11)
    split = ts.problem("decentralized_quadratic", m=1, n=8, dim=2, spectrum=[1.0, 1.0], placement="sorted")
    apart = ts.problem("decentralized_quadratic", m=1, n=8, dim=2, spectrum=[1.0, 1.0 + 1e-9], placement="sorted")
    together = [exact(each, katyusha(2), 50, "gap")["gap"] for each in (split, apart)]
    np.testing.assert_allclose(*together, rtol=1e-6)


def test_coordinates_that_differ_by_the_names_of_agents_are_computed_once(monkeypatch):
    """On a ring each coordinate lies at two neighbours; on a path the places differ, and importance tells h apart."""
    seen = []
    for graph, distinct in (("ring", 2), ("hypercube", 2), ("complete", 2), ("path", 8)):
        problem = pool(m=16, n=32, graph=graph)
        with monkeypatch.context() as patch:
            patch.setattr(pooled, "merged", lambda *given: seen.append(merged(*given)) or seen[-1])
            names = ("square_distance", "gap", "square_disagreement", "tracker_disagreement", "computation_time")
            once = exact(problem, dec_katyusha(5), 30, *names)
            patch.setattr(pooled, "merged", lambda data, weights: data)
            each = exact(problem, dec_katyusha(5), 30, *names)
        assert len(seen[-1].h) == distinct and seen[-1].times.sum() == 8
        for name in names:
            np.testing.assert_allclose(once[name], each[name], rtol=1e-9, atol=1e-12)


def test_the_largest_of_several_counts():
    loads = [expected_maximum(b, np.full(16, 1 / 16)) for b in (4, 8, 16, 32, 64, 128, 256)]
    np.testing.assert_allclose(loads, [1.34, 2.06, 3.07, 4.83, 7.86, 13.35, 23.4], rtol=0.01)
    q = np.array([0.5, 0.2, 0.3, 0.0])
    picks = list(itertools.product(range(4), repeat=5))
    brute = sum(np.prod(q[list(pick)]) * np.bincount(pick).max() for pick in picks)
    assert expected_maximum(5, q) == pytest.approx(brute, rel=1e-12)
    assert expected_maximum(1, q) == pytest.approx(1.0, rel=1e-12)


def test_what_is_spent():
    names = ("component_calls", "computation_time", "rounds")
    spent = exact(ring(), dec_katyusha(21), 273, *names, record=(0, 273))
    assert [spent[name][0, 0] for name in names] == [0, 0, 0]
    assert spent["component_calls"][0, 1] == 273 * (128 + 64) and spent["rounds"][0, 1] == 273 * 63
    assert spent["computation_time"][0, 1] == pytest.approx(273 * (2 * expected_maximum(64, np.full(16, 1 / 16)) + 4), rel=1e-12)
    equal = exact(ring(), dec_katyusha(21, estimator="local"), 273, *names)
    assert equal["computation_time"][0, 1] == 3276


# ------------------------------------------------------------------------------------------------ cells
def test_a_target_ends_each_variant_on_its_own():
    several = ts.algorithm("l_svrg", batch=16, chance=0.1, lr=[0.02, 0.1])
    trace = exact(pool(kappa=10.0), several, 5000, "square_distance", "gap", record="all", until=1e-3)
    whole = exact(pool(kappa=10.0), several, 5000, "square_distance", record="all")["square_distance"]
    hits = (whole <= 1e-3 * whole[:, :1]).argmax(axis=1)
    assert hits[0] > hits[1] > 0 and trace.steps[-1] == hits[0]
    for name in ("square_distance", "gap"):
        assert np.isnan(trace[name][1, hits[1] + 1 :]).all() and np.isfinite(trace[name][1, : hits[1] + 1]).all()
    np.testing.assert_array_equal(trace["square_distance"][0], whole[0, : hits[0] + 1])
    assert (trace.status == -1).all()


def test_what_diverges_is_infinite():
    method = ts.algorithm("l_svrg", batch=1, chance=1 / 64, lr=[0.01, "1/L_g"])
    trace = exact(pool(dim=16), method, 3000, "square_distance", "gap", record="all")
    assert trace.status[0] == -1 and 0 < trace.status[1] < 3000
    assert np.isinf(trace["gap"][1, trace.status[1] :]).all() and not np.isnan(trace["gap"]).any()


def test_a_lab_prefers_the_expectation():
    trace, other = Lab().expected([Cell(ring(), dec_katyusha(6), 5, 3), Cell(ring(), ts.algorithm("sgd", lr=0.1), 5, 3)])
    assert trace.cell.exact and trace["gap"].shape == (1, len(trace.steps)) and other.cell.exact
    rotated = exact(ring(rotation="random"), dec_katyusha(6), 5, "gap")
    np.testing.assert_allclose(rotated["gap"][0, -1], trace["gap"][0, -1], rtol=1e-12)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Cell(ring(), dec_katyusha(6), 3, 1, ("gap_bias",), exact=True), "no measure of this expectation named 'gap_bias'"),
        (Cell(ring(), dec_svrg(6), 3, 1, ("z_square_distance",), exact=True), "keeps nothing that 'z_square_distance'"),
        (Cell(ring(), dec_svrg(6), 3, 1, ("snapshot_gap",), exact=True), "keeps nothing that 'snapshot_gap'"),
        (Cell(ring(), svrg(6), 3, 1, ("tracker_disagreement",), exact=True), "keeps nothing that 'tracker_disagreement'"),
        (Cell(ring(), dec_svrg(6), 3, 1, ("decay",), exact=True), "decay is computed for methods with exact averages"),
        (Cell(ring(), dec_svrg(6), 3, 2, ("gap",), exact=True), "takes no runs"),
        (Cell(ring(), dec_svrg(6), 3, 1, ("gap",), "log", 1e-3, exact=True), "until needs record='all'"),
        (Cell(ring(), dec_svrg(6), 3, 1, ("gap",), "all", -1.0, exact=True), "until=-1.0 is not allowed"),
        (Cell(ring(link_loss=0.1), dec_svrg(6), 3, exact=True), "this network changes or loses messages"),
        (Cell(ring(graph="ring", changing=["path"]), dec_svrg(6), 3, exact=True), "this network changes or loses messages"),
        (Cell(ring(), ts.algorithm("adam"), 3, exact=True), "declares no linear transition"),
    ],
)
def test_what_has_no_expectation(cell, text):
    with pytest.raises(ts.TheorysimError, match=text):
        run_exact(cell, CPU)
