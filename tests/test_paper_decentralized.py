"""The paper decentralized_finite_sum: formulas by hand, how claims measure, light claims, implementations broken on purpose."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

import theorysim as ts
from theorysim.findings import Verdict
from theorysim.lab import Lab
from theorysim.model import Cell
from theorysim.mutation.fault import ALGORITHM, FROZEN, PROBLEM, Fault
from theorysim.paper_checks import (
    _decentralized_baselines,
    _decentralized_certified,
    _decentralized_gossip,
    _decentralized_katyusha,
    _decentralized_simulation,
    _decentralized_svrg,
    decentralized_finite_sum,
)
from theorysim.paper_checks import _decentralized_paper as paper
from theorysim.registry import ALGORITHMS, PAPERS, PROBLEMS

LIGHT = ["plain_gossip_contracts", "bipartite_graphs_never_agree", "steps_must_heed_the_components", "largest_load_of_an_agent"]
CLAIMS = PAPERS.get(decentralized_finite_sum.PAPER.name).claims


def test_light_claims_are_consistent_and_their_controls_do_their_duty() -> None:
    report = ts.check("decentralized_finite_sum", LIGHT, seed=1)
    assert {claim.claim.name: str(claim.verdict) for claim in report.claims} == dict.fromkeys(LIGHT, "CONSISTENT")
    assert report.controls_as_they_must


# ------------------------------------------------------------------------------------------------ formulas
def test_guarantees_by_hand() -> None:
    """N = 512, d = 8, kappa_g = 100, kappa_s = 800, b = 32, p = 1/16."""
    where = paper.pool(8, 100.0)
    assert 1 / paper.rate(where, paper.KATYUSHA_RATE, 32, Lab()) == pytest.approx(1 + math.sqrt(200 + 4 * 800 / 2))
    assert 1 / paper.rate(where, paper.SVRG_RATE, 32, Lab()) == pytest.approx(100 + 6 * 800 / 32)
    assert 1 / paper.rate(where, paper.SVRG_RATE, 512, Lab(), p=0.01) == pytest.approx(200)


def test_lyapunov_functions_by_hand() -> None:
    """At the start all points are x_0, at distance 1 along 8 directions of curvature 1 or 1/100; L_ij = 8 h_k."""
    where, h = paper.pool(8, 100.0), np.array([1.0] + [0.01] * 7)
    cell = Cell(where, paper.svrg(16), 3, 1, _decentralized_svrg._MEASURES, "all", exact=True)
    eta, p = 1 / (1 + 6 * 8 / 16), 16 / 512
    psi = 8 + 4 * eta**2 / (16 * p) * float((8 * h**2).sum())
    assert _decentralized_svrg.lyapunov(Lab().run(cell))[0, 0] == pytest.approx(psi, rel=1e-12)
    cell = Cell(where, paper.katyusha(16), 3, 1, _decentralized_katyusha._MEASURES, "all", exact=True)
    theta_1 = math.sqrt(2 / (100 + 2 * 800 / (16 * p)))
    a, tau = 1 / (theta_1 * (1 + 8 / (16 * p / 2))), 1 / (1 + math.sqrt(200 + 4 * 800 / (16 * p)))
    gap = float(h.sum()) / 2
    phi = (1 + a / 100) * theta_1 / (2 * a) * 8 + gap + (p / 2) / (p - tau) * gap
    assert _decentralized_katyusha.lyapunov(Lab().run(cell), p)[0, 0] == pytest.approx(phi, rel=1e-12)


def test_constants_of_the_certificate() -> None:
    known = _decentralized_certified.certificate(paper.host(Lab(), paper.network(kappa=10.0, spectrum="log")), 32, 0.1)
    stated = {"eta": 0.1, "theta": 0.005, "C_1": 2.32, "C_a": 7.68, "C_p": 6.4, "rho": 0.003242, "e_1": 0.0010776, "K": 35}
    assert {name: known[name] for name in stated} == pytest.approx(stated, rel=2e-4)


@pytest.mark.parametrize(
    ("graph", "m", "rounds"),
    [("ring", 16, 20), ("ring", 32, 39), ("path", 16, 39), ("star", 16, 18), ("torus", 16, 7), ("complete", 16, 3)],
)
def test_rounds_of_the_working_rule(graph: str, m: int, rounds: int) -> None:
    assert paper.enough_rounds(Lab(), paper.network(graph, m=m)) == rounds


def test_rounds_until_a_contraction_are_the_first() -> None:
    values = np.array([0.3, 0.9])
    assert _decentralized_gossip.rounds_until(values, "plain", 0.9, 0.9**7 * (1 + 1e-9)) == 7
    assert _decentralized_gossip.rounds_until(values, "plain", 0.9, 0.9**7 * (1 - 1e-9)) == 8
    assert math.isinf(_decentralized_gossip.rounds_until(np.array([-1.0, 0.9]), "plain", 0.9, 0.5))


@pytest.mark.parametrize(("graph", "m"), [("ring", 5), ("path", 7), ("torus", 9), ("hypercube", 8), ("star", 6), ("ring", 2)])
def test_gaps_by_eigenvalues(graph: str, m: int) -> None:
    import networkx

    made = {
        "ring": lambda: networkx.cycle_graph(m) if m > 2 else networkx.path_graph(2),
        "path": lambda: networkx.path_graph(m),
        "torus": lambda: networkx.grid_2d_graph(3, 3, periodic=True),
        "hypercube": lambda: networkx.hypercube_graph(3),
        "star": lambda: networkx.star_graph(m - 1),
    }[graph]()
    laplacian = networkx.laplacian_matrix(made).toarray().astype(float)
    w = np.eye(m) - laplacian / (1 + np.diag(laplacian).max())
    assert _decentralized_gossip.closed_gap(graph, m) == pytest.approx(1 - np.linalg.eigvalsh(w)[-2], rel=1e-10)


# ------------------------------------------------------------------------------------------------ how claims measure
def test_the_first_step_below_the_target_counts() -> None:
    where = paper.pool(1, 1.0, n=4)
    cell = paper.arrival_cell(where, paper.svrg(1, lr=0.1, chance=0.5), 100, 1e-3)
    found = paper.arrivals(Lab(), [cell])[0]
    assert found.steps == math.ceil(math.log(1e-3) / math.log(0.81)) and found.calls == found.steps * (2 + 0.5 * 4)
    assert np.isnan(paper.arrivals(Lab(), [paper.arrival_cell(where, paper.svrg(1, lr=0.1, chance=0.5), 20, 1e-3)])[0].steps)
    still = paper.arrival_cell(where, paper.svrg(1, lr=0.0, chance=0.5), 20, 1.0)
    assert np.isnan(paper.arrivals(Lab(), [still])[0].steps)


def test_a_fixed_point_is_one() -> None:
    where = paper.network(kappa=20.0, rotation="random")
    rest, _ = _decentralized_baselines.fixed_point(Lab(), where, 0.02)
    one = Lab().build(where)
    x = one.minimizer + rest[None]
    moved = one.capabilities["network"].mix(x, 1) - 0.02 * one.capabilities["finite_sum"].local_gradient(x)
    np.testing.assert_allclose(moved, x, atol=1e-12)
    assert np.abs(rest).max() > 1e-3


def test_an_estimate_divided_by_the_own_batch_misses_what_theory_says() -> None:
    """E v_i = grad f_i(w_i) + (1 - (1 - 1/m)^b) (grad f_i(x_i) - grad f_i(w_i))."""
    where = paper.network(placement="iid", spectrum="log")
    v, here, _ = _decentralized_simulation._estimates(Lab(), where, 4, False, True, 20_000)
    there = Lab().build(where).capabilities["finite_sum"].local_gradient(np.cos(2.0 + np.arange(128).reshape(1, 16, 8)))[0]
    expected = there + (1 - (15 / 16) ** 4) * (here - there)
    assert (np.abs(v.mean(axis=0) - expected) / (v.std(axis=0) / math.sqrt(20_000))).max() < 5


# ------------------------------------------------------------------------------------------------ broken on purpose
@pytest.mark.parametrize("name", ["local_smoothness_limits_exact_methods", "bias_is_taken_out"])
def test_methods_that_never_move_are_noticed(name: str) -> None:
    still = Fault(FROZEN, "never moves", ALGORITHM, lambda build, given: dataclasses.replace(build(**given), step=lambda s, o: s))
    with ALGORITHMS.replaced("extra", still.broken(ALGORITHMS.get("extra"))), np.errstate(all="ignore"):
        assert CLAIMS[name].function(Lab()).verdict is Verdict.VIOLATED


def test_messages_that_are_lost_are_noticed() -> None:
    def deaf(build: Any, given: dict[str, Any]) -> Any:
        sound = build(**given)
        net = sound.capabilities["network"]
        mixed = dataclasses.replace(net, mix=lambda x, t: 0.9 * net.mix(x, t) + 0.1 * x)
        return dataclasses.replace(sound, capabilities={**sound.capabilities, "network": mixed})

    fault = Fault("deaf", "a tenth of each message is lost", PROBLEM, deaf)
    with PROBLEMS.replaced("decentralized_quadratic", fault.broken(PROBLEMS.get("decentralized_quadratic"))):
        for name in ("plain_gossip_contracts", "spectral_gaps_in_closed_form"):
            assert CLAIMS[name].function(Lab()).verdict is Verdict.VIOLATED
