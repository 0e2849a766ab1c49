"""The search for the hardest instance: known optima, wrong bounds, the budget, and what the command line says."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import theorysim as ts
from theorysim.cli_tighten import command, tighten_command
from theorysim.findings import Finding, Verdict
from theorysim.lab import Lab
from theorysim.model import Algorithm, Claim, Paper, Search, TheorysimError
from theorysim.ratios import against_bound
from theorysim.registry import ALGORITHMS, PAPERS, PaperCheck, algorithm, problem
from theorysim.search_space import Choices, Range, Space
from theorysim.tighten import searchable, tighten, tighten_claim
from theorysim.tightness import Tightness

PAPER = Paper("hunted", "Hunted bounds", "nobody", 2026, "", "@misc{hunted}")
DESCENT = algorithm("gradient_descent", lr="1/lambda_max")
BOUND = "lambda_max*D_2_0**2/(2*T)"
QUADRATIC = Search(
    problem("anisotropic_quadratic", dim=2, spectrum=[1.0, 0.5], start=[0.0, 1.0]),
    DESCENT,
    {"spectrum[1]": (1e-3, 1.0), "start[0]": (0.0, 1.0)},
    40,
    "gap",
    BOUND,
)
HUBER = Search(problem("huber", dim=1), DESCENT, {"threshold": (1e-2, 1.0)}, 6, "gap", BOUND)


def claimed(search: Search | None) -> Claim:
    def bound_holds(lab: Lab) -> Finding:
        """The bound holds."""
        raise AssertionError

    return Claim(PAPER, "bound_holds", bound_holds, "upper", "derived", "", BOUND, (), search=search)


def found(search: Search, budget: int = 100, **options: Any) -> Tightness:
    return tighten_claim(claimed(search), budget, device="cpu", **options)


# ------------------------------------------------------------------------------------------------ known optima
@pytest.mark.parametrize("seed", [0, 1])
def test_the_hardest_quadratic_is_found(seed: int) -> None:
    """All of the error in a coordinate of curvature 1/(2T + 1), at the longest horizon: close to 1/(2e) of the bound."""
    known = 40 / 81 * (80 / 81) ** 80
    tight = found(QUADRATIC, 200, seed=seed)
    assert known * 0.99 < tight.hardest.ratio <= known * (1 + 1e-12)
    assert tight.hardest.ratio == pytest.approx(1 / (2 * np.e), rel=0.02)
    assert tight.typical < tight.hardest.ratio and tight.verdict is Verdict.CONSISTENT
    assert tight.hardest.step > 30 and tight.worst_case is None and "at most 30" in tight.why_not


def test_the_sandwich_of_gradient_descent() -> None:
    tight = found(HUBER)
    n = tight.hardest.step
    assert n == 6 and tight.worst_case is not None
    assert tight.hardest.ratio == pytest.approx(n / (2 * n + 1), rel=1e-3)
    assert tight.worst_case == pytest.approx(n / (2 * n + 1), rel=1e-4)
    assert tight.typical < tight.hardest.ratio <= tight.worst_case + 1e-6 < 1
    assert tight.settled < len(tight.history)


def test_the_hardest_run_can_be_run_again() -> None:
    search = replace(QUADRATIC, problem=problem("anisotropic_quadratic", dim=5, start="lognormal"), over={"decay": (0.0, 4.0)})
    hardest = found(search, 30, seed=4).hardest
    assert hardest.run > 0, "not the first run, whose number is easily right by chance"
    again = ts.run(hardest.cell.problem, hardest.cell.algorithm, hardest.step, runs=hardest.run + 1, seed=4, record="last")
    assert again["gap"][hardest.run, -1] == hardest.measured
    limit = again.constant("lambda_max")[-1] * again.constant("D_2_0")[-1] ** 2 / (2 * hardest.step)
    assert hardest.measured / limit == pytest.approx(hardest.ratio, rel=1e-14)


def test_typical_is_the_median_over_runs_of_the_search_s_own_instance() -> None:
    search = replace(QUADRATIC, problem=problem("anisotropic_quadratic", dim=5, start="lognormal"), over={"decay": (0.0, 4.0)})
    trace = ts.run(search.problem, DESCENT, 40, runs=4, record="all", seed=7)
    ratios = against_bound(trace, "gap", BOUND, {}).ratio.max(axis=1)
    assert len(np.unique(ratios)) == 4
    assert found(search, 10, seed=7).typical == np.median(ratios)


# ------------------------------------------------------------------------------------------------ wrong bounds
def test_a_wrong_bound_is_exceeded_and_the_run_is_there() -> None:
    tight = found(replace(HUBER, bound=f"0.9*{BOUND}", over={"threshold": (1e-3, 1.0), "scale": (0.5, 2.0)}, steps=3), 60)
    assert tight.verdict is Verdict.CONSISTENT, "3/7 of the bound is all there is"
    tight = found(replace(HUBER, bound=f"0.45*{BOUND}"), 60)
    assert tight.verdict is Verdict.VIOLATED and tight.exit_code == 1
    assert tight.reproducer is not None and tight.reproducer["step"] == tight.hardest.step
    cell = tight.reproducer["cell"]
    again = ts.run(problem("huber", **cell["problem"]["params"]), DESCENT, tight.hardest.step, record="last")
    assert again["gap"][0, -1] > 0.45 * 0.5 / tight.hardest.step
    assert tight.reproducer["ratio"] == tight.hardest.ratio > 1


def test_an_exact_worst_case_above_the_bound_violates_it_though_no_run_does() -> None:
    easy = replace(HUBER, problem=problem("huber", dim=1, threshold=0.9), over={"threshold": (0.8, 0.9)}, steps=5)
    for factor, verdict in ((0.34, Verdict.CONSISTENT), (0.32, Verdict.VIOLATED)):
        tight = found(replace(easy, bound=f"{factor}*lambda_max*D_2_0**2/(2*T)"), 8)
        assert tight.hardest.step == 1 and tight.hardest.ratio < 0.2 and tight.reproducer is None
        assert tight.worst_case == pytest.approx(1 / (3 * factor), rel=1e-4)
        assert tight.verdict is verdict


def test_a_diverging_run_is_the_hardest_of_all() -> None:
    """Steps above 2/L diverge to infinity and then to what is no number: neither may be passed over."""
    search = replace(QUADRATIC, over={"lr": (0.1, 1e9)}, algorithm=algorithm("gradient_descent", lr=1.0), steps=100)
    tight = found(search, 100)
    assert tight.verdict is Verdict.VIOLATED and tight.hardest.ratio == np.inf and tight.reproducer is not None
    assert len(tight.history) < 100, "nothing exceeds infinity"
    assert tight.worst_case is None
    assert tight.to_json()["verdict"] == "VIOLATED"


def test_a_number_that_is_none_is_not_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """One run of one instance turns into nan at one step."""

    def spoiled(lr: Any = 1.0) -> Algorithm:
        def step(state: Any, oracle: Any) -> Any:
            x = inner.step(state, oracle)
            hit = (x.t == 3) & (state.x[:, :1] > 0.4)
            return x._replace(x=np.where(hit, np.nan, x.x))

        inner = ALGORITHMS.get("gradient_descent")(lr)
        return Algorithm(inner.init, step)

    with ALGORITHMS.replaced("sgd", spoiled):
        search = replace(
            QUADRATIC,
            algorithm=algorithm("sgd", lr=0.1),
            problem=problem("anisotropic_quadratic", dim=1, start="uniform"),
            over={"distance": (0.1, 1.0)},
        )
        tight = found(search, 40)
    assert tight.hardest.ratio == np.inf and tight.verdict is Verdict.VIOLATED


def test_a_bound_that_is_no_number_is_an_error() -> None:
    with pytest.raises(TheorysimError, match="no number"):
        found(replace(QUADRATIC, bound="sqrt(0.9 - lambda_min)/T", over={"spectrum[1]": (0.5, 1.0)}), 30)


# ------------------------------------------------------------------------------------------------ how it searches
def test_same_seed_same_result_and_other_seed_another() -> None:
    search = replace(QUADRATIC, over={"spectrum[1]": (1e-3, 1.0)})
    one, same, other = (found(search, 30, seed=seed) for seed in (5, 5, 6))
    assert one.to_json() == same.to_json()
    assert one.history != other.history


@pytest.mark.parametrize("budget", [1, 2, 7, 33, 60])
def test_the_budget_is_kept_exactly(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0
    run_all: Callable[..., Any] = Lab.run_all

    def counted(self: Lab, cells: Any) -> Any:
        nonlocal count
        wanted = list(cells)
        count += len(wanted)
        return run_all(self, wanted)

    monkeypatch.setattr(Lab, "run_all", counted)
    heard: list[tuple[str, int, int]] = []
    tight = found(QUADRATIC, budget, progress=lambda *news: heard.append(news))
    assert count == budget == len(tight.history)
    assert list(tight.history) == sorted(tight.history)
    assert heard[-1] == ("bound_holds", budget, budget) and max(done for _, done, _ in heard) == budget


def test_every_horizon_counts() -> None:
    """T = 1 is the hardest here, and a long run is recorded there too."""
    search = replace(QUADRATIC, steps=5000, over={"spectrum[1]": (0.9, 1.0)}, problem=QUADRATIC.problem, bound="Delta_0/T**0.01")
    assert found(search, 10).hardest.step == 1


def test_ranges_reach_both_ends_and_keep_whole_numbers_whole() -> None:
    places = np.linspace(-0.1, 1.1, 4001)
    whole = [Range(1, 200).at(u) for u in places]
    assert set(whole) == set(range(1, 201)) and all(type(value) is int for value in whole)
    assert np.median(whole) < 20, "a wide range is searched on a logarithmic scale"
    even = [Range(2, 5).at(u) for u in places[(places >= 0) & (places <= 1)]]
    assert [round(even.count(k) / len(even), 2) for k in (2, 3, 4, 5)] == [0.25] * 4
    assert Range(0.01, 1.0).at(0.5) == pytest.approx(0.1) and Range(0.5, 1.0).at(0.5) == 0.75
    assert Range(-1.0, 1.0).at(-0.1) == -1.0 and Range(0.01, 1.0).at(1.1) == 1.0
    assert {Choices(("a", None, 3)).at(u) for u in places} == {"a", None, 3}


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({}, "varies nothing"),
    ({"spectrm": (0.0, 1.0)}, "spectrm"),
    ({"spectrum[2]": (0.0, 1.0)}, r"spectrum\[2\]"),
    ({"decay[0]": (0.0, 1.0)}, r"decay\[0\]"),
    ({"decay": (1.0, 0.0)}, "below"),
    ({"decay": (1.0, 1.0)}, "below"),
    ({"decay": (0.0, 1.0, 2.0)}, "no range"),
    ({"decay": []}, "no range"),
    ({"decay": 0.5}, "no range"),
    ({"decay": (0.0, float("inf"))}, "not finite"),
    ({"decay": ("a", "b")}, "not a number"),
]


@pytest.mark.parametrize(("over", "words"), FAULTS, ids=[words for _, words in FAULTS])
def test_a_search_over_nothing_is_refused(over: dict[str, Any], words: str) -> None:
    with pytest.raises(TheorysimError, match=words):
        Space(replace(QUADRATIC, over=over))


@pytest.mark.parametrize(("options", "words"), [({"budget": 0}, "budget"), ({"seed": -1}, "seed"), ({"level": "slow"}, "level")])
def test_a_request_that_is_none_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(TheorysimError, match=words):
        found(QUADRATIC, **options)


def test_a_claim_without_a_search_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(TheorysimError, match="convex_theorem"):
        tighten("adagrad_anisotropic", "batch_size", 5)
    with pytest.raises(TheorysimError, match="search="):
        tighten_claim(claimed(None), 5)


# ------------------------------------------------------------------------------------------------ where an exact one applies
WITHOUT: list[tuple[dict[str, Any], str]] = [
    ({"of": "gradient_norm", "bound": "lambda_max*D_2_0"}, "gap"),
    ({"bound": "lambda_max*D**2/(2*T)", "where": {"D": "max_distance:2"}}, "depend on the run"),
    ({"bound": "L_1norm*D_2_0**2/(2*T)"}, "L_1norm"),
    ({"algorithm": algorithm("adagrad", lr=0.3), "bound": "lambda_max*D_2_0**2"}, "only fixed-step methods"),
    (
        {
            "problem": problem("separable_nonconvex", dim=2),
            "over": {"decay": (0.0, 1.0)},
            "bound": "100*lambda_max*D_2_0**2/(2*T)",
        },
        "convex",
    ),
]


@pytest.mark.parametrize(("change", "words"), WITHOUT, ids=[words for _, words in WITHOUT])
def test_why_there_is_no_exact_worst_case(change: dict[str, Any], words: str) -> None:
    tight = found(replace(QUADRATIC, steps=5, **change), 6)
    assert tight.worst_case is None and words in tight.why_not


def test_the_class_of_the_exact_worst_case_is_the_one_the_bound_speaks_of() -> None:
    """mu counts where the bound or the method knows it, and then the worst case is smaller."""
    search = replace(QUADRATIC, steps=4, over={"spectrum[1]": (0.2, 0.4)})
    convex, strongly = (found(replace(search, bound=bound), 6) for bound in (BOUND, f"{BOUND} + 1e-12*lambda_min"))
    assert convex.hardest.cell == strongly.hardest.cell
    n, mu = convex.hardest.step, convex.hardest.constants["lambda_min"]
    assert convex.worst_case == pytest.approx(n / (2 * n + 1), rel=1e-4)
    assert strongly.worst_case == pytest.approx(n * mu / (mu - 1 + (1 - mu) ** (-2 * n)), rel=1e-4)
    assert strongly.hardest.ratio < (strongly.worst_case or 0) < 0.9 * (convex.worst_case or 0)
    ball = found(replace(search, algorithm=algorithm("heavy_ball"), bound="10*lambda_max*D_2_0**2"), 6)
    assert ball.worst_case is not None and ball.hardest.ratio <= ball.worst_case + 1e-6


def test_a_run_above_the_exact_worst_case_is_reported_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["theorysim.tighten"], "worst_case", lambda *args, **options: 1e-3)
    tight = found(HUBER, 10)
    assert tight.worst_case is None and "a run exceeds it" in tight.why_not


# ------------------------------------------------------------------------------------------------ the papers here
SEARCHES = [(paper, name) for paper in PAPERS.names() for name in searchable(paper)]


@pytest.mark.parametrize(("paper", "name"), SEARCHES, ids=[name for _, name in SEARCHES])
def test_every_search_of_a_paper_finds_its_bound_kept(paper: str, name: str) -> None:
    claim = PAPERS.get(paper).claims[name]
    assert claim.search is not None
    short = replace(claim, search=replace(claim.search, steps=10))
    tight = tighten_claim(short, 12, device="cpu")
    assert tight.verdict is Verdict.CONSISTENT and len(tight.history) == 12
    assert 0 < tight.typical <= tight.hardest.ratio <= 1 + 1e-9
    assert command(tight), "the hardest run can be written as a command"


# ------------------------------------------------------------------------------------------------ the command line
class Answer(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Answer]]:
    """The command on the claims of a paper that is registered for the test only."""

    def asked(search: Search, *words: str) -> Answer:
        PAPERS.registered("hunted").claims["bound_holds"] = claimed(search)
        arguments = ["hunted:bound_holds", "--device", "cpu", "--out", str(tmp_path / "out"), *words]
        code = tighten_command.main(arguments, standalone_mode=False)
        return Answer(code, *capsys.readouterr())

    PAPERS.add("hunted", PaperCheck(PAPER))
    yield asked
    PAPERS._found.pop("hunted")


def test_the_command_prints_the_sandwich_and_writes_it(ask: Callable[..., Answer], tmp_path: Path) -> None:
    answer = ask(HUBER, "--budget", "20")
    assert answer.code == 0 and "of 20 cells" in answer.err
    lines = answer.out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("report")) <= 80
    first = [line.split("  ")[0] for line in lines]
    places = [first.index(label) for label in ("typical", "hardest found", "exact worst case", "bound")]
    assert places == sorted(places)
    values = [float(lines[place][18:29]) for place in places]
    assert values == sorted(values) and values[-1] == 1
    assert any(line.startswith("CONSISTENT") for line in lines)
    data = json.loads((tmp_path / "out" / "tightness.json").read_text())
    assert data["hardest"]["ratio"] == pytest.approx(values[1], rel=1e-5) and data["evaluations"] == 20
    for ending in ("svg", "png", "csv"):
        assert (tmp_path / "out" / "figures" / f"tightness.{ending}").stat().st_size > 100


def test_the_command_s_own_command_repeats_the_hardest_run(ask: Callable[..., Answer], tmp_path: Path) -> None:
    search = replace(
        HUBER,
        problem=problem("anisotropic_quadratic", dim=3, start="uniform", normalize="inf"),
        algorithm=algorithm("average", of=algorithm("adagrad", lr="D_inf_0/sqrt(2)")),
        over={"decay": (0.0, 3.0), "eps": (1e-3, 10.0), "rotation": [None, "random"]},
        bound="10*L_1norm*D_inf_0**2",
    )
    answer = ask(search, "--budget", "12", "--json")
    data = json.loads(answer.out)
    words = shlex.split(answer.out) and data["command"]
    from theorysim.cli_run import run_command

    assert words[:2] == ["theorysim", "run"]
    file = tmp_path / "again.csv"
    run_command.main([*words[2:], "--csv", str(file)], standalone_mode=False)
    last = file.read_text().splitlines()[-1].split(",")
    assert int(last[0]) == data["hardest"]["run"] and float(last[-1]) == pytest.approx(data["hardest"]["measured"], rel=1e-12)


def test_a_violation_leaves_with_1_and_a_counterexample(ask: Callable[..., Answer], tmp_path: Path) -> None:
    answer = ask(replace(HUBER, bound=f"0.4*{BOUND}"), "--budget", "30")
    assert answer.code == 1
    assert "VIOLATED: gap is" in answer.out and "theorysim replay" in answer.out
    data = json.loads((tmp_path / "out" / "tightness.json").read_text())
    assert data["reproducer"]["ratio"] > 1
    example = json.loads((tmp_path / "out" / "counterexamples" / "tightness.json").read_text())
    assert example["measured"] > example["limit"]


def test_an_infinite_ratio_is_still_json(ask: Callable[..., Answer]) -> None:
    search = replace(HUBER, algorithm=algorithm("gradient_descent", lr=1.0), over={"lr": (1e8, 1e9)}, problem=QUADRATIC.problem)
    answer = ask(replace(search, steps=60), "--budget", "5", "--json")
    assert answer.code == 1
    assert json.loads(answer.out)["hardest"]["ratio"] == "inf"


@pytest.mark.parametrize(
    "target", ["adagrad_anisotropic", "adagrad_anisotropic:", "nobody:claim", "adagrad_anisotropic:batch_size"]
)
def test_a_wrong_target_is_refused_before_anything_is_written(target: str, tmp_path: Path) -> None:
    with pytest.raises(TheorysimError):
        tighten_command.main([target, "--out", str(tmp_path / "out")], standalone_mode=False)
    assert not (tmp_path / "out").exists()
