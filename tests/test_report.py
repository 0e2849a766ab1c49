"""A report on disk: findings.json and back, the table, the figures beside it, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from report_samples import INF, PAPER, data_of, dimension_claim, sample_report

from theorysim.check import PaperReport
from theorysim.model import TheorysimError
from theorysim.report import load_data, prepare_folder, report_data, save_report, write_report
from theorysim.report.data import drawings
from theorysim.report.table import rows, rows_of
from theorysim.reproducer import load_counterexample


@pytest.fixture(scope="module")
def report() -> PaperReport:
    return sample_report()


@pytest.fixture(scope="module")
def folder(report: PaperReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_report(report, tmp_path_factory.mktemp("out") / "new" / "folder").parent


def test_findings_json_gives_the_data_back_and_is_strict_json(report: PaperReport, folder: Path) -> None:
    text = (folder / "findings.json").read_text(encoding="utf-8")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    json.loads(text, parse_constant=refuse)
    data = load_data(folder)
    assert data == report_data(report)
    assert data["claims"][2]["finding"]["parts"][1]["measured"] == "nan"
    assert data["claims"][1]["finding"]["details"]["eta"] == [0.5, "inf"]
    assert data["paper"]["bibtex"] == PAPER.bibtex


def test_the_report_written_again_from_its_data_is_the_same(folder: Path, tmp_path: Path) -> None:
    write_report(load_data(folder), tmp_path)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_panels_survive_the_way_through_json(report: PaperReport) -> None:
    data = json.loads(json.dumps(report_data(report)))
    found = [drawing.panel for drawing in drawings(data["claims"][0])]
    assert found == [part.panels[0] for part in report.claims[0].finding.parts]


def test_a_finding_that_chose_panels_shows_those_alone_and_each_once() -> None:
    claim = dimension_claim()
    chosen = claim.finding.parts[1].panels
    again = replace(claim, finding=replace(claim.finding, panels=chosen * 2), controls=())
    assert [drawing.panel.title for drawing in drawings(data_of(again))] == ["steps to accuracy 1e-3, AdaGrad"]


def test_a_control_is_drawn_only_where_it_failed_its_duty() -> None:
    claim = dimension_claim()
    control = claim.controls[0]
    failed = replace(control, control=replace(control.control, fires=not control.control.fires))
    assert [drawing.control for drawing in drawings(data_of(claim))] == [None, None]
    assert [drawing.control for drawing in drawings(data_of(replace(claim, controls=(failed,))))] == [None, None, 0]


def test_every_panel_has_a_vector_a_picture_and_its_numbers(report: PaperReport, folder: Path) -> None:
    for claim in load_data(folder)["claims"]:
        for name, _, panel, _ in drawings(claim):
            ElementTree.parse(folder / "figures" / f"{name}.svg")
            assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
            lines = list(csv.DictReader(io.StringIO((folder / "figures" / f"{name}.csv").read_text())))
            for item in panel.series:
                mine = [line for line in lines if line["series"] == item.label]
                for column in ("x", "y", "low", "high"):
                    values = [float(line[column]) for line in mine if line[column]]
                    np.testing.assert_array_equal(values, getattr(item, column))
                assert {line["role"] for line in mine} == {item.role}
            assert len(lines) == sum(len(item.x) for item in panel.series)


def test_the_table_has_one_line_per_judged_number_controls_included(report: PaperReport, folder: Path) -> None:
    lines = rows_of(report)
    assert len(lines) == (2 + 1) + (60 + 2) + (2 + 1)
    read = list(csv.DictReader(io.StringIO((folder / "table.csv").read_text())))
    assert [{key: "" if value is None else str(value) for key, value in line.items()} for line in lines] == read
    gd = lines[0]
    assert (gd["part"], gd["measured"], gd["low"], gd["control"], gd["as_it_must"]) == ("GD", 1.01, 0.9, "", None)
    assert gd["distance"] == pytest.approx(0.09)
    assert [(line["control"], line["as_it_must"]) for line in lines if line["control"]][-1] == ("eps=0.01", False)
    assert math.isnan(lines[-2]["measured"]) and lines[-2]["low"] == -INF
    frame = report.frame()
    assert len(frame) == len(lines) and frame["measured"].dtype == np.float64


def test_an_empty_report_is_still_a_report(tmp_path: Path) -> None:
    path = save_report(PaperReport(PAPER, (), "quick", 0), tmp_path)
    assert "UNDECIDED" in path.read_text(encoding="utf-8")
    assert rows(load_data(tmp_path)) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, report: PaperReport) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    for place in (blocked, blocked / "below"):
        with pytest.raises(TheorysimError, match=rf"{re.escape(str(place))} cannot be written .*--out"):
            save_report(report, place)


def test_a_folder_without_permission_is_found_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(dir: Path) -> None:
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    with pytest.raises(TheorysimError, match=r"cannot be written \(Permission denied\)"):
        prepare_folder(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no report in"),
        ("{not json", "cannot be read as a report"),
        ("[1, 2]", "has report format None"),
        ('{"format": 999}', "has report format 999, this version reads 2"),
        ('{"format": 2}', "damaged: report has no 'paper'"),
    ],
)
def test_what_is_no_report_is_refused_with_a_sentence(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "findings.json").write_text(content)
    with pytest.raises(TheorysimError, match=re.escape(message)):
        load_data(tmp_path)


def test_damage_deep_inside_is_found(folder: Path, tmp_path: Path) -> None:
    data = load_data(folder)
    data["claims"][2]["counterexample"]["content"]["steps"] = 0
    (tmp_path / "findings.json").write_text(json.dumps(data))
    with pytest.raises(TheorysimError, match=r"claims\[2\]\.counterexample is .* not a counterexample"):
        load_data(tmp_path)
    data = load_data(folder)
    data["claims"][1]["finding"]["parts"][7]["limits"] = [0.0, "one"]
    (tmp_path / "findings.json").write_text(json.dumps(data))
    with pytest.raises(TheorysimError, match=r"claims\[1\]\.finding\.parts\[7\]\.limits is .* not two numbers"):
        load_data(tmp_path)


def test_only_figures_of_the_earlier_report_are_removed(report: PaperReport, tmp_path: Path) -> None:
    save_report(replace(report, claims=report.claims[1:2]), tmp_path)
    mine = tmp_path / "figures" / "my own.svg"
    mine.write_text("kept")
    assert {path.name for path in (tmp_path / "figures").glob("*.svg")} == {"convex_bound-1.svg", "my own.svg"}
    save_report(replace(report, claims=report.claims[2:]), tmp_path)
    assert list((tmp_path / "figures").iterdir()) == [mine]


def test_a_counterexample_is_a_file_of_its_own_and_goes_with_its_report(report: PaperReport, tmp_path: Path) -> None:
    save_report(report, tmp_path)
    folder = tmp_path / "counterexamples"
    assert [path.name for path in folder.iterdir()] == ["a_name-that-is-odd.json"]
    assert load_counterexample(tmp_path) == load_counterexample(next(folder.iterdir())) == report.claims[2].counterexample
    mine = folder / "mine.json"
    mine.write_text("kept")
    save_report(replace(report, claims=report.claims[:2]), tmp_path)
    assert list(folder.iterdir()) == [mine]
    mine.unlink()
    save_report(report, tmp_path)
    save_report(replace(report, claims=report.claims[:2]), tmp_path)
    assert not folder.exists()


def test_reading_a_report_loads_neither_matplotlib_nor_jinja() -> None:
    heavy = "matplotlib", "jinja2", "sympy", "latex2mathml"
    code = f"import sys, theorysim.report, theorysim.report.table; print([name for name in {heavy!r} if name in sys.modules])"
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert done.stdout.strip() == "[]", done.stderr
