"""A report on disk: findings.json first, then everything that is drawn from it."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from theorysim.model import TheorysimError
from theorysim.report.data import Data, counterexample_file, drawings, report_data
from theorysim.report.schema import FILE, load_data
from theorysim.report.table import csv_text, rows
from theorysim.reproducer import FOLDER

if TYPE_CHECKING:
    from theorysim.check import PaperReport

PAGE, TABLE, FIGURES = "report.html", "table.csv", "figures"
_ENDINGS = ("svg", "png", "csv")


def save_report(report: PaperReport, folder: str | Path) -> Path:
    """Write the whole report into ``folder``; returns the path of report.html."""
    return write_report(report_data(report), folder)


def prepare_folder(folder: str | Path) -> Path:
    """Make ``folder`` and see that files can be written there; TheorysimError if not. Called before anything is computed."""
    path = Path(folder)
    try:
        (path / FIGURES).mkdir(parents=True, exist_ok=True)
        for inside in (path, path / FIGURES):
            with tempfile.TemporaryFile(dir=inside):
                pass
    except OSError as error:
        why = error.strerror or error
        raise TheorysimError(f"the folder {folder} cannot be written ({why}); choose another one with --out") from None
    return path


def write_report(data: Data, folder: str | Path) -> Path:
    """Write findings.json, table.csv, the figures with their numbers, the counterexamples and report.html; returns its path.

    Figures and counterexamples of an earlier report in the same folder are removed. Raises TheorysimError where the folder
    cannot be written.
    """
    from theorysim.report.figures import inline, panel_csv, render
    from theorysim.report.page import page

    path = prepare_folder(folder)
    _forget(path)
    _write(path / FILE, _json(data))
    _write(path / TABLE, csv_text(rows(data)))
    figures = {}
    for claim in data["claims"]:
        for name, owner, panel, _ in drawings(claim):
            svg, png = render(panel, name)
            contents: tuple[str | bytes, ...] = (svg, png, panel_csv(panel))
            for ending, content in zip(_ENDINGS, contents, strict=True):
                _write(path / FIGURES / f"{name}.{ending}", content)
            figures[name] = inline(svg, name, panel.title or owner)
        if claim["counterexample"]:
            (path / FOLDER).mkdir(exist_ok=True)
            _write(path / counterexample_file(claim), _json(claim["counterexample"]["content"]))
    _write(path / PAGE, page(data, figures))
    return path / PAGE


def _forget(path: Path) -> None:
    """Remove the figures and counterexamples of an earlier report, which may have other claims; nothing that we did not write."""
    try:
        earlier = load_data(path)
    except TheorysimError:
        return
    for name in [drawing.name for claim in earlier["claims"] for drawing in drawings(claim)]:
        for ending in _ENDINGS:
            (path / FIGURES / f"{name}.{ending}").unlink(missing_ok=True)
    for claim in earlier["claims"]:
        if claim["counterexample"]:
            (path / counterexample_file(claim)).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not there, or the user's own files in it
        (path / FOLDER).rmdir()


def _json(data: Data) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.writing")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise TheorysimError(f"{path} cannot be written ({error.strerror or error}); choose another folder with --out") from None
