"""A check that is broken off goes on where it was, and ends with the numbers of one that was not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import start, theorysim

CELLS = 10
CHECK = ("check", "bowl_paper", "--out", "out")


def findings(folder: Path) -> Any:
    """What a check found, without what depends on the moment."""
    data = json.loads((folder / "out/findings.json").read_text())
    for claim in data["claims"]:
        del claim["seconds"]
    del data["environment"]
    return data


def settings(folder: Path) -> dict[str, str]:
    return {"THEORYSIM_CACHE": str(folder / "cache"), "BOWL_LOG": str(folder / "log")}


def built(folder: Path) -> list[int]:
    """The dimensions of the bowls that were built, in order: one for every cell that was begun."""
    return [int(line) for line in (folder / "log").read_text().split()]


def cells(folder: Path) -> dict[Path, int]:
    """The finished cells, with the moment each was written."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("cache/cells/*/*.cell")}


def checked(folder: Path) -> Any:
    """The findings of a check that comes to its end."""
    folder.mkdir(exist_ok=True)
    done = theorysim(*CHECK, cwd=folder, **settings(folder))
    assert done.returncode == 0, done.stderr
    return findings(folder)


def broken_off(folder: Path, by: signal.Signals) -> tuple[subprocess.Popen[str], str]:
    """A slow check that was sent a signal when some of its cells, but not all, were finished; and its stderr."""
    process = start(*CHECK, cwd=folder, BOWL_SECONDS="0.03", **settings(folder))
    deadline = time.monotonic() + 60
    while len(cells(folder)) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(by)
    errors = process.communicate(timeout=60)[1]
    assert 3 <= len(cells(folder)) < CELLS
    return process, errors


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a check that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    checked(folder)
    return folder


@pytest.mark.skipif(os.name == "nt", reason="a process is killed with a POSIX signal")
def test_after_a_kill_finished_cells_are_not_run_again_and_the_findings_are_the_same(tmp_path: Path, whole: Path) -> None:
    process, _ = broken_off(tmp_path, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    before = cells(tmp_path)
    (tmp_path / "log").unlink()
    assert checked(tmp_path) == findings(whole)
    assert len(built(tmp_path)) == CELLS - len(before)
    assert {path: when for path, when in cells(tmp_path).items() if path in before} == before


@pytest.mark.skipif(os.name == "nt", reason="a process is interrupted with a POSIX signal")
def test_ctrl_c_says_that_cells_are_kept_and_how_to_go_on(tmp_path: Path) -> None:
    process, errors = broken_off(tmp_path, signal.SIGINT)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert f"Finished cells are kept in {tmp_path / 'cache'}" in errors
    assert errors.splitlines()[-1] == "  theorysim check bowl_paper --out out"


def test_damaged_cells_are_computed_again_with_the_same_result(tmp_path: Path, whole: Path) -> None:
    shutil.copytree(whole / "cache", tmp_path / "cache")
    cut, flipped = sorted(cells(tmp_path))[:2]
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    raw = bytearray(flipped.read_bytes())
    raw[len(raw) // 2] ^= 1
    flipped.write_bytes(raw)
    assert checked(tmp_path) == findings(whole)
    assert len(built(tmp_path)) == 2
    (tmp_path / "log").unlink()
    assert checked(tmp_path) == findings(whole)
    assert not (tmp_path / "log").exists()
