"""Plain and accelerated gossip: against polynomials of W, the bound on what is left, and gossip that must not work."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest
from scipy.special import eval_chebyu

from theorysim.gossip import contraction, fast_mix, memory_weight, plain

RNG = np.random.default_rng(7)


def metropolis(graph, lazy=True):
    """W of the graph by its definition, (m, m)."""
    w = np.zeros((len(graph), len(graph)))
    for i, j in graph.edges:
        w[i, j] = w[j, i] = 1 / (1 + max(graph.degree[i], graph.degree[j]))
    w += np.diag(1 - w.sum(axis=1))
    return (w + np.eye(len(graph))) / 2 if lazy else w


def with_spectrum(values):
    """A symmetric W with eigenvalue 1 on the vector of ones, and these."""
    ones = np.ones((len(values) + 1, 1))
    q, _ = np.linalg.qr(np.hstack([ones, RNG.standard_normal((len(ones), len(values)))]))
    return q @ np.diag([1.0, *values]) @ q.T


def matrix_of(gossip, w):
    """The matrix that a gossip routine applies, by giving it the columns of I; (m, m)."""
    return gossip(lambda x: w @ x, np.eye(len(w))[None])[0]


def left(matrix):
    """What is left of a difference between agents at most: the norm of ``matrix`` without the mean."""
    return np.linalg.norm(matrix - 1 / len(matrix), 2)


def ring(m, lazy=True):
    return metropolis(nx.cycle_graph(m), lazy)


def lambda_2(w):
    return np.linalg.eigvalsh(w)[-2]


GRAPHS = {
    "ring16": ring(16),
    "path32": metropolis(nx.path_graph(32)),
    "star32": metropolis(nx.star_graph(31)),
    "complete16": metropolis(nx.complete_graph(16)),
    "spectrum": with_spectrum([0.93, *RNG.uniform(0, 0.93, 20), 0.0]),
    "slow": with_spectrum([0.999, *RNG.uniform(0, 0.999, 9)]),
    "fast": with_spectrum([0.05, *RNG.uniform(0, 0.05, 9)]),
}
every_graph = pytest.mark.parametrize("w", GRAPHS.values(), ids=GRAPHS)


@every_graph
def test_plain_gossip_is_a_power_and_leaves_what_lambda_2_says(w):
    for rounds in (0, 1, 2, 5, 30):
        p = matrix_of(lambda mix, x, k=rounds: plain(mix, x, k), w)
        np.testing.assert_allclose(p, np.linalg.matrix_power(w, rounds), atol=1e-13)
        assert left(p) == pytest.approx(lambda_2(w) ** rounds, rel=1e-9)


@every_graph
def test_fast_mix_is_a_chebyshev_polynomial_and_its_bound_is_attained(w):
    values, vectors = np.linalg.eigh(w)
    l2 = values[-2]
    r = l2 / (1 + math.sqrt(1 - l2**2))
    attained = 0
    for rounds in (0, 1, 2, 3, 5, 8, 13, 21, 34):
        p = matrix_of(lambda mix, x, k=rounds: fast_mix(mix, x, k, l2), w)
        c = values / l2
        poly = r**rounds * (eval_chebyu(rounds, c) - r * eval_chebyu(rounds - 1, c)) if rounds else np.ones(len(values))
        np.testing.assert_allclose(p, vectors * poly @ vectors.T, atol=1e-11)
        bound = contraction(rounds, l2)
        assert left(p) <= bound * (1 + 1e-9) + 1e-14
        assert left(p) <= math.sqrt(14) * (1 - (1 - 1 / math.sqrt(2)) * math.sqrt(1 - l2)) ** rounds + 1e-14
        if rounds and 1 + rounds * (1 - r) > math.sqrt(2) and bound > 1e-9:
            assert left(p) == pytest.approx(bound, rel=1e-6)
            attained += 1
    assert attained >= 3


def test_one_round_reaches_the_mean_where_lambda_2_is_0():
    w = metropolis(nx.complete_graph(16), lazy=False)
    assert memory_weight(0.0) == 0.0 and contraction(1, 0.0) == contraction(9, 0.0) == 0.0 and contraction(0, 0.0) == 1.0
    assert left(matrix_of(lambda mix, x: fast_mix(mix, x, 1, 0.0), w)) < 1e-15
    assert contraction(0, 0.9) == 1.0
    assert contraction(1, 0.01) == pytest.approx(0.005 * 1.995, rel=1e-4)
    assert contraction(1, 0.9) == pytest.approx(0.9 / (1 + math.sqrt(0.19)) * math.sqrt(2))  # sqrt 2 is the larger one


def test_spectra_on_both_sides_of_0_are_mixed_a_little_more_slowly():
    l2, worst = 0.9, 0.0
    r = l2 / (1 + math.sqrt(1 - l2**2))
    w = with_spectrum([l2, -l2, *RNG.uniform(-l2, l2, 12)])
    for rounds in (1, 2, 4, 9, 25):
        rest = left(matrix_of(lambda mix, x, k=rounds: fast_mix(mix, x, k, l2), w))
        worst = max(worst, rest / (r**rounds * (1 + 2 * rounds)))
        assert rest <= r**rounds * (1 + 2 * rounds) * (1 + 1e-9)
    assert worst > 0.5


@every_graph
def test_the_mean_over_agents_stays(w):
    x = 1e3 + RNG.standard_normal((3, len(w), 2))
    for mixed in (plain(lambda y: w @ y, x, 40), fast_mix(lambda y: w @ y, x, 40, lambda_2(w))):
        np.testing.assert_allclose(mixed.mean(axis=1), x.mean(axis=1), rtol=1e-12)
        assert np.ptp(mixed, axis=1).max() < np.ptp(x, axis=1).max()


def test_a_round_is_a_product_with_w():
    asked = []
    fast_mix(lambda x: (asked.append(1), x)[1], np.ones((1, 2, 1)), 7, 0.5)
    assert len(asked) == 7
    plain(lambda x: (asked.append(1), x)[1], np.ones((1, 2, 1)), 5)
    assert len(asked) == 12


def overwritten(mix, x, rounds, l2):
    """Fast gossip gone wrong: its memory holds the new value, not the old one."""
    weight = memory_weight(l2)
    for _ in range(rounds):
        x = (1 + weight) * mix(x) - weight * x
    return x


def slow(mix, x, rounds, l2):
    return plain(mix, x, rounds)


@pytest.mark.parametrize(("m", "gossip", "needed"), [
    (16, slow, 538), (32, slow, 2151), (16, fast_mix, 73), (32, fast_mix, 147), (16, overwritten, 327), (32, overwritten, 1194),
])  # fmt: skip
def test_rounds_until_a_millionth_is_left_of_any_difference(m, gossip, needed):
    """About 1/gap in plain gossip and 1/sqrt(gap) in the accelerated one; without its memory it is plain again."""
    values = np.linalg.eigvalsh(ring(m))[:-1]
    rest = [np.abs(gossip(lambda x: values * x, np.ones(m - 1), k, values[-1])).max() for k in (needed - 1, needed)]
    assert rest[0] > 1e-6 >= rest[1]


def test_acceleration_without_its_memory_leaves_more():
    w = ring(16)
    for gossip, rest in ((overwritten, 0.508), (fast_mix, 0.111)):
        assert left(matrix_of(lambda mix, x, g=gossip: g(mix, x, 16, lambda_2(w)), w)) == pytest.approx(rest, abs=5e-4)


@pytest.mark.parametrize("m", [8, 16])
def test_an_even_ring_without_loops_never_mixes(m):
    """Eigenvalue -1: neighbours swap their differences for ever."""
    w = nx.to_numpy_array(nx.cycle_graph(m)) / 2
    assert left(matrix_of(lambda mix, x: plain(mix, x, 201), w)) == pytest.approx(1.0)
    rest = left(matrix_of(lambda mix, x: fast_mix(mix, x, 200, lambda_2(w)), w))
    assert rest == pytest.approx(1 / math.sin(2 * math.pi / m), rel=1e-6)


def test_few_rounds_have_negative_eigenvalues():
    w = ring(16)
    for rounds, value in {1: -0.09, 2: -0.68, 3: -0.52, 4: -0.39, 8: -0.17, 16: -0.03}.items():
        p = matrix_of(lambda mix, x, k=rounds: fast_mix(mix, x, k, lambda_2(w)), w)
        assert np.linalg.eigvalsh((p + p.T) / 2)[0] == pytest.approx(value, abs=5e-3)
