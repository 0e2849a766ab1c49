"""The AdaGrad paper: its light claims on two seeds, and what a broken optimizer does to them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import theorysim as ts
from theorysim.check import PaperReport
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


@pytest.fixture
def replace_adagrad(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Callable[[str], None]:
    """Put AdaGrad with a deliberate fault in AdaGrad's place, with a cache of its own."""

    def replace(fault: str) -> None:
        monkeypatch.setenv("THEORYSIM_CACHE", str(tmp_path / fault))
        faulty = partial(ALGORITHMS.get("faulty_adagrad"), fault)
        monkeypatch.setitem(ALGORITHMS._found, "adagrad", faulty)

    ALGORITHMS.get("adagrad")
    return replace


@pytest.mark.parametrize(
    ("fault", "noticed_by"),
    [
        ("frozen", ["batch_size", "dense_error_wins", "exact_trajectory", "nonconvex_theorem", "rescaling_invariance"]),
        ("no_root", ["batch_size", "exact_trajectory", "rescaling_invariance"]),
        ("lagged", ["exact_trajectory"]),
        ("moving_average", ["exact_trajectory"]),
        ("eps_inside", ["exact_trajectory"]),
    ],
)
def test_a_broken_optimizer_is_violated(fault: str, noticed_by: list[str], replace_adagrad: Callable[[str], None]) -> None:
    replace_adagrad(fault)
    report: PaperReport = ts.check(PAPER, noticed_by)
    assert {claim.claim.name: str(claim.finding.verdict) for claim in report.claims} == dict.fromkeys(noticed_by, "VIOLATED")
    assert report.exit_code == 1
