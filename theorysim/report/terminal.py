"""The report as lines for a terminal, at most 80 columns: coloured where the terminal can, the same text in a pipe."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from theorysim.findings import Verdict
from theorysim.report.data import Data, claim_data, count, counterexample_file, leaves
from theorysim.report.numbers import describe, headline, short

if TYPE_CHECKING:
    from rich.text import Text

    from theorysim.check import ClaimFinding

WIDTH = 80
_VERDICT, _NAME, _REASON_LINES = 10, 34, 4
_STYLES: dict[str, str] = {Verdict.CONSISTENT: "bold blue", Verdict.VIOLATED: "bold red", Verdict.UNDECIDED: "bold yellow"}

Line = list[tuple[str, str]]  # pieces of (text, style)


def claim_text(found: ClaimFinding | Data) -> Text:
    """A claim in a few lines: verdict, name, its decisive numbers; why, if it is not consistent; one line per control."""
    claim: Any = found if isinstance(found, dict) else claim_data(found)
    return _text([*_claim_lines(claim), *(line for control in claim["controls"] for line in _control_lines(control))])


def summary(data: Data) -> Text:
    """The last lines of a check: the verdict of the paper, and how many claims, controls and numbers it rests on."""
    claims = data["claims"]
    controls = [control for claim in claims for control in claim["controls"]]
    failed = sum(not control["as_it_must"] for control in controls)
    judged = sum(len(list(leaves(found["finding"]))) for found in [*claims, *controls])
    numbers = count(claims)
    lines: list[Line] = [[(data["verdict"], _STYLES[data["verdict"]]), (f"  {data['paper']['name']}", "bold")]]
    lines += _wrapped(f"{data['paper']['title']}. {data['paper']['authors']}, {data['paper']['year']}.", "  ", "")
    counts = ", ".join(f"{number} {verdict.lower()}" for verdict, number in numbers.items() if number) or "none"
    lines += _wrapped(f"claims    {len(claims)}: {counts}", "  ", "")
    duty = "all as they must" if not failed else f"{failed} NOT as they must"
    lines += _wrapped(f"controls  {len(controls)}: {duty if controls else 'none'}", "  ", "bold red" if failed else "")
    lines += _wrapped(f"numbers   {judged} judged in {sum(claim['seconds'] for claim in claims):.1f} s", "  ", "")
    device = data["environment"].get("device")
    lines += _wrapped(f"level     {data['level']}, seed {data['seed']}" + (f", {device}" if device else ""), "  ", "")
    return _text(lines)


def summary_text(data: Data) -> str:
    """All claims and the summary as plain text, for a pipe or a log."""
    blocks = [claim_text(claim).plain for claim in data["claims"]]
    return "\n".join([*blocks, "", summary(data).plain]) + "\n"


def _claim_lines(claim: Data) -> list[Line]:
    best = headline(claim["finding"])
    numbers = describe(best[1]) if best else ""
    verdict, indent = (f"{claim['verdict']:<{_VERDICT}}  ", _STYLES[claim["verdict"]]), " " * (_VERDICT + 2)
    if len(claim["name"]) <= _NAME and len(indent) + _NAME + 2 + len(numbers) <= WIDTH:
        lines: list[Line] = [[verdict, (f"{claim['name']:<{_NAME}}", "bold"), (f"  {numbers}", "")]]
    else:
        first, *rest = textwrap.wrap(claim["name"], WIDTH - len(indent))
        lines = [[verdict, (first, "bold")], *_wrapped("".join(rest), indent, "bold"), *_wrapped(numbers, indent, "")]
    if claim["verdict"] != Verdict.CONSISTENT:
        lines += _clipped(_wrapped(claim["reason"], indent, "dim"))
    if claim["counterexample"]:
        lines += [[(indent + _counterexample(claim, WIDTH - len(indent)), "bold")]]
    return lines


def _counterexample(claim: Data, room: int) -> str:
    """Where it lies and how far it goes, in one line."""
    case = claim["counterexample"]["content"]
    full = f"{counterexample_file(claim)}: {short(case['ratio'])} times the bound at T={case['steps']}"
    return full if len(full) <= room else counterexample_file(claim)[-room:]


def _control_lines(control: Data) -> list[Line]:
    indent = " " * (_VERDICT + 2)
    found, good = control["finding"]["verdict"], control["as_it_must"]
    outcome = f"{found}, as it must" if good else f"{found}, BUT MUST BE {control['expected']}"
    name = f"control {control['setting']}"
    if len(name) <= _NAME:
        return [[(f"{indent}{name:<{_NAME}}  ", "dim"), (outcome, "dim" if good else "bold red")]]
    shown = name if len(indent) + len(name) <= WIDTH else name[: WIDTH - len(indent) - 3] + "..."
    return [[(indent + shown, "dim")], [(" " * (_VERDICT + _NAME + 4) + outcome, "dim" if good else "bold red")]]


def _wrapped(text: str, indent: str, style: str) -> list[Line]:
    return [[(indent + part, style)] for part in textwrap.wrap(text, WIDTH - len(indent))]


def _clipped(lines: list[Line]) -> list[Line]:
    """The first lines; the page holds the rest."""
    if len(lines) <= _REASON_LINES:
        return lines
    text, style = lines[_REASON_LINES - 1][0]
    return [*lines[: _REASON_LINES - 1], [(text[: WIDTH - 4] + " ...", style)]]


def _text(lines: list[Line]) -> Text:
    from rich.text import Text

    found = [Text.assemble(*line) for line in lines]
    for line in found:
        line.rstrip()
    return Text("\n").join(found)
