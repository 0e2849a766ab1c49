"""Reading findings.json back: what is not a report of this format is refused with a sentence, not with a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from theorysim.findings import Verdict
from theorysim.model import TheorysimError
from theorysim.report.data import FORMAT, Data
from theorysim.reproducer import SHAPE
from theorysim.validation import NUMBER, Kind, is_number, mismatch

FILE = "findings.json"


def _is_range(value: Any) -> bool:
    return value is None or (isinstance(value, list) and len(value) == 2 and all(map(is_number, value)))


def _is_counterexample(value: Any) -> bool:
    return value is None or not mismatch(value, _COUNTEREXAMPLE, "")


_COUNTEREXAMPLE = {"problem": str, "algorithm": str, "content": SHAPE}
_VERDICT = Kind("a verdict", lambda value: value in tuple(Verdict))
_RANGE = Kind("two numbers", _is_range)
_SERIES = {"label": str, "x": [NUMBER], "y": [NUMBER], "role": str, "low": [NUMBER], "high": [NUMBER]}
_PANEL = {"title": str, "x_label": str, "y_label": str, "series": [_SERIES], "log_x": bool, "log_y": bool, "window": _RANGE}
_TABLE = {"title": str, "columns": [str], "rows": [list]}
_FINDING: dict[str, Any] = {
    "label": str,
    "verdict": _VERDICT,
    "reason": str,
    "measured": NUMBER,
    "predicted": NUMBER,
    "limits": _RANGE,
    "interval": _RANGE,
    "details": dict,
    "reproducer": (dict, type(None)),
    "panels": [_PANEL],
    "tables": [_TABLE],
}
_FINDING["parts"] = [_FINDING]
_CONTROL = {"setting": str, "why": str, "expected": _VERDICT, "as_it_must": bool, "finding": _FINDING}
_CLAIM = dict.fromkeys(("name", "title", "kind", "source", "statement", "bound", "bound_latex", "assumptions", "reason"), str) | {
    "verdict": _VERDICT,
    "seconds": NUMBER,
    "finding": _FINDING,
    "controls": [_CONTROL],
    "counterexample": Kind("a counterexample", _is_counterexample),
}
_REPORT = {
    "paper": dict.fromkeys(("name", "title", "authors", "venue", "bibtex", "arxiv", "summary"), str) | {"year": int},
    "level": str,
    "seed": int,
    "verdict": _VERDICT,
    "exit_code": int,
    "environment": dict,
    "claims": [_CLAIM],
}


def load_data(folder: str | Path) -> Data:
    """The data of a saved report: ``folder`` as given to save, or its findings.json.

    Raises TheorysimError where the file is missing, is no report, or has another format.
    """
    path = Path(folder)
    path = path if path.is_file() else path / FILE
    remedy = "name a folder written by 'theorysim check PAPER --out DIR'"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TheorysimError(f"there is no report in {folder} (no {FILE}); {remedy}") from None
    except (OSError, ValueError) as error:
        raise TheorysimError(f"{path} cannot be read as a report ({error}); {remedy}") from None
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise TheorysimError(f"{path} has report format {found}, this version reads {FORMAT}; run the check again with --out")
    if trouble := mismatch(data, _REPORT, "report"):
        raise TheorysimError(f"{path} is damaged: {trouble}; run the check again with --out")
    return data  # type: ignore[no-any-return]
