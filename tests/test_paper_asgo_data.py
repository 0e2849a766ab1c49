"""ASGO on digits: the claims and their controls, and what an optimizer that never moves does to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import theorysim as ts
from theorysim.findings import Verdict
from theorysim.lab import Lab
from theorysim.model import Algorithm
from theorysim.registry import ALGORITHMS, PAPERS

CLAIMS = [
    "matrix_regression_bound",
    "softmax_regression_bound",
    "gradients_on_data_have_low_rank",
    "hessians_on_data_have_blocks",
]


def test_claims_are_consistent_and_their_controls_do_their_duty() -> None:
    report = ts.check("asgo", CLAIMS, seed=1)
    assert {claim.claim.name: str(claim.verdict) for claim in report.claims} == dict.fromkeys(CLAIMS, "CONSISTENT")
    assert report.controls_as_they_must and report.exit_code == 0


@pytest.mark.parametrize("name", CLAIMS[2:])  # for the others it is a control
def test_a_method_that_never_moves_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THEORYSIM_CACHE", str(tmp_path))
    sound = ALGORITHMS.get("asgo")

    def frozen(lr: Any = "D_op_0/sqrt(2)", eps: Any = 0.0, side: str = "left") -> Algorithm:
        method = sound(lr, eps, side)
        return replace(method, step=lambda state, oracle: method.step(state, oracle)._replace(x=state.x))

    frozen.__annotations__ = dict(sound.__annotations__)
    with ALGORITHMS.replaced("asgo", frozen):
        assert PAPERS.get("asgo").claims[name].function(Lab()).verdict is Verdict.VIOLATED
