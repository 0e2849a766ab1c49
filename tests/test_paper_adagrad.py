"""The AdaGrad paper: its light claims on two seeds, and what a broken optimizer does to them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import theorysim as ts
from theorysim.model import Algorithm
from theorysim.mutation.mutants import select_faults
from theorysim.registry import ALGORITHMS, PAPERS

PAPER = "adagrad_anisotropic"
LIGHT = [
    "assumptions_hold",
    "batch_size",
    "dense_error_wins",
    "eps_term_is_needed",
    "exact_trajectory",
    "generalized_smoothness",
    "gradient_descent_bound_is_tight",
    "gradient_descent_in_time",
    "nonconvex_theorem",
    "rescaling_invariance",
    "sparse_error_loses",
]


@pytest.mark.parametrize("seed", [0, 1])
def test_light_claims_are_consistent_and_their_controls_do_their_duty(seed: int) -> None:
    report = ts.check(PAPER, LIGHT, seed=seed)
    assert {claim.claim.name: str(claim.verdict) for claim in report.claims} == dict.fromkeys(LIGHT, "CONSISTENT")
    assert report.controls_as_they_must
    assert report.exit_code == 0


def test_the_chunk_size_changes_no_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    claims = ["batch_size", "nonconvex_theorem", "sparse_error_loses"]
    whole = ts.check(PAPER, claims, seed=2)
    monkeypatch.setenv("THEORYSIM_CACHE", str(tmp_path))
    monkeypatch.setattr(sys.modules["theorysim.run"], "_CPU_ELEMENTS", 500)
    pieces = ts.check(PAPER, claims, seed=2)
    for one, other in zip(whole.claims, pieces.claims, strict=True):
        assert one.finding == other.finding
        assert [control.finding for control in one.controls] == [control.finding for control in other.controls]


def test_every_claim_has_a_statement_a_source_with_its_mark_and_a_control_that_must_fail() -> None:
    claims = PAPERS.get(PAPER).claims
    assert len(claims) == 22
    for claim in claims.values():
        assert claim.statement and claim.assumptions
        assert any(mark in claim.source for mark in ("source", "recalled", "derived", "measured", "recomputed")), claim.name
        assert any(control.fires for control in claim.controls)


@pytest.mark.parametrize(
    ("name", "fault", "noticed_by"),
    [
        (
            "adagrad",
            "frozen",
            ["batch_size", "dense_error_wins", "exact_trajectory", "nonconvex_theorem", "rescaling_invariance"],
        ),
        ("adagrad", "no_root", ["batch_size", "exact_trajectory", "rescaling_invariance"]),
        ("adagrad", "lagged", ["exact_trajectory"]),
        ("adagrad", "moving_average", ["exact_trajectory"]),
        ("adagrad", "eps_inside", ["exact_trajectory"]),
        ("sgd", "frozen", ["exact_trajectory", "sparse_error_loses"]),
    ],
)
def test_a_broken_optimizer_is_violated(
    name: str, fault: str, noticed_by: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the faults of faulty_adagrad, whatever the method they stand in for, and a cache of its own."""
    monkeypatch.setenv("THEORYSIM_CACHE", str(tmp_path))
    faulty = ALGORITHMS.get("faulty_adagrad")

    def factory(lr: Any, eps: Any = 0.0, v0: Any = 0.0, box: Any = None) -> Algorithm:
        return faulty(fault, lr, eps, v0, box)

    factory.__annotations__ = dict.fromkeys(("lr", "eps", "v0", "box"), "PerRow")
    with ALGORITHMS.replaced(name, factory):
        report = ts.check(PAPER, noticed_by)
    assert {claim.claim.name: str(claim.finding.verdict) for claim in report.claims} == dict.fromkeys(noticed_by, "VIOLATED")
    assert report.exit_code == 1


def test_a_control_must_fail_for_its_own_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """AdaGrad-Norm that never moves is invariant to everything: as a control of invariance it says nothing, and is found out."""
    monkeypatch.setenv("THEORYSIM_CACHE", str(tmp_path))
    with ALGORITHMS.replaced("adagrad_norm", select_faults(["frozen"])[0].broken(ALGORITHMS.get("adagrad_norm"))):
        report = ts.check(PAPER, ["rescaling_invariance"])
    assert [control.as_it_must for control in report.claims[0].controls] == [True, False]
    assert report.exit_code == 1


def test_every_compared_method_is_recomputed() -> None:
    labels = [leaf.label for leaf in ts.check(PAPER, ["exact_trajectory"]).claims[0].finding.leaves()]
    for name in ("gradient_descent", "sgd", "adagrad", "adagrad_norm", "full_matrix_adagrad"):
        assert f"{name}: distance from its recursion and average" in labels
