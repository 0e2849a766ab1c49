"""The claims on the practical code: consistent on two seeds, their controls violated, and blind to no standstill."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import pytest

import theorysim as ts
from theorysim.findings import Finding, Verdict
from theorysim.lab import Lab
from theorysim.model import Algorithm
from theorysim.mutation.mutants import select_faults
from theorysim.registry import ALGORITHMS, PAPERS

QUICK = ["polar_express_root", "state_sizes"]
FLOOR = PAPERS.get("asgo").claims["constant_steps_have_a_floor"]


class Heavier(NamedTuple):
    inner: Any
    more: Any

    @property
    def x(self) -> Any:
        return self.inner.x


def numbers(finding: Finding) -> dict[str, float | None]:
    return {leaf.label: leaf.measured for leaf in finding.leaves()}


@pytest.mark.parametrize("seed", [0, 1])
def test_the_root_and_the_states_are_as_the_card_has_them(seed: int) -> None:
    report = ts.check("asgo", QUICK, seed=seed)
    assert {claim.claim.name: str(claim.verdict) for claim in report.claims} == dict.fromkeys(QUICK, "CONSISTENT")
    assert report.controls_as_they_must
    root = report.claims[0].controls[0].finding
    assert root.measured == pytest.approx(0.72, abs=0.02)


def test_a_constant_step_has_a_floor_and_a_step_that_ends_at_zero_has_none() -> None:
    lab = Lab(seeds=1)
    found = FLOOR.function(lab)
    assert found.verdict is Verdict.CONSISTENT, numbers(found)
    for control in FLOOR.controls:
        against = FLOOR.function(lab, **control.setting)
        assert against.verdict is Verdict.VIOLATED
        assert against.measured is not None and against.measured < 0.5, "a floor that goes on falling, not one that scatters"


@pytest.mark.parametrize("fault", ["frozen", "step_decays"])
def test_a_broken_method_has_no_such_floor(fault: str) -> None:
    with ALGORITHMS.replaced("asgo_practical", select_faults([fault])[0].broken(ALGORITHMS.get("asgo_practical"))):
        found = FLOOR.function(Lab(seeds=1), horizons=(40, 160))
    assert found.verdict is Verdict.VIOLATED
    if fault == "frozen":
        assert numbers(found)["floor: exponent of lr"] == pytest.approx(0.0, abs=1e-12)


def test_a_wrong_quintic_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    import theorysim.matrix_iterations as iterations
    from theorysim.paper_checks import _asgo_practice

    table = list(iterations.POLAR_EXPRESS)
    table[3] = (table[3][0] * (1 + 1e-3), *table[3][1:])
    for module in (iterations, _asgo_practice):
        monkeypatch.setattr(module, "POLAR_EXPRESS", tuple(table))
    found = _asgo_practice.polar_express_root(Lab())
    assert found.verdict is Verdict.VIOLATED
    assert numbers(found)["z(0)"] == pytest.approx(22371.3 * 1.001, rel=1e-5)


def test_a_state_that_holds_more_is_noticed() -> None:
    sound: Any = ALGORITHMS.get("muon")

    @functools.wraps(sound)
    def factory(**options: Any) -> Algorithm:
        built = sound(**options)
        return Algorithm(
            lambda problem, x0: Heavier(built.init(problem, x0), np.zeros((1, 2, 3))),
            lambda state, oracle: state._replace(inner=built.step(state.inner, oracle)),
        )

    with ALGORITHMS.replaced("muon", factory):
        found = PAPERS.get("asgo").claims["state_sizes"].function(Lab())
    assert found.verdict is Verdict.VIOLATED and "Muon" in found.reason
