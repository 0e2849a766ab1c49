"""Sound cells and faulty cells never meet, and a paper gets the score that it deserves."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import theorysim as ts
from theorysim.backend import CPU
from theorysim.cli_selftest import selftest_command, summary_lines
from theorysim.findings import Table
from theorysim.model import Algorithm, Cell, Claim, TheorysimError
from theorysim.mutation.fault import Fault
from theorysim.mutation.mutants import MutationReport, Outcome, mutants_of, select_faults
from theorysim.mutation.selftest import run_selftest
from theorysim.registry import ALGORITHMS, PAPERS, PROBLEMS, algorithm, problem
from theorysim.run import run_cell
from theorysim.store import Store, cell_key

NOISY = problem("anisotropic_quadratic", dim=4, rotation="random", noise=0.3, batch=4, start="uniform", origin="start")


def fault(name: str) -> Fault:
    return select_faults([name])[0]


# ------------------------------------------------------------------------------------------------ the registry and the store
def test_the_registry_is_as_before_after_an_exception() -> None:
    sound = ALGORITHMS.get("adagrad")
    with pytest.raises(ZeroDivisionError), ALGORITHMS.replaced("adagrad", fault("frozen").broken(sound)):
        assert ALGORITHMS.get("adagrad") is not sound
        raise ZeroDivisionError
    assert ALGORITHMS.get("adagrad") is sound
    with pytest.raises(TheorysimError, match="did you mean adagrad"), ALGORITHMS.replaced("adagard", sound):
        pass


def test_a_faulty_cell_is_neither_read_nor_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    wrapped = algorithm("average", of=algorithm("gradient_descent", lr=0.4))
    for spec, target in ((algorithm("gradient_descent", lr=0.4), "gradient_descent"), (wrapped, "gradient_descent")):
        cell = Cell(NOISY, spec, 6)
        store.save(run_cell(cell, CPU), "cpu")
        assert store.load(cell, "cpu") is not None
        before = files(tmp_path)
        with ALGORITHMS.replaced(target, fault("step_halved").broken(ALGORITHMS.get(target))):
            assert cell_key(cell, "cpu") is None
            assert store.load(cell, "cpu") is None
            store.save(run_cell(cell, CPU), "cpu")
        assert files(tmp_path) == before
    with PROBLEMS.replaced(NOISY.name, fault("gap_halved").broken(PROBLEMS.get(NOISY.name))):
        assert cell_key(cell, "cpu") is None


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# ------------------------------------------------------------------------------------------------ papers made for this
TOY = ts.Paper("toy_of_mutation", "T", "A", 2026, "V", "@misc{t}")
WEAK = ts.Paper("toy_that_sees_little", "T", "A", 2026, "V", "@misc{t}")
LOOSE = "10*lambda_max*D_2_0**2/(2*T)"


@ts.claim(
    TOY,
    source="derived",
    kind="identity",
    statement="x",
    controls=[ts.Control({"lr": 0.5}, "another step size")],
    assumptions="none",
)
def exact(lab: Any, lr: float = 0.4) -> ts.Finding:
    """The gap of gradient descent is known."""
    trace = lab.run(Cell(problem("anisotropic_quadratic", dim=3), algorithm("gradient_descent", lr=lr), 8, record="all"))
    curvature = 1 / np.arange(1, 4)
    known = np.array([0.5 * np.sum(curvature * (1 - 0.4 * curvature) ** (2 * t)) for t in trace.steps])
    return ts.band(np.abs(trace["gap"][0] - known), high=1e-12, label="distance from the formula")


def below(lab: Any, factor: float = 1.0) -> ts.Finding:
    """The gap is far below a loose bound."""
    trace = lab.run(Cell(problem("anisotropic_quadratic", dim=3), algorithm("gradient_descent", lr=0.4), 8, record="all"))
    table = Table("shown", ("constant",), ((trace.constants["trace_H"],),))
    part = ts.bound_ratio([trace], of="gap", bound=f"{factor}*{LOOSE}", label="ratio")
    return ts.together(part, tables=(table,))


for paper in (TOY, WEAK):
    ts.claim(
        paper,
        source="derived",
        kind="upper",
        statement="x",
        controls=[ts.Control({"factor": 1e-3}, "much too small")],
        bound=LOOSE,
    )(below)

CHOSEN = (
    "frozen",
    "step_halved",
    "step_sign",
    "schedule_ignored",
    "noise_ignored",
    "doubled",
    "infinite",
    "T_squared",
    "trace_halved",
)


def outcomes(report: MutationReport) -> dict[str, dict[str, str]]:
    return {trial.name: {r.claim: str(r.outcome) for r in trial.responses} for trial in report.trials}


def test_a_paper_with_a_strong_and_a_weak_claim_gets_its_score(tmp_path: Path) -> None:
    report = run_selftest(TOY.name, faults=select_faults(CHOSEN), store=Store(tmp_path), device="cpu")
    n, p, s, sh = "noticed", "passed", "same", "shown"
    assert outcomes(report) == {
        "gradient_descent:frozen": {"exact": n, "below": p},
        "gradient_descent:step_halved": {"exact": n, "below": p},
        "gradient_descent:step_sign": {"exact": n, "below": n},
        "gradient_descent:noise_ignored": {"exact": s, "below": s},
        "gradient_descent:schedule_ignored": {"exact": s, "below": s},
        "anisotropic_quadratic:trace_halved": {"exact": sh, "below": sh},
        "bounds:doubled": {"below": p},
        "bounds:infinite": {"below": n},
        "bounds:T_squared": {"below": p},
    }
    assert [trial.name for trial in report.survivors] == [
        "anisotropic_quadratic:trace_halved",
        "bounds:doubled",
        "bounds:T_squared",
    ]
    assert report.score == pytest.approx(4 / 7)
    why = next(trial.responses[0].why for trial in report.trials if trial.fault == "infinite")
    assert why.startswith("control factor=0.001: CONSISTENT")
    assert report.standing_still == [("gradient_descent", "below")]
    assert not report.passes


def test_the_first_claim_that_notices_ends_it_but_standing_still_is_shown_to_all(tmp_path: Path) -> None:
    report = run_selftest(
        TOY.name, faults=select_faults(["frozen", "step_sign"]), first=True, store=Store(tmp_path), device="cpu"
    )
    found = outcomes(report)
    assert len(found["gradient_descent:step_sign"]) == 1 and len(found["gradient_descent:frozen"]) == 2
    assert report.score == 1.0 and not report.passes


def test_a_second_time_it_says_the_same_and_the_store_holds_sound_cells_only(tmp_path: Path) -> None:
    store, chosen = Store(tmp_path), select_faults(["step_halved", "gap_halved", "noise_ignored"])
    once = run_selftest(TOY.name, faults=chosen, store=store, device="cpu")
    before = files(tmp_path)
    assert store.usage()[0] == 2  # the claims' cell and the control's
    assert run_selftest(TOY.name, faults=chosen, store=store, device="cpu") == once
    assert files(tmp_path) == before
    assert ts.check(TOY.name, store=store, device="cpu").exit_code == 0


def test_a_claim_that_fails_without_a_fault_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = PAPERS.get(TOY.name).claims
    broken_claim = Claim(**{**vars(claims["exact"]), "function": partial(exact, lr=0.41)})
    monkeypatch.setitem(claims, "exact", broken_claim)
    report = run_selftest(TOY.name, store=Store(tmp_path), device="cpu")
    assert report.broken == ("exact",) and not report.trials and not report.passes
    assert "no fault was tried" in " ".join(summary_lines(report))


def test_a_breakdown_is_noticed_and_said(tmp_path: Path) -> None:
    def change(build: Any, arguments: Any) -> Algorithm:
        raise ZeroDivisionError("no step size")

    report = run_selftest(TOY.name, faults=[Fault("crash", "breaks", "algorithm", change)], store=Store(tmp_path), device="cpu")
    assert {response.outcome for response in report.trials[0].responses} == {Outcome.NOTICED}
    assert "no step size" in report.trials[0].responses[0].why


def test_bad_requests(tmp_path: Path) -> None:
    with pytest.raises(TheorysimError, match="did you mean frozen"):
        select_faults(["frozn"])
    mine = Fault("mine", "x", "algorithm", lambda build, arguments: None)
    with pytest.raises(TheorysimError, match="jobs=1"):
        run_selftest(TOY.name, faults=[mine], jobs=2, store=Store(tmp_path))


def test_deliberately_faulty_algorithms_are_left_alone() -> None:
    places = {mutant.target for mutant in mutants_of(["faulty_adagrad", "adagrad", "average", "cosh_sum", "bounds"])}
    assert places == {"adagrad", "average", "cosh_sum"}
    assert {mutant.target for mutant in mutants_of(["bound"])} == {"bounds"}


# ------------------------------------------------------------------------------------------------ the AdaGrad paper
PAPER = "adagrad_anisotropic"
LIGHT = [
    "eps_term_is_needed",
    "exact_trajectory",
    "gradient_descent_bound_is_tight",
    "nonconvex_theorem",
    "rescaling_invariance",
]


def test_no_light_claim_is_met_by_standing_still() -> None:
    report = run_selftest(PAPER, claims=LIGHT, faults=select_faults(["frozen"]), device="cpu")
    asked = {(trial.target, response.claim) for trial in report.trials for response in trial.responses}
    assert len(asked) >= 12
    assert report.score == 1.0 and report.standing_still == []


def test_two_processes_say_what_one_says() -> None:
    options: dict[str, Any] = {"claims": ["exact_trajectory"], "faults": select_faults(["step_halved", "eps_dropped"])}
    assert run_selftest(PAPER, **options, jobs=2, device="cpu") == run_selftest(PAPER, **options, device="cpu")


# ------------------------------------------------------------------------------------------------ the command line
def invoke(*words: str) -> Any:
    return CliRunner().invoke(selftest_command, list(words), standalone_mode=False, catch_exceptions=False)


def test_the_command_tells_of_every_fault_and_of_what_survives(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    done = invoke(TOY.name, "--fault", "frozen", "--fault", "trace_halved", "--device", "cpu", "--out", str(table))
    assert done.return_value == 1
    assert re.search(r"frozen +1/2 +exact", done.stdout)
    assert "stands still: below lets gradient_descent pass" in " ".join(done.stdout.split())
    assert "survivor anisotropic_quadratic:trace_halved: the trace of H stated half as large" in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert table.read_text().splitlines()[0] == "paper,mutant,does,counted,noticed,exact,below"


def test_the_command_leaves_with_0_if_all_is_noticed() -> None:
    assert invoke(TOY.name, "--fault", "step_sign", "--device", "cpu", "--jobs", "1").return_value == 0
    done = invoke(TOY.name, "--fault", "step_sign", "--device", "cpu", "--json")
    assert '"score": 1.0' in done.stdout and done.stdout.count("\n") == 1
    with pytest.raises(TheorysimError, match="csv or .json"):
        invoke(TOY.name, "--out", "table.txt")
