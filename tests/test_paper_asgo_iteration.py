"""The identities of the paper asgo, claim by claim, and what of them would not be noticed otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from theorysim.findings import Verdict
from theorysim.lab import Lab
from theorysim.paper_checks import _asgo_recursions as recursions
from theorysim.registry import PAPERS

CLAIMS = (
    "exact_trajectory",
    "orthogonal_invariance",
    "scale_invariance",
    "first_step_is_muons",
    "aligned_runs_are_adagrad_on_singular_values",
    "muon_with_nuclear_steps",
    "muon_with_constant_steps",
    "nonconvex_asgo",
)


@pytest.mark.parametrize("name", CLAIMS)
def test_holds_and_every_control_does_its_duty(name: str) -> None:
    claim = PAPERS.get("asgo").claims[name]
    found = claim.function(Lab())
    assert found.verdict is Verdict.CONSISTENT, [(leaf.label, leaf.reason) for leaf in found.leaves()]
    for control in claim.controls:
        verdict = claim.function(Lab(), **control.setting).verdict
        assert (verdict is Verdict.VIOLATED) if control.fires else (verdict is Verdict.CONSISTENT), control


def test_the_recursions_are_the_cards_numbers() -> None:
    """X_t = P diag(x_t) Q, A = P diag(2, .5) P': worked out by hand for the first step, x_1 - .6 and x_1 - .6 g/(|g| + .1)."""
    curvature, start = np.diag([2.0, 0.5]), np.diag([0.8, 0.3])
    path = recursions.path(recursions.asgo(0.6), lambda w, t: curvature @ w, start, 3)
    np.testing.assert_allclose(path[1], np.diag([0.2, -0.3]), atol=1e-12)
    np.testing.assert_allclose(np.diag(path[3]), [0.014925824779, -0.044386713917], atol=1e-11)
    path = recursions.path(recursions.asgo(0.6, 0.1), lambda w, t: curvature @ w, start, 3)
    np.testing.assert_allclose(np.diag(path[1]), [0.8 - 0.6 * 1.6 / 1.7, 0.3 - 0.6 * 0.15 / 0.25], atol=1e-12)
    np.testing.assert_allclose(np.diag(path[3]), [0.024469450830, -0.002068408369], atol=1e-11)
