"""One line per judged number, for a data frame or a spreadsheet."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from theorysim.report.data import Data, leaves, number, report_data
from theorysim.report.numbers import distance

if TYPE_CHECKING:
    from theorysim.check import PaperReport


def rows_of(report: PaperReport) -> list[dict[str, Any]]:
    """One line per finding judged by itself, those of the controls included."""
    return rows(report_data(report))


def rows(data: Data) -> list[dict[str, Any]]:
    """The lines of ``rows_of`` from a report's data. ``control`` is empty for the claim itself; a missing number is None."""
    found = []
    for claim in data["claims"]:
        common = {"paper": data["paper"]["name"], "claim": claim["name"], "kind": claim["kind"], "source": claim["source"]}
        found += _lines(common, claim["finding"], "", "", None)
        for control in claim["controls"]:
            found += _lines(common, control["finding"], control["setting"], control["expected"], control["as_it_must"])
    return found


def _lines(common: Data, finding: Data, control: str, expected: str, as_it_must: bool | None) -> list[dict[str, Any]]:
    return [
        common
        | {"control": control, "part": path, "verdict": leaf["verdict"], "expected": expected, "as_it_must": as_it_must}
        | {"measured": _value(leaf["measured"]), "predicted": _value(leaf["predicted"])}
        | dict(zip(("low", "high"), _pair(leaf["limits"]), strict=True))
        | dict(zip(("interval_low", "interval_high"), _pair(leaf["interval"]), strict=True))
        | {"distance": distance(leaf), "reason": leaf["reason"]}
        for path, leaf in leaves(finding)
    ]


def _value(stored: Any) -> float | None:
    return None if stored is None else number(stored)


def _pair(stored: Any) -> tuple[float | None, float | None]:
    return (None, None) if stored is None else (_value(stored[0]), _value(stored[1]))


def csv_text(lines: list[dict[str, Any]]) -> str:
    """The lines as CSV with a header; None is an empty field, floats keep all their digits."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue()
