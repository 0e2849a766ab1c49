"""The commands, each in a process of its own; wrong requests are in test_cli_errors.py, broken-off ones in test_cli_resume.py."""

from __future__ import annotations

import csv
import json
import os
import re
import select
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command_line import COMMAND, environment, theorysim

from theorysim import __version__


def said(*words: str, cwd: Path, **extra: str) -> str:
    """What a command that succeeds prints."""
    done = theorysim(*words, cwd=cwd, **extra)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ------------------------------------------------------------------------------------------------ what there is
def test_list_is_one_tab_separated_line_a_name_and_finds_entry_points(tmp_path: Path) -> None:
    rows = [line.split("\t") for line in said("list", cwd=tmp_path).splitlines()]
    assert {len(row) for row in rows} == {3}
    assert ["problem", "bowl", "f(w) = |w|^2 / 2 from (1, 2, ..., dim), with gradients that take their time."] in rows
    lost = next(row for row in rows if row[1] == "lost")
    assert "plug-in lost" in lost[2] and "No module named 'simtest_plugin_without_a_file'" in lost[2]
    assert ["algorithm", "gossip", "Averages with its neighbours, so it needs a network."] in rows
    assert ["analysis", "halfway", "The middle of two numbers."] in rows
    assert ["paper", "bowl_paper", "Bowls Are Easy (2031)"] in rows
    assert {"anisotropic_quadratic", "adagrad", "exponent", "adagrad_anisotropic"} <= {row[1] for row in rows}


def test_list_json_holds_the_same(tmp_path: Path) -> None:
    found = json.loads(said("list", "papers", "--json", cwd=tmp_path))
    assert {"kind": "paper", "name": "verdict_paper", "about": "One Claim per Verdict (2032)"} in found
    assert {item["kind"] for item in found} == {"paper"}


def test_show_gives_the_signature_with_defaults_and_the_docstring(tmp_path: Path) -> None:
    text = said("show", "halfway", cwd=tmp_path)
    assert text == "analysis halfway\n\n    low: float\n    high: float = 1.0\n\nThe middle of two numbers.\n"
    assert all(len(line) <= 80 for line in said("show", "anisotropic_quadratic", cwd=tmp_path).splitlines())


def test_show_explains_a_paper_and_one_claim(tmp_path: Path) -> None:
    assert said("show", "bowl_paper", cwd=tmp_path).splitlines() == [
        "paper bowl_paper",
        "",
        "Bowls Are Easy",
        "A. Author, B. Author. Journal of Bowls, 2031.",
        "",
        "1 claim; theorysim show bowl_paper:CLAIM tells more about one",
        "",
        "gap_falls",
        r"    statement: f(w_{T+1}) \le f(w_1)",
        "    assumptions: A bowl.",
        "    kind: upper",
        "    source: Lemma 1",
        "    control: limit=0.0: must be VIOLATED; no gap is below 0",
    ]
    assert "The whole story is told here." in said("show", "bowl_paper:gap_falls", cwd=tmp_path)


# ------------------------------------------------------------------------------------------------ check and report
@pytest.mark.parametrize(
    ("claims", "code"),
    [
        (["has_a_sleeping_control"], 1),
        (["stays_open", "holds"], 3),
        (["stays_open", "breaks"], 1),
    ],
)
def test_exit_code_of_check(claims: list[str], code: int, tmp_path: Path) -> None:
    done = theorysim("check", *(f"verdict_paper:{claim}" for claim in claims), cwd=tmp_path)
    assert done.returncode == code
    saved = json.loads((tmp_path / "theorysim-report/verdict_paper/findings.json").read_text())
    assert [claim["name"] for claim in saved["claims"]] == claims
    assert saved["environment"]["command"] == " ".join(["theorysim", "check", *(f"verdict_paper:{claim}" for claim in claims)])
    for claim in claims:
        assert re.search(rf"^(CONSISTENT|VIOLATED|UNDECIDED) +{claim}", done.stdout, re.MULTILINE)


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder with the report of a check (in ``here``) and its cells (in ``cache``), and the finished process."""
    folder = tmp_path_factory.mktemp("checked")
    done = theorysim("check", "bowl_paper", "--out", "here", cwd=folder, THEORYSIM_CACHE=str(folder / "cache"))
    assert done.returncode == 0, done.stderr
    return folder, done


def test_check_in_a_pipe_prints_results_to_stdout_and_progress_to_stderr(checked: Any) -> None:
    folder, done = checked
    assert re.search(r"^CONSISTENT  gap_falls .*\n +control limit=0.0 +VIOLATED, as it must$", done.stdout, re.MULTILINE)
    assert f"report    {Path('here/report.html')}" in done.stdout
    assert done.stderr.splitlines()[0] == "gap_falls: 0 of 10 cells"
    assert "\x1b" not in done.stdout + done.stderr
    assert {"report.html", "findings.json", "table.csv"} <= {path.name for path in (folder / "here").iterdir()}


def test_check_json_is_alone_on_stdout_and_equals_the_saved_findings(tmp_path: Path) -> None:
    done = theorysim("check", "bowl_paper", "verdict_paper:holds", "--json", "--seeds", "8", "--out", "all", cwd=tmp_path)
    assert done.returncode == 0
    first, second = map(json.loads, done.stdout.splitlines())
    assert first == json.loads((tmp_path / "all/bowl_paper/findings.json").read_text())
    assert second == json.loads((tmp_path / "all/verdict_paper/findings.json").read_text())
    assert second["claims"][0]["finding"]["measured"] == 8.0
    assert "CONSISTENT  gap_falls" in done.stderr


def test_report_writes_the_page_again(checked: Any) -> None:
    folder, _ = checked
    page = folder / "here/report.html"
    before = page.read_text()
    page.unlink()
    assert "CONSISTENT  gap_falls" in said("report", "here", cwd=folder)
    assert page.read_text() == before


def test_cite_prints_the_entry_of_a_paper_and_of_a_report(checked: Any) -> None:
    for what in ("bowl_paper", "here"):
        assert said("cite", what, cwd=checked[0]) == "@article{bowl2031,\n  year = {2031}\n}\n"


def test_check_on_a_terminal_of_80_columns_shows_a_bar_and_keeps_within_it(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    output = on_terminal(pty, ["check", "bowl_paper"], tmp_path, BOWL_SECONDS="0.01")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    assert re.search(r"gap_falls ━+ +\d+/10 cells", plain)
    assert re.search(r"CONSISTENT {2}gap_falls", plain)
    assert max(len(line) for line in re.split(r"[\r\n]+", plain)) <= 80


def on_terminal(pty: Any, words: list[str], cwd: Path, **extra: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    env = environment(TERM="xterm-256color", **extra)
    with subprocess.Popen([*COMMAND, *words], cwd=cwd, env=env, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        pieces = []
        while select.select([ours], [], [], 60)[0]:
            try:
                pieces.append(os.read(ours, 65536))
            except OSError:  # the other side is closed
                break
        assert process.wait(timeout=60) == 0
    os.close(ours)
    return b"".join(pieces).decode()


# ------------------------------------------------------------------------------------------------ run
# On the bowl, gradient descent multiplies w by 1 - lr, so f by (1 - lr)^2, in every step; f(w_1) = (1 + 4 + 9) / 2.
def test_run_prints_constants_and_the_gap_of_each_variant(tmp_path: Path) -> None:
    words = ["bowl", "gradient_descent", "-a", "lr=0.5,0.9", "--steps", "2", "--record", "0,2"]
    lines = said("run", *words, cwd=tmp_path).splitlines()
    assert "L\t1" in lines
    assert "lr\tstep\tmeasure\tmean\tmin\tmax" in lines
    assert "0.5\t0\tgap\t7\t7\t7" in lines
    assert "0.5\t2\tgap\t0.4375\t0.4375\t0.4375" in lines
    assert "0.9\t2\tgap\t0.0007\t0.0007\t0.0007" in lines


def test_run_writes_json_csv_and_a_figure(tmp_path: Path) -> None:
    words = ["bowl", "gradient_descent", "-p", "dim=2", "-a", "lr=0.5", "--steps", "3", "--record", "all", "--runs", "2"]
    data = json.loads(said("run", *words, "--json", "--csv", "gap.csv", "--plot", "gap.png", cwd=tmp_path))
    assert data["values"]["gap"] == [[2.5, 0.625, 0.15625, 0.0390625]] * 2
    assert data["constants"] == {"L": 1.0}
    assert data["cell"]["problem"]["params"] == {"dim": 2}
    with (tmp_path / "gap.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [(row["run"], row["step"], float(row["gap"])) for row in table][4:6] == [("1", "0", 2.5), ("1", "1", 0.625)]
    assert (tmp_path / "gap.png").read_bytes().startswith(b"\x89PNG")


def test_run_of_a_wrapped_algorithm_hands_parameters_to_the_inner_one(tmp_path: Path) -> None:
    words = ["bowl", "average(gradient_descent)", "-a", "lr=0.5", "--steps", "2", "--record", "last", "--json"]
    data = json.loads(said("run", *words, cwd=tmp_path))
    # the mean of w_1 and w_2 = w_1 / 2 is 3/4 w_1
    assert data["values"]["gap"] == [[7.0, pytest.approx(7 * 9 / 16)]]


def test_run_gives_the_expectation_itself_where_it_is_asked_for(tmp_path: Path) -> None:
    # one coordinate, w' = (1 - lr) w - lr n with Var n = 0.25: E w^2 tends to lr 0.25/(2 - lr)
    words = ["anisotropic_quadratic", "sgd", "-p", "dim=1", "-p", "noise=0.5", "-a", "lr=0.5"]
    text = said("run", *words, "--exact", "--steps", "1000000000", "--record", "last", "--measure", "gap", cwd=tmp_path)
    assert "Expectation over the noise" in text and "step\tmeasure\tvalue" in text.splitlines()
    assert f"1000000000\tgap\t{0.5 * 0.5 * 0.25 / 1.5:.6g}" in text.splitlines()
    refused = theorysim("run", "anisotropic_quadratic", "adagrad", "--exact", cwd=tmp_path)
    assert refused.returncode == 2 and "declares no linear transition" in refused.stderr


def test_a_diverging_run_is_a_result(tmp_path: Path) -> None:
    text = said("run", "bowl", "gradient_descent", "-a", "lr=0.5,1e9", "--steps", "64", cwd=tmp_path)
    assert "diverged: 1 of 1 runs of lr=1000000000.0, first at step 23" in text


# ------------------------------------------------------------------------------------------------ this machine
def test_cache_is_counted_and_cleared_even_if_another_version_wrote_it(checked: Any, tmp_path: Path) -> None:
    folder, own = tmp_path / "cache", {"THEORYSIM_CACHE": str(tmp_path / "cache")}
    shutil.copytree(checked[0] / "cache", folder)
    assert said("cache", "info", cwd=tmp_path, **own).startswith(f"{folder}: 10 cells, ")
    (folder / "store.json").write_text('{"format": 99}')
    assert said("cache", "clear", cwd=tmp_path, **own) == f"{folder}: 10 cells deleted\n"
    assert said("cache", "info", cwd=tmp_path, **own) == f"{folder}: 0 cells, 0.0 MiB\n"


def test_info_names_versions_devices_and_the_cache(tmp_path: Path) -> None:
    facts = json.loads(said("info", "--json", cwd=tmp_path, THEORYSIM_CACHE=str(tmp_path)))
    assert facts["theorysim"] == __version__
    assert "CuPy" in facts["gpu"]
    assert facts["cache"] == str(tmp_path)
    assert said("--version", cwd=tmp_path) == f"theorysim {__version__}\n"
