"""What a reader sees: the HTML page, numbers in words, lines in a terminal."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from report_samples import INF, PAPER, counterexample, data_of, dimension_claim, sample_report, violated_claim
from rich.console import Console

from theorysim.check import PaperReport
from theorysim.findings import Finding, Verdict, together
from theorysim.model import Control
from theorysim.report import claim_text, load_data, report_data, save_report, summary, summary_text
from theorysim.report.data import drawings
from theorysim.report.mathml import display, formula, prose
from theorysim.report.numbers import allowed, describe, distance, headline, typeset


@pytest.fixture(scope="module")
def report() -> PaperReport:
    return sample_report()


@pytest.fixture(scope="module")
def folder(report: PaperReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_report(report, tmp_path_factory.mktemp("out") / "new" / "folder").parent


class Reader(HTMLParser):
    """Collects tags, ids and everything that points somewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.targets: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            if key == "id":
                self.ids.append(value or "")
            if key in ("src", "href", "xlink:href", "action", "data", "srcset"):
                self.targets.append((tag, value or ""))

    handle_startendtag = handle_starttag


@pytest.fixture(scope="module")
def markup(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_loads_nothing(markup: str) -> None:
    ElementTree.fromstring(markup.removeprefix("<!DOCTYPE html>"))
    reader = Reader()
    reader.feed(markup)
    assert not {"script", "iframe", "link", "img", "object", "embed"} & set(reader.tags)
    outside = [(tag, target) for tag, target in reader.targets if not target.startswith("#")]
    assert outside == [("a", "https://arxiv.org/abs/2406.00001")]
    assert "@import" not in markup and all(place.startswith("#") for place in re.findall(r"url\((.*?)\)", markup))


def test_ids_are_unique_and_every_reference_has_its_target(markup: str) -> None:
    reader = Reader()
    reader.feed(markup)
    assert len(reader.ids) > 100 and len(set(reader.ids)) == len(reader.ids)
    used = {target[1:] for _, target in reader.targets if target.startswith("#")} | set(re.findall(r"url\(#(.*?)\)", markup))
    assert used and used <= set(reader.ids)


def test_the_page_shows_what_was_found(markup: str, report: PaperReport) -> None:
    sections = re.findall(r"<section.*?</section>", markup, flags=re.S)
    assert len(sections) == 3
    for section, claim in zip(sections, report.claims, strict=True):
        heading = re.search(r"<h2>.*?</h2>", section, flags=re.S)
        assert heading and f'class="badge {claim.verdict}"' in heading.group() and claim.claim.name in section
        assert section.count("<svg ") == len(drawings(data_of(claim)))
    assert sections[0].index("predicted exponent") < sections[0].index("<svg ") < sections[0].index("What was judged")
    assert "<math" in sections[0] and "<mfrac>" in sections[1] and sections[1].count("<msqrt>") >= 4
    assert r"\unknown{x}" in sections[2] and "✗ NO" in sections[2]
    assert "All 60" in sections[1] and sections[1].count("seed 9") > 6
    for text in ("theorysim check toy_paper", "CPU, 2 cores", "@inproceedings{toy2025", "as the claims say", "1 of 4 controls"):
        assert text in markup, text
    assert "proved" not in markup


def test_a_counterexample_is_shown_with_the_command_that_repeats_it(markup: str, report: PaperReport) -> None:
    section = re.findall(r"<section.*?</section>", markup, flags=re.S)[2]
    words = " ".join(re.sub(r"<[^>]*>", " ", section).split())
    for part in (
        "After 3 steps, gap is ∞ where the bound allows 4.00007 : ∞ times as much.",
        "anisotropic_quadratic(dim=9, start=[1, ..., 0.5; 9])",
        "average(of=adagrad(eps=0, lr=0.71*D_inf_0))",
        "2 of seed 5",
        "theorysim replay counterexamples/a_name-that-is-odd.json",
        "99 runs were made for it.",
        "steps: 10 to 3",
    ):
        assert part in words, part
    assert "Reproducer" not in words and "used up" not in words
    assert "Counterexample" not in "".join(re.findall(r"<section.*?</section>", markup, flags=re.S)[:2])


def test_a_reproducer_of_another_kind_is_shown_as_it_is(tmp_path: Path) -> None:
    page = save_report(PaperReport(PAPER, (violated_claim(),), "quick", 0), tmp_path).read_text(encoding="utf-8")
    assert "<h3>Reproducer</h3>" in page and "Counterexample" not in page and not (tmp_path / "counterexamples").exists()


def test_text_of_the_paper_is_escaped(markup: str) -> None:
    assert "&lt;Smoothness&gt; &amp; Noise" in markup and "<Smoothness>" not in markup
    assert "&lt;b&gt;deterministic&lt;/b&gt;" in markup and "--out &lt;here&gt;" in markup


@pytest.mark.parametrize(
    "latex", [r"\text{<script>alert(1)</script>}", r"\text{<b>x</b>}", r"\foo{x}", r"\frac{a}{", r"\href{javascript:x}{y}"]
)
def test_a_formula_cannot_carry_markup_and_stays_readable(latex: str) -> None:
    found = formula(latex)
    assert "<script" not in found and "<b>" not in found and "href=" not in found
    if latex != r"\frac{a}{":
        assert found.startswith("<code>")


def test_statements_become_formulas_and_prose() -> None:
    assert display(r"a = b \qquad \frac{c}{d} \\ e").count("<math") == 3
    assert display(r"\left( a \qquad b \right)").count("<math") == 1
    assert display(r"\begin{aligned} a &= b \\ &\le c \end{aligned}").count("<math") == 2
    assert "\N{TILDE OPERATOR}</mo>" in formula(r"a \sim b")
    assert "\N{MATHEMATICAL DOUBLE-STRUCK CAPITAL E}" in formula(r"\mathbb E x")
    assert prose("cost 5$ & more") == "cost 5$ &amp; more"
    assert re.sub(r"<math.*?</math>", "M", prose("at $x<1$ and $y$ <")) == "at M and M &lt;"


def leaf(measured: Any, predicted: Any, limits: Any) -> dict[str, Any]:
    return {"measured": measured, "predicted": predicted, "limits": limits}


@pytest.mark.parametrize(
    ("found", "edge", "words"),
    [
        (leaf(1.02, 1.0, [0.9, 1.1]), 0.08, "0.9 to 1.1"),
        (leaf(1e-5, 1.0, [0.0, 1.0]), 1 - 1e-5, "at most 1"),  # a ratio to a bound: 0 is no edge
        (leaf(0.16, 1.0, [0.0, 1.000000001]), 0.840000001, "at most 1"),  # room for rounding
        (leaf(3e-17, 0.0, [0.0, 1e-10]), 1e-10, "at most 1e-10"),
        (leaf(0.3, 1.0, [0.0, 2.0]), 0.3, "0 to 2"),  # a prediction strictly inside: 0 is an edge
        (leaf(-0.2, None, [0.0, 1.0]), -0.2, "0 to 1"),
        (leaf(0.94, None, [0.7, "inf"]), 0.24, "at least 0.7"),
        (leaf("inf", 0.0, ["-inf", 0.5]), -INF, "at most 0.5"),
        (leaf("nan", 0.0, [0.0, 1.0]), None, "0 to 1"),
        (leaf(2.0, 2.0, None), None, ""),
    ],
)
def test_distance_and_limits_in_words(found: dict[str, Any], edge: float | None, words: str) -> None:
    assert distance(found) == (None if edge is None else pytest.approx(edge, rel=1e-12))
    assert allowed(found) == words


def test_the_decisive_number_is_the_one_nearest_to_its_edge(report: PaperReport) -> None:
    first, second, third = report_data(report)["claims"]
    assert headline(first["finding"])[0] == "GD"  # type: ignore[index]
    assert headline(second["finding"])[1]["measured"] == pytest.approx(0.12)  # type: ignore[index]
    assert headline(third["finding"])[0] == "max |w - w'|"  # type: ignore[index]
    assert describe(headline(second["finding"])[1]) == "0.12 (at most 1)"  # type: ignore[index]
    assert describe(headline(first["finding"])[1]) == "1.01 (predicted 1, 0.9 to 1.1)"  # type: ignore[index]


def test_a_side_condition_is_not_the_decisive_number() -> None:
    rate = Finding("slope", Verdict.CONSISTENT, "near", 1.05, 1.0, (0.9, 1.1))
    side = Finding("share inside the grid", Verdict.CONSISTENT, "all", 1.0, None, (1.0, INF))
    found = replace(dimension_claim(), finding=together(side, rate))
    assert headline(data_of(found)["finding"])[0] == "slope"  # type: ignore[index]
    broken = replace(found, finding=together(replace(side, verdict=Verdict.VIOLATED), rate))
    assert headline(data_of(broken)["finding"])[0] == "share inside the grid"  # type: ignore[index]


def test_numbers_are_typeset() -> None:
    assert describe(leaf(0.16, 1.0, [0.0, 1.000000001])) == "0.16 (at most 1)"
    shown = [typeset(value) for value in (5.2e-14, -1e-7, 1e20, -3, 0.25, "inf", "-inf", None, True, "x-1", [1.0, 2e-9])]
    assert shown == ["5.2×10⁻¹⁴", "−10⁻⁷", "10²⁰", "−3", "0.25", "∞", "−∞", "-", "yes", "x-1", "[1, 2e-09]"]


def test_a_terminal_and_a_pipe_get_the_same_lines_within_80_columns(report: PaperReport, folder: Path) -> None:
    data = load_data(folder)
    text = summary_text(data)
    assert max(map(len, text.splitlines())) <= 80 and "\x1b" not in text
    pipe = io.StringIO()
    console = Console(file=pipe, width=80)
    for claim in report.claims:
        console.print(claim_text(claim))
    console.print()
    console.print(summary(data))
    assert pipe.getvalue() == text
    colour = io.StringIO()
    Console(file=colour, width=80, force_terminal=True, color_system="standard").print(claim_text(data["claims"][2]))
    assert "\x1b[" in colour.getvalue()


def test_the_terminal_says_what_matters(report: PaperReport) -> None:
    text = summary_text(report_data(report))
    for line in (
        "CONSISTENT  steps_do_not_grow_with_dimension    1.01 (predicted 1, 0.9 to 1.1)",
        "            control rotate=True                 VIOLATED, as it must",
        "            control eps=0.01                    CONSISTENT, BUT MUST BE VIOLATED",
        "            counterexamples/a_name-that-is-odd.json: inf times the bound at T=3",
        "  claims    3: 2 consistent, 1 violated",
        "  controls  4: 1 NOT as they must",
    ):
        assert line in text.splitlines()


def test_long_names_settings_and_reasons_stay_within_80_columns() -> None:
    base = violated_claim()
    claim = replace(base.claim, name="a_very_long_name_" * 8)
    control = replace(base.controls[0], control=Control({"setting": "x" * 120}, "why"))
    found = counterexample()
    long = replace(
        base,
        claim=claim,
        controls=(control,),
        counterexample=found,
        finding=replace(base.finding, reason="because of this and that " * 40),
    )
    lines = claim_text(long).plain.splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) < 16
    silent = replace(dimension_claim(), finding=Finding("no number", Verdict.CONSISTENT, "holds"), controls=())
    assert claim_text(silent).plain == "CONSISTENT  steps_do_not_grow_with_dimension"


def test_a_control_that_fails_its_duty_takes_the_verdict_away() -> None:
    first = dimension_claim()
    silent = replace(first, controls=(replace(first.controls[0], finding=first.finding),))
    assert data_of(silent)["verdict"] == "UNDECIDED"
    assert "1 of 1 controls did not come out as required, so that CONSISTENT would say nothing" in data_of(silent)["reason"]
