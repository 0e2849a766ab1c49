"""Seeds that grow: a claim that noise leaves open is looked at again with twice as many, and pays for every look."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import theorysim as ts
from theorysim.analyses.bound_in_expectation import bound_in_expectation
from theorysim.analyses.exponent import exponent
from theorysim.check import ClaimFinding, PaperReport, check_claims
from theorysim.findings import Finding, Verdict
from theorysim.lab import Lab
from theorysim.levels import share_of_look
from theorysim.model import Cell, Claim, Control, Paper, TheorysimError
from theorysim.registry import algorithm, problem
from theorysim.store import Store

PAPER = Paper("planted", "Planted laws", "nobody", 2026, "", "@misc{planted}")
T = np.rint(np.geomspace(16, 4096, 13))
C, U, V = Verdict.CONSISTENT, Verdict.UNDECIDED, Verdict.VIOLATED


def running_mean(seeds: int, dim: int, seed: int = 0) -> Any:
    """(seeds, 13): squared norms of running means, of mean 1; row r is the same however many rows there are."""
    steps = np.sqrt(np.diff(T, prepend=0.0))[:, None]
    paths = [np.cumsum(steps * np.random.default_rng([seed, r]).standard_normal((13, dim)), axis=0) for r in range(seeds)]
    return np.sum(np.stack(paths) ** 2, axis=2) / (dim * T)


def planted(dim: int, power: float, claimed: float = -1.0, heard: list[int] | None = None) -> Callable[..., Finding]:
    def function(lab: Lab, power: float = power) -> Finding:
        """A planted law."""
        seeds = lab.runs(8)
        if heard is not None:
            heard.append(seeds)
        return exponent(T, running_mean(seeds, dim, lab.seed) * T**power, claim=claimed)

    return function


def claim(name: str, function: Callable[..., Finding], controls: tuple[Control, ...] = ()) -> Claim:
    return Claim(PAPER, name, function, "rate", "derived", "", "", controls)


def run(tmp_path: Path, *claims: Claim, **options: Any) -> PaperReport:
    return check_claims(PAPER, claims, store=Store(tmp_path), **options)


def test_seeds_double_until_the_claim_is_settled(tmp_path: Path) -> None:
    heard: list[int] = []
    report = run(tmp_path, claim("true", planted(100, -1.0, heard=heard)))
    assert heard == [8, 16]
    assert report.verdict is C
    found = report.claims[0].finding
    assert found.details["seeds"] == 16
    assert found.details["level share"] == pytest.approx(share_of_look(1, 4))
    assert found.measured == exponent(T, running_mean(16, 100) * T**-1.0, claim=-1.0).measured


def test_a_budget_that_is_too_small_leaves_it_open_and_says_so(tmp_path: Path) -> None:
    heard: list[int] = []
    report = run(tmp_path, claim("noisy", planted(10, -1.0, heard=heard)), max_seeds=20)
    assert heard == [8, 16]
    assert report.verdict is U and report.exit_code == 3
    assert "seeds are needed" in report.claims[0].finding.reason
    assert "up to 20" in report.environment["seeds"]


def test_fixed_seeds_are_one_look_at_the_full_level(tmp_path: Path) -> None:
    heard: list[int] = []
    report = run(tmp_path, claim("true", planted(100, -1.0, heard=heard)), seeds=20)
    assert heard == [20]
    assert report.claims[0].finding.details["level share"] == 1.0


def test_level_full_may_look_further(tmp_path: Path) -> None:
    heard: list[int] = []
    report = run(tmp_path, claim("two delta", planted(10, -0.8, heard=heard)), level="full", seed=3)
    assert report.verdict is V
    assert heard[:3] == [8, 16, 32] and heard[-1] > 16
    assert report.claims[0].finding.details["level share"] == share_of_look(len(heard) - 1, 7)


def test_controls_grow_by_themselves(tmp_path: Path) -> None:
    heard: list[int] = []
    wrong = Control({"power": -0.75}, "a slower law")
    report = run(tmp_path, claim("true", planted(100, -1.0, heard=heard), (wrong,)))
    assert report.controls_as_they_must and report.exit_code == 0
    control = heard[heard.index(8, 1) :]
    assert heard == [8, 16, *control]
    assert control == [8 * 2**k for k in range(len(control))]


def test_holm_asks_for_more_seeds_and_tells_again(tmp_path: Path) -> None:
    """One claim is settled at its first look by itself; beside thirty others it must look on."""
    alone, beside = [], []
    seed = next(s for s in range(50) if verdicts(tmp_path, s) is not None)
    told: list[ClaimFinding] = []
    run(tmp_path, claim("first", planted(100, -1.0, heard=alone)), seed=seed, max_seeds=128)
    crowd = [claim(f"other {i}", planted(100, -1.0)) for i in range(30)]
    report = run(
        tmp_path, claim("first", planted(100, -1.0, heard=beside)), *crowd, seed=seed, max_seeds=128, on_claim=told.append
    )
    assert beside[: len(alone)] == alone and beside[len(alone) :] == [2 * alone[-1]]
    assert report.claims[0].verdict is C
    assert [found.claim.name for found in told][:31] == ["first", *(f"other {i}" for i in range(30))]


def verdicts(tmp_path: Path, seed: int) -> Any:
    """Not None where the first claim, settled by itself, is open again under Holm over 31."""
    found = run(tmp_path, claim("first", planted(100, -1.0)), seed=seed, max_seeds=128).claims[0].finding
    p = found.evidence.p_consistent / found.details["level share"] if found.evidence else 1.0
    return p if 0.02 / 31 < p < 0.02 and found.verdict is C else None


def test_only_new_seeds_are_run_and_the_numbers_are_those_of_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(problem("anisotropic_quadratic", dim=3, noise=1.0), algorithm("sgd", lr=0.01), 16, record="all")
    computed: list[tuple[int, int]] = []

    def below(lab: Lab) -> Finding:
        """A bound that lies so near to the mean that 8 seeds cannot tell."""
        trace = lab.run(Cell(cell.problem, cell.algorithm, 16, lab.runs(8), record="all"))
        return bound_in_expectation(trace.steps[1:], trace["gap"][:, 1:], 1.004 * mean)

    mean = ts.run(cell.problem, cell.algorithm, 16, runs=4000, record="all", seed=1)["gap"][:, 1:].mean(axis=0)
    laboratory = sys.modules["theorysim.lab"]
    original = laboratory.run_cell  # type: ignore[attr-defined]
    monkeypatch.setattr(laboratory, "run_cell", lambda c, b: (computed.append((c.first_run, c.runs)), original(c, b))[1])
    report = run(tmp_path, claim("below", below), max_seeds=64)
    assert computed == [(0, 8), (8, 8), (16, 16), (32, 32)]
    whole = Lab(seed=0).run(Cell(cell.problem, cell.algorithm, 16, 64, record="all"))
    grown = Lab(seed=0, store=Store(tmp_path)).run(Cell(cell.problem, cell.algorithm, 16, 64, record="all"))
    assert len(computed) == 5  # the last but one came from the store
    np.testing.assert_array_equal(whole["gap"], grown["gap"])
    assert report.claims[0].finding.details["seeds"] == 64


@pytest.mark.parametrize(
    ("options", "words"),
    [({"seeds": 7}, "at least 8"), ({"max_seeds": 7}, "at least 8"), ({"seeds": 8, "max_seeds": 16}, "give one of them")],
)
def test_impossible_budgets_are_refused(options: dict[str, int], words: str) -> None:
    with pytest.raises(TheorysimError, match=words):
        ts.check("adagrad_anisotropic", ["batch_size"], **options)  # type: ignore[arg-type]
