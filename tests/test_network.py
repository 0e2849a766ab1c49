"""Networks: graphs, weights, eigenvalues and rounds of gossip, against explicit adjacency, dense algebra and closed forms."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from theorysim.agents import Network
from theorysim.backend import CPU, Backend, to_host
from theorysim.model import Draw, TheorysimError
from theorysim.noise import Draws
from theorysim.problems import _graphs, _mixing, _network
from theorysim.problems._graphs import spectral_gap
from theorysim.problems._network import ends, network

RUNS = np.array([0, 3, 7])


def built(m: int, backend: Backend = CPU, seed: int = 5, runs: np.ndarray = RUNS, **setting: Any) -> Network:
    return network(Draws(backend, seed, runs), m, **setting)


def one_round(net: Network, t: int, rows: int = len(RUNS), backend: Backend = CPU) -> np.ndarray:
    """The matrices of round t, found by mixing the unit vectors: (rows, m, m)."""
    unit = np.tile(np.eye(net.agents), (rows, 1, 1))
    return to_host(net.mix(backend.asarray(unit), t))


def linked(graph: str, m: int) -> np.ndarray:
    """The adjacency matrix, pair by pair from the definition."""
    side, powers = math.isqrt(m), {2**k for k in range(m.bit_length())}

    def near(i: int, j: int) -> bool:
        (a, b), (c, d) = divmod(i, side), divmod(j, side)
        beside = {1, side - 1}
        return {
            "ring": (i - j) % m in (1, m - 1),
            "path": abs(i - j) == 1,
            "torus": ((a - c) % side in beside and b == d) or (a == c and (b - d) % side in beside),
            "hypercube": (i ^ j).bit_count() == 1,
            "star": 0 in (i, j),
            "complete": True,
            "exponential": (i - j) % m in powers or (j - i) % m in powers,
            "barbell": (i < m // 2) == (j < m // 2) or {i, j} == {m // 2 - 1, m // 2},
        }[graph]

    return np.array([[float(i != j and near(i, j)) for j in range(m)] for i in range(m)])


def metropolis(adjacency: np.ndarray) -> np.ndarray:
    degree = adjacency.sum(axis=1)
    w = adjacency / (1 + np.maximum(degree[:, None], degree[None, :]))
    return w + np.diag(1 - w.sum(axis=1))


SIZES = {
    "ring": (2, 3, 4, 5, 16, 27),
    "path": (2, 3, 4, 9, 16),
    "torus": (4, 9, 16, 25),
    "hypercube": (2, 4, 8, 32),
    "star": (2, 3, 4, 17),
    "complete": (2, 3, 16),
    "exponential": (2, 3, 6, 8, 13, 16, 32),
    "barbell": (4, 8, 14),
}
GRAPHS = [(graph, m) for graph, sizes in SIZES.items() for m in sizes]
every_graph = pytest.mark.parametrize(("graph", "m"), GRAPHS)


@every_graph
def test_weights_and_eigenvalues_are_those_of_the_definition(graph: str, m: int) -> None:
    adjacency = linked(graph, m)
    w = metropolis(adjacency)
    for lazy in (False, True):
        used = (np.eye(m) + w) / 2 if lazy else w
        net = built(m, graph=graph, lazy=lazy, allow_bipartite=(graph, m) == ("exponential", 13))
        values = np.linalg.eigvalsh(used)
        np.testing.assert_allclose(net.weights, used, atol=1e-15)
        assert net.lambda_2 == pytest.approx(values[-2], abs=1e-12) and net.lambda_min == pytest.approx(values[0], abs=1e-12)
        assert net.messages == adjacency.sum() and net.agents == m and net.fixed
    assert (graph == "barbell") == (spectral_gap(graph, m) is None)


def test_spectral_gaps_in_closed_form() -> None:
    for m in (3, 16, 64, 257):
        assert spectral_gap("ring", m) == pytest.approx(4 / 3 * math.sin(math.pi / m) ** 2, rel=1e-13)
        assert spectral_gap("path", m) == pytest.approx(2 / 3 * (1 - math.cos(math.pi / m)), rel=1e-10)
        assert spectral_gap("star", m) == pytest.approx(1 / m) and spectral_gap("complete", m) == 1.0
    for side in (3, 4, 7):
        assert spectral_gap("torus", side**2) == pytest.approx(0.8 * math.sin(math.pi / side) ** 2, rel=1e-13)
    for bits in (2, 3, 10):
        assert spectral_gap("hypercube", 2**bits) == pytest.approx(2 / (bits + 1), rel=1e-15)
    assert spectral_gap("torus", 4) == pytest.approx(2 / 3)
    assert all(spectral_gap(graph, 2) == 1.0 for graph in ("ring", "path", "star", "complete", "hypercube"))
    slope = np.polyfit(np.log([16, 64, 256]), np.log([spectral_gap("ring", m) for m in (16, 64, 256)]), 1)[0]
    assert slope == pytest.approx(-1.996, abs=0.001)


@pytest.mark.parametrize("weights", ["max_degree", "laplacian", "adjacency"])
@pytest.mark.parametrize("graph", ["ring", "torus", "star", "path", "barbell", "exponential"])
def test_other_weights_and_their_eigenvalues(graph: str, weights: str) -> None:
    adjacency = linked(graph, 16)
    degree = adjacency.sum(axis=1)
    laplacian = np.diag(degree) - adjacency
    if weights == "adjacency" and len(set(degree)) > 1:
        return
    levels = np.linalg.eigvalsh(laplacian)
    c = {"max_degree": 1 / (1 + degree.max()), "adjacency": 1 / degree.max(), "laplacian": 2 / (levels[1] + levels[-1])}[weights]
    for link_loss in (0.0, 0.3):
        net = built(16, graph=graph, weights=weights, link_loss=link_loss)
        mean = np.eye(16) - (1 - link_loss) * c / 2 * laplacian
        np.testing.assert_allclose(net.weights, mean, atol=1e-14)
        assert net.lambda_2 == pytest.approx(np.linalg.eigvalsh(mean)[-2], abs=1e-12)
        assert net.lambda_min == pytest.approx(np.linalg.eigvalsh(mean)[0], abs=1e-12)


def test_the_best_multiple_of_the_laplacian_shrinks_most() -> None:
    best = built(9, graph="star", weights="laplacian", lazy=False)
    assert best.lambda_2 == pytest.approx(-best.lambda_min) == pytest.approx(0.8)
    for c in (0.15, 0.19):
        other = built(9, graph="star", weights="laplacian", lazy=False, edge_weight=c)
        assert other.lambda_2 > best.lambda_2 + 1e-3


def test_a_matrix_of_the_user() -> None:
    rows = [[0.5, 0.25, 0.25, 0.0], [0.25, 0.7, 0.0, 0.05], [0.25, 0.0, 0.7, 0.05], [0.0, 0.05, 0.05, 0.9]]
    values = np.linalg.eigvalsh(np.array(rows))
    net = built(4, weights=rows, lazy=False)
    np.testing.assert_allclose(net.weights, rows, atol=1e-16)
    assert net.lambda_2 == pytest.approx(values[-2]) and net.lambda_min == pytest.approx(values[0]) and net.messages == 8


def test_a_ring_without_own_weights_is_refused_unless_it_is_wanted() -> None:
    with pytest.raises(TheorysimError, match="outweighs.*allow_bipartite"):
        built(16, weights="adjacency", lazy=False)
    net = built(16, weights="adjacency", lazy=False, allow_bipartite=True)
    assert net.lambda_min == pytest.approx(-1.0) and net.lambda_2 == pytest.approx(math.cos(math.pi / 8))
    signs = np.tile((-1.0) ** np.arange(16), (3, 1))[:, :, None]
    np.testing.assert_allclose(net.mix(signs, 1), -signs, atol=1e-15)
    assert built(15, weights="adjacency", lazy=False, allow_bipartite=True).lambda_min > -1 + 1e-3


def test_an_agent_alone() -> None:
    net = built(1, graph="ring", link_loss=0.5)
    assert net.weights == [[1.0]] and (net.lambda_2, net.lambda_min, net.messages) == (0.0, 0.0, 0)
    x = np.arange(6.0).reshape(3, 1, 2)
    np.testing.assert_array_equal(net.mix(x, 1), x)


# ------------------------------------------------------------------------------------------------ drawn and given graphs
@pytest.mark.parametrize("graph", ["erdos_renyi", "geometric"])
def test_drawn_graphs_are_connected_and_belong_to_the_seed(graph: str) -> None:
    found = [built(24, graph=graph, seed=seed).weights for seed in range(8)]
    for w in found:
        np.testing.assert_allclose(w.sum(axis=0), 1, atol=1e-14)
        assert np.linalg.eigvalsh(w)[-2] < 1 - 1e-6
    assert len({w.tobytes() for w in found}) == 8
    again = built(24, graph=graph, seed=3, runs=np.array([99]))
    np.testing.assert_array_equal(again.weights, found[3])


def test_every_pair_of_a_random_graph_is_joined_as_often_as_it_should() -> None:
    m, chance, seeds = 6, 0.3, 1500
    joined = np.zeros((m, m))
    for seed in range(seeds):
        edges = _graphs._erdos_renyi(m, chance, Draws(CPU, seed, RUNS), Draw(9))
        joined[edges[:, 0], edges[:, 1]] += 1
        assert (edges[:, 0] < edges[:, 1]).all() and edges.max(initial=0) < m
    rates = joined[np.triu_indices(m, 1)] / seeds
    assert np.abs(rates - chance).max() < 4.5 * math.sqrt(chance * (1 - chance) / seeds)
    assert abs(rates.mean() - chance) < 4 * math.sqrt(chance * (1 - chance) / seeds / 15)


def test_points_nearer_than_the_radius_are_joined() -> None:
    near, far = (built(30, graph="geometric", radius=radius).weights > 0 for radius in (0.45, 0.7))
    assert (near <= far).all() and near.sum() < far.sum()
    assert (built(30, graph="geometric", radius=1.5).weights > 0).all()
    assert (built(7, graph="erdos_renyi", chance=1.0).weights > 0).all()


def test_a_list_of_edges_and_a_file(tmp_path: Path) -> None:
    listed = built(4, graph=[[1, 0], [1, 2], [2, 3], [0, 1]])
    np.testing.assert_array_equal(listed.weights, built(4, graph="path").weights)
    file = tmp_path / "edges.txt"
    file.write_text("# a path\n0 1\n1 2\n2 3\n")
    np.testing.assert_array_equal(built(4, graph=str(file)).weights, listed.weights)
    file.write_text("0 1\n1 2\n2 3\n3 0\n")
    np.testing.assert_array_equal(built(4, graph=str(file)).weights, built(4, graph="ring").weights)
    for text in ("0 1\n1 two\n", "0\n1\n"):
        file.write_text(text)
        with pytest.raises(TheorysimError, match="no list of edges"):
            built(4, graph=str(file))


# ------------------------------------------------------------------------------------------------ rounds
@pytest.mark.parametrize("path", ["dense", "sparse"])
@pytest.mark.parametrize("graph", ["barbell", "erdos_renyi"])
def test_a_round_is_the_product_with_w(graph: str, path: str, monkeypatch: pytest.MonkeyPatch, strict: Backend) -> None:
    monkeypatch.setattr(_mixing, "_SPARSE_FROM", 2 if path == "sparse" else 10**9)
    monkeypatch.setattr(_mixing, "_SPARSE_UP_TO", 1.0)
    x = np.random.default_rng(1).normal(size=(3, 14, 5))
    net = built(14, graph=graph)
    mixed = net.mix(x, 1)
    np.testing.assert_allclose(mixed, np.einsum("ij,rjd->rid", net.weights, x), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(mixed.mean(axis=1), x.mean(axis=1), atol=1e-15)
    for rows in ([1], [2, 0]):
        np.testing.assert_array_equal(built(14, graph=graph, runs=RUNS[rows]).mix(x[rows], 1), mixed[rows])
    there = built(14, strict, graph=graph).mix(strict.asarray(x), 1)
    np.testing.assert_allclose(to_host(there), mixed, atol=1e-15)


@pytest.mark.parametrize("path", ["dense", "sparse"])
def test_lost_links_leave_a_doubly_stochastic_matrix(path: str, monkeypatch: pytest.MonkeyPatch, strict: Backend) -> None:
    monkeypatch.setattr(_mixing, "_SPARSE_FROM", 2 if path == "sparse" else 10**9)
    monkeypatch.setattr(_mixing, "_SPARSE_UP_TO", 1.0)
    rounds, setting = 400, {"graph": "barbell", "link_loss": 0.3}
    net, whole = built(8, **setting), built(8, graph="barbell").weights
    seen = np.stack([one_round(net, t) for t in range(1, rounds + 1)])
    assert np.abs(seen - np.matrix_transpose(seen)).max() == 0 and np.abs(seen.sum(axis=-1) - 1).max() < 1e-15
    i, j = np.nonzero(np.triu(whole, 1))
    links = seen[:, :, i, j]
    kept = links > 0
    np.testing.assert_allclose(links[kept], np.broadcast_to(whole[i, j], links.shape)[kept], rtol=1e-14)
    assert (seen[:, :, np.triu(whole == 0)] == 0).all() and seen.min() >= 0
    error = math.sqrt(0.3 * 0.7 / kept.shape[0] / kept.shape[1])
    assert np.abs(kept.mean(axis=(0, 1)) - 0.7).max() < 4.5 * error
    assert len({part.tobytes() for part in kept.reshape(-1, len(i))}) > 0.6 * kept.shape[0] * kept.shape[1]
    np.testing.assert_allclose(seen.mean(axis=(0, 1)), net.weights, atol=4.5 * error / 4)
    alone = built(8, runs=RUNS[1:2], **setting)
    np.testing.assert_array_equal(one_round(alone, 17, 1)[0], seen[16, 1])
    there = built(8, strict, **setting)
    np.testing.assert_allclose(one_round(there, 17, backend=strict), seen[16], atol=1e-15)
    assert not net.fixed and net.messages == built(8, graph="barbell").messages


def test_graphs_take_turns() -> None:
    net = built(16, graph="ring", changing=["star", "hypercube"])
    each = [built(16, graph=graph) for graph in ("ring", "star", "hypercube")]
    for t in range(1, 8):
        np.testing.assert_allclose(one_round(net, t)[0], each[(t - 1) % 3].weights, atol=1e-16)
    np.testing.assert_allclose(net.weights, sum(one.weights for one in each) / 3, atol=1e-15)
    assert net.lambda_2 == pytest.approx(np.linalg.eigvalsh(net.weights)[-2]) and net.messages == 64 and not net.fixed


def test_one_peer_at_a_time_averages_exactly_after_log_m_rounds() -> None:
    net = built(16, graph="one_peer", lazy=False)
    product = np.eye(16)
    for t in range(5, 9):
        w = one_round(net, t)[0]
        assert (np.count_nonzero(w, axis=1) == 2).all()
        product = w @ product
    np.testing.assert_allclose(product, np.full((16, 16), 1 / 16), atol=1e-16)
    assert net.lambda_2 == pytest.approx(1 - 1 / 4) and net.messages == 16


# ------------------------------------------------------------------------------------------------ large networks
def test_many_agents_have_sparse_weights_and_the_same_eigenvalues(monkeypatch: pytest.MonkeyPatch) -> None:
    small = built(60, graph="geometric", seed=2)
    monkeypatch.setattr(_network, "_DENSE", 10)
    _network._wiring.cache_clear()
    large = built(60, graph="geometric", seed=2)
    _network._wiring.cache_clear()
    np.testing.assert_allclose(large.weights.toarray(), small.weights, atol=1e-16)
    assert large.lambda_2 == pytest.approx(small.lambda_2, abs=1e-10)
    assert large.lambda_min == pytest.approx(small.lambda_min, abs=1e-10)
    assert ends(large.weights) == pytest.approx((small.lambda_2, small.lambda_min), abs=1e-10)


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch, strict: Backend) -> None:
    tight = replace(strict)
    monkeypatch.setattr(Backend, "free_memory", lambda self: 10**4)
    with pytest.raises(TheorysimError, match="m=100.*fewer agents"):
        built(100, tight, graph="star")
