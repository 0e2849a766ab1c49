"""A report as plain data: all that the page shows, in what JSON can hold. Numbers that are not finite become text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from theorysim.findings import Finding, Panel, Series, Table, Verdict
from theorysim.model import TheorysimError
from theorysim.reproducer import FOLDER

if TYPE_CHECKING:
    from theorysim.check import ClaimFinding, ControlFinding, PaperReport
    from theorysim.reproducer import Counterexample

Data = dict[str, Any]
FORMAT = 2


class Drawing(NamedTuple):
    """A figure of a claim: its file name without ending, the finding it belongs to, and ``control`` (its index, or None)."""

    name: str
    owner: str
    panel: Panel
    control: int | None


def report_data(report: PaperReport) -> Data:
    """Everything the page shows, as dictionaries, lists, text, finite numbers, booleans and None."""
    return {
        "format": FORMAT,
        "paper": plain(asdict(report.paper)),
        "level": report.level,
        "seed": report.seed,
        "verdict": str(report.verdict),
        "exit_code": report.exit_code,
        "environment": plain(report.environment),
        "claims": [claim_data(claim) for claim in report.claims],
    }


def claim_data(found: ClaimFinding) -> Data:
    """One claim with its finding and its controls."""
    claim = found.claim
    return {
        "name": claim.name,
        "title": claim.title,
        "kind": claim.kind,
        "source": claim.source,
        "statement": claim.statement,
        "bound": claim.bound,
        "bound_latex": _latex(claim.bound),
        "assumptions": claim.assumptions,
        "verdict": str(found.verdict),
        "reason": _reason(found),
        "seconds": round(float(found.seconds), 3),
        "finding": finding_data(found.finding),
        "controls": [_control_data(control) for control in found.controls],
        "counterexample": _counterexample_data(found.counterexample),
    }


def finding_data(finding: Finding) -> Data:
    """A finding with its parts, panels and tables."""
    return {
        "label": finding.label,
        "verdict": str(finding.verdict),
        "reason": finding.reason,
        "measured": plain(finding.measured),
        "predicted": plain(finding.predicted),
        "limits": plain(finding.limits),
        "interval": plain(finding.interval),
        "details": plain(finding.details),
        "reproducer": plain(finding.reproducer),
        "panels": [plain(asdict(panel)) for panel in finding.panels],
        "tables": [_table_data(table) for table in finding.tables],
        "parts": [finding_data(part) for part in finding.parts],
    }


def _control_data(found: ControlFinding) -> Data:
    from theorysim.check import settings

    return {
        "setting": settings(found.control),
        "why": found.control.why,
        "expected": str(found.expected),
        "as_it_must": found.as_it_must,
        "finding": finding_data(found.finding),
    }


def _counterexample_data(found: Counterexample | None) -> Data | None:
    """A counterexample: its Specs as they read, and what its file holds."""
    if found is None:
        return None
    return {"problem": str(found.problem), "algorithm": str(found.algorithm), "content": found.to_json()}


def _table_data(table: Table) -> Data:
    return {"title": table.title, "columns": list(table.columns), "rows": [[plain(cell) for cell in row] for row in table.rows]}


def _reason(found: ClaimFinding) -> str:
    """The finding's reason, and why its verdict does not count where a control failed its duty."""
    failed = sum(not control.as_it_must for control in found.controls)
    if not failed:
        return found.finding.reason
    doubt = f"{found.finding.reason}; but {failed} of {len(found.controls)} controls did not come out as required"
    return doubt if found.verdict is found.finding.verdict else f"{doubt}, so that {found.finding.verdict} would say nothing"


def _latex(bound: str) -> str:
    from theorysim.bounds import Bound

    try:
        return Bound(bound).latex() if bound else ""
    except TheorysimError:  # a finished check is worth more than a formula; the page then shows the text
        return ""


def plain(value: Any) -> Any:
    """``value`` in what JSON can hold: arrays become lists, records their fields, inf and nan the texts "inf", "-inf", "nan"."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return plain(value.to_json()) if hasattr(value, "to_json") else str(value)


def number(value: Any) -> float:
    """The float that ``plain`` wrote; NaN for None."""
    return math.nan if value is None else float(value)


def panel_of(data: Data) -> Panel:
    """The Panel that ``finding_data`` wrote."""
    series = tuple(_series_of(item) for item in data["series"])
    window = (number(data["window"][0]), number(data["window"][1])) if data["window"] else None
    return Panel(data["title"], data["x_label"], data["y_label"], series, data["log_x"], data["log_y"], window)


def _series_of(data: Data) -> Series:
    x, y, low, high = (tuple(number(value) for value in data[key]) for key in ("x", "y", "low", "high"))
    return Series(data["label"], x, y, data["role"], low, high)


def leaves(finding: Data, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Data]]:
    """The findings judged by themselves, each with its labels from below the root, joined by " / "."""
    for part in finding["parts"]:
        yield from leaves(part, (*path, part["label"]))
    if not finding["parts"]:
        yield " / ".join(label for label in path if label) or finding["label"], finding


def everything(finding: Data) -> Iterator[Data]:
    """The finding and all its parts, in order."""
    yield finding
    for part in finding["parts"]:
        yield from everything(part)


def tables(finding: Data) -> list[tuple[Data, Data]]:
    """All tables of a finding and its parts, each with its owner; what is repeated, once."""
    return _once([(owner, table) for owner in everything(finding) for table in owner["tables"]])


def panels(finding: Data) -> list[tuple[Data, Data]]:
    """The panels a finding chose to show or, where it chose none, those of its parts, each with its owner."""
    if finding["panels"]:
        return _once([(finding, panel) for panel in finding["panels"]])
    return _once([pair for part in finding["parts"] for pair in panels(part)])


def _once(found: list[tuple[Data, Data]]) -> list[tuple[Data, Data]]:
    return [pair for place, pair in enumerate(found) if pair[1] not in [item for _, item in found[:place]]]


def stem(claim: str) -> str:
    """The name of a claim as the beginning of a file's name."""
    return re.sub(r"[^\w.-]+", "-", claim).strip(".-") or "claim"


def counterexample_file(claim: Data) -> str:
    """Where the counterexample of a claim lies, below the folder of its report."""
    return f"{FOLDER}/{stem(claim['name'])}.json"


def drawings(claim: Data) -> list[Drawing]:
    """The figures of a claim and of the controls that did not do their duty, named ``<claim>-1``, ``<claim>-2``, ..."""
    odd = [(index, control["finding"]) for index, control in enumerate(claim["controls"]) if not control["as_it_must"]]
    found = [(index, item, panel) for index, root in [(None, claim["finding"]), *odd] for item, panel in panels(root)]
    name = stem(claim["name"])
    return [Drawing(f"{name}-{n}", item["label"], panel_of(panel), control) for n, (control, item, panel) in enumerate(found, 1)]


def count(findings: list[Data]) -> dict[str, int]:
    """How many of each verdict, all three always there."""
    return {str(verdict): sum(item["verdict"] == verdict for item in findings) for verdict in Verdict}
