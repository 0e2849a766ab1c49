"""The bound claims of the ASGO paper, the adversaries they use, and what a broken optimizer does to them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import theorysim as ts
from theorysim.analyses.bound_on_means import bound_on_means
from theorysim.backend import CPU
from theorysim.build import build_problem
from theorysim.findings import Verdict
from theorysim.model import Draw, TheorysimError
from theorysim.mutation.mutants import select_faults
from theorysim.noise import Draws
from theorysim.paper_checks._asgo_paper import ASGO
from theorysim.paper_checks.asgo import _asgo_regret as regret
from theorysim.registry import ALGORITHMS, PAPERS, problem
from theorysim.tighten import tighten

PAPER = "asgo"
LIGHT = [
    "one_sided_shampoo_regret",
    "convex_smooth",
    "weaker_norms_do_not_do",
    "convex_nonsmooth",
    "span_of_low_rank_gradients",
    "convex_nonsmooth_in_expectation",
    "baseline_convergence",
    "smooth_bounds_compared",
    "shampoo_bound_is_larger",
]
EXTREMAL = 0.925  # regret / bound of the extremal sequence with N = 1000 at theta = 1/sqrt(2)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THEORYSIM_CACHE", str(tmp_path))


def test_light_claims_are_consistent_and_their_controls_do_their_duty() -> None:
    report = ts.check(PAPER, LIGHT, seed=1)
    assert {claim.claim.name: str(claim.verdict) for claim in report.claims} == dict.fromkeys(LIGHT, "CONSISTENT")
    assert report.controls_as_they_must


@pytest.mark.parametrize(
    ("name", "noticed_by"),
    [
        ("asgo", ["convex_smooth", "span_of_low_rank_gradients", "convex_nonsmooth_in_expectation"]),
        ("one_sided_shampoo", ["one_sided_shampoo_regret"]),
        ("dasgo", ["baseline_convergence"]),
        ("adagrad_norm", ["baseline_convergence"]),
        ("gradient_descent", ["baseline_convergence"]),
        ("sgd", ["baseline_convergence"]),
    ],
)
def test_an_optimizer_that_never_moves_is_noticed(name: str, noticed_by: list[str]) -> None:
    lab = ts.lab.Lab()
    claims = PAPERS.get(PAPER).claims
    with ALGORITHMS.replaced(name, select_faults(["frozen"])[0].broken(ALGORITHMS.get(name))):
        found = {claim: str(claims[claim].function(lab).verdict) for claim in noticed_by}
    assert found == dict.fromkeys(noticed_by, "VIOLATED")


def test_the_first_step_meets_the_regret_bound_in_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    assert regret._one_step(ts.lab.Lab()).verdict is Verdict.CONSISTENT
    monkeypatch.setattr(regret, "_ratio", partial(regret._ratio, bound=regret.ASGO.regret.replace("+ eta)", "+ 1.01*eta)")))
    assert regret._one_step(ts.lab.Lab()).verdict is Verdict.VIOLATED


# ------------------------------------------------------------------------------------------------ bounds in the mean
def test_a_bound_on_means_is_judged_on_paired_differences() -> None:
    """The bound on |x| holds in the mean by a factor sqrt(2) at T = 1, E S_1 = 1, though it is 0 on half of the runs."""
    method = ts.algorithm("average", of=ts.algorithm("asgo", lr=2**-0.5, eps=0.0))
    coin = ts.run(
        problem("frobenius_norm_distance", kept=0.5), method, 3, runs=300, measure=("gap", *ASGO.measures), record="all"
    )
    for factor, verdict in ((1.0, Verdict.CONSISTENT), (1 / 2**0.5, Verdict.UNDECIDED), (0.4, Verdict.VIOLATED)):
        found = bound_on_means(coin, of="gap", bound=f"{factor}*({ASGO.nonsmooth})", where=ASGO.where)
        assert found.verdict is verdict
    mean = 1 / (2**0.5 * coin["adaptive_norm:left"][:, 1].mean())
    assert bound_on_means(coin, of="gap", bound=ASGO.nonsmooth, where=ASGO.where).measured == pytest.approx(mean, rel=1e-12)
    broken = replace(coin, values={**coin.values, "gap": np.where(np.arange(300)[:, None] == 7, np.nan, coin["gap"])})
    assert bound_on_means(broken, of="gap", bound=ASGO.nonsmooth, where=ASGO.where).verdict is Verdict.VIOLATED
    few = ts.run(problem("frobenius_norm_distance"), method, 3, runs=4, measure=("gap", *ASGO.measures))
    assert bound_on_means(few, of="gap", bound=ASGO.nonsmooth, where=ASGO.where).verdict is Verdict.UNDECIDED
    with pytest.raises(TheorysimError, match="no_bound"):
        bound_on_means(coin, of="gap", bound="no_bound")


# ------------------------------------------------------------------------------------------------ adversaries
def gradients(setting: dict[str, Any], x: np.ndarray[Any, Any], steps: list[int], call: int = 0) -> np.ndarray[Any, Any]:
    instance = build_problem(problem("adversarial_gradients", **setting), Draws(CPU, 5, np.arange(len(x))))
    return np.stack([instance.sample(x, Draw(step, call)) for step in steps])


def test_the_extremal_sequence_against_a_scalar_recursion() -> None:
    """In plain floats: adaptive steps from 1, their regret, and the bound sqrt(2) sqrt(sum of g^2), for |x| never exceeds 1."""
    length, eta, x, squares, regret, largest = 1000, 2**-0.5, 1.0, 0.0, 0.0, 0.0
    given = gradients({"length": length}, np.ones((1, 1, 1)), list(range(1, 2 * length + 1)))[:, 0, 0, 0]
    for g in given:
        regret, squares, largest = regret + g * x, squares + g * g, max(largest, abs(x))
        x -= eta * g / squares**0.5
    assert set(given[:length]) == {-1.0, 1.0} and len(set(given[length:])) == 1 and given[-1] > 0
    assert largest == 1.0 and abs(x) < 0.2
    assert regret / (2**0.5 * squares**0.5) == pytest.approx(EXTREMAL, abs=5e-4)
    after = gradients({"length": length}, np.ones((1, 1, 1)), [2 * length + 1, 10**6])
    assert not after.any()


def test_random_gradients_have_every_rank_and_are_fresh() -> None:
    setting = {"m": 4, "n": 3, "law": "random", "start": "gaussian", "spread": 2.0}
    x = np.zeros((400, 4, 3))
    g = gradients(setting, x, [1, 2])
    ranks = np.linalg.matrix_rank(g[0])
    assert np.all(np.abs(np.bincount(ranks, minlength=4)[1:] / 400 - 1 / 3) < 0.1) and ranks.min() == 1
    sizes = np.log(np.linalg.norm(g[0], axis=(1, 2)))
    assert 1.5 < sizes.std() < 2.6
    assert not np.isclose(g[0], g[1]).any()
    assert not np.isclose(g[0], gradients(setting, x, [1], call=1)[0]).any()
    assert np.array_equal(g[0, :7], gradients(setting, x[:7] + 1.0, [1])[0])


def test_the_outward_adversary_pushes_away_while_there_is_room_and_then_back() -> None:
    setting = {"m": 3, "n": 5, "law": "outward", "length": 10, "eta": 0.5, "noise": 0.0}
    u, _, vt = np.linalg.svd(np.random.default_rng(0).normal(size=(3, 5)), full_matrices=False)
    for top, step, factor in ((0.5, 4, -1.0), (0.9, 4, 1.0), (0.9, 100, 1 / (0.5 * 10**0.5))):
        x = (u * [top, 0.3, 0.2]) @ vt
        np.testing.assert_allclose(gradients(setting, x[None], [step])[0, 0], factor * u @ vt, atol=1e-12)


def test_a_frobenius_norm_hides_entries_of_its_gradient() -> None:
    instance = build_problem(problem("frobenius_norm_distance", kept=0.5), Draws(CPU, 5, np.arange(4000)))
    g = instance.sample(instance.start, Draw(1))[:, 0, 0]
    assert set(g) == {0.0, 2.0} and abs(g.mean() - 1) < 0.06
    with pytest.raises(TheorysimError, match="kept"):
        build_problem(problem("frobenius_norm_distance", kept=2.0), Draws(CPU, 5, np.arange(1)))


@pytest.mark.parametrize("claim", ["pathwise_regret_on_random_instances", "convex_smooth"])
def test_the_hardest_instance_found_stays_below_the_bound(claim: str) -> None:
    found = tighten(PAPER, claim, 6)
    assert 0.05 < found.hardest.ratio < 1 and found.exit_code == 0
