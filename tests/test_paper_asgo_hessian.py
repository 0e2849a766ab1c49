"""ASGO: what L is. The claims on two seeds, their numbers, and what a method that never moves does to them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import theorysim as ts
from theorysim.findings import Finding, Verdict
from theorysim.lab import Lab
from theorysim.mutation.mutants import select_faults
from theorysim.registry import ALGORITHMS, PAPERS

CLAIMS = ["left_smoothness_of_block_hessians", "left_smoothness_of_a_dense_hessian", "assumptions_hold"]


def found(name: str, seed: int = 0, **setting: str) -> Finding:
    return PAPERS.get("asgo").claims[name].function(Lab(seed=seed), **setting)


@pytest.mark.parametrize("seed", [0, 1])
def test_claims_are_consistent_and_their_controls_do_their_duty(seed: int) -> None:
    report = ts.check("asgo", CLAIMS, seed=seed)
    assert {claim.claim.name: str(claim.verdict) for claim in report.claims} == dict.fromkeys(CLAIMS, "CONSISTENT")
    assert report.controls_as_they_must


def test_the_average_block_is_caught_by_the_certificate_and_not_by_the_rate() -> None:
    leaves = {leaf.label: leaf.measured for leaf in found("left_smoothness_of_block_hessians").leaves()}
    assert leaves["average block, n=10: tr(grad' L^-1 grad) / 2 gap"] == pytest.approx(14 / 11, rel=1e-12)
    assert leaves["average block, n=10: largest eigenvalue of H_j - L"] == pytest.approx(0.45, rel=1e-12)
    rates = found("left_smoothness_of_block_hessians").tables[0]
    for row in rates.rows:
        share, rate, wrong_share, wrong_rate = row[2:]
        assert share < 1 < wrong_share and rate < wrong_rate < 0.3
    control = found("left_smoothness_of_block_hessians", left="average")
    caught = [leaf.label for leaf in control.leaves() if leaf.verdict is Verdict.VIOLATED]
    assert len(caught) == 3 and all(label.startswith("left smoothness") for label in caught)


def test_without_the_solver_the_verdict_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    present = found("left_smoothness_of_block_hessians")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    absent = found("left_smoothness_of_block_hessians")
    assert absent.parts == present.parts and absent.verdict is Verdict.CONSISTENT
    programs = [[row[3] for row in finding.tables[1].rows] for finding in (present, absent)]
    assert programs[1] == ["none", "none"] and all(isinstance(value, float) for value in programs[0])


def test_a_method_that_never_moves_exceeds_the_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THEORYSIM_CACHE", str(tmp_path))
    with ALGORITHMS.replaced("asgo", select_faults(["frozen"])[0].broken(ALGORITHMS.get("asgo"))):
        finding = found("left_smoothness_of_block_hessians")
    violated = [leaf.label for leaf in finding.leaves() if leaf.verdict is Verdict.VIOLATED]
    assert len(violated) == 2 and all(label.startswith("f(wbar) / bound") for label in violated)
