"""Reading findings.json back: what is not a report of this format is refused with a sentence, not with a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from theorysim.findings import Verdict
from theorysim.model import TheorysimError
from theorysim.report.data import FORMAT, Data

FILE = "findings.json"

# A shape is a type or a tuple of them, [shape] for a list of that shape, or {key: shape} for a dictionary with these keys.
_TEXT_NUMBERS = ("inf", "-inf", "nan")
_NUMBER, _VERDICT, _RANGE = "a number", "a verdict", "two numbers"
_SERIES = {"label": str, "x": [_NUMBER], "y": [_NUMBER], "role": str, "low": [_NUMBER], "high": [_NUMBER]}
_PANEL = {"title": str, "x_label": str, "y_label": str, "series": [_SERIES], "log_x": bool, "log_y": bool, "window": _RANGE}
_TABLE = {"title": str, "columns": [str], "rows": [list]}
_FINDING: dict[str, Any] = {
    "label": str,
    "verdict": _VERDICT,
    "reason": str,
    "measured": _NUMBER,
    "predicted": _NUMBER,
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
    "seconds": _NUMBER,
    "finding": _FINDING,
    "controls": [_CONTROL],
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


def mismatch(value: Any, shape: Any, where: str) -> str:
    """Empty, or the first place where ``value`` has not the shape it must have."""
    if isinstance(shape, str):
        return "" if _SCALARS[shape](value) else f"{where} is {str(value)[:40]!r}, not {shape}"
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where} is not a list"
        return next(filter(None, (mismatch(item, shape[0], f"{where}[{n}]") for n, item in enumerate(value))), "")
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{where} is not a record"
        if missing := [key for key in shape if key not in value]:
            return f"{where} has no {missing[0]!r}"
        return next(filter(None, (mismatch(value[key], inner, f"{where}.{key}") for key, inner in shape.items())), "")
    return "" if isinstance(value, shape) else f"{where} is {str(value)[:40]!r}, which has the wrong type"


def _is_number(value: Any) -> bool:
    return value is None or value in _TEXT_NUMBERS or isinstance(value, int | float)


def _is_range(value: Any) -> bool:
    return value is None or (isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)))


_SCALARS: dict[str, Callable[[Any], bool]] = {
    _NUMBER: _is_number,
    _RANGE: _is_range,
    _VERDICT: lambda value: value in tuple(Verdict),
}
