"""``theorysim replay``, in a process of its own: what it prints, its exit code, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import theorysim

from theorysim.registry import algorithm, problem
from theorysim.reproducer import Counterexample

HALF = Counterexample(
    problem=problem("anisotropic_quadratic", dim=2, start=[1.0, -3.0]),
    algorithm=algorithm("average", of=algorithm("gradient_descent", lr=0.1)),
    steps=12,
    run=4,
    seed=7,
    of="gap",
    bound="c*lambda_max*D_2_0**2/(4*T) + 0*reach",
    where={"c": 4.0, "reach": "max_distance:2"},
    slack=1e-9,
    claimed=(3, 12),
    measured=1.0,
    limit=0.2,
    ratio=5.0,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "counterexamples" / "half.json"
    path.parent.mkdir()
    path.write_text(json.dumps(HALF.to_json()))
    return path


def average_ratio(steps: int) -> float:
    """gap(wbar_T) over the bound, by the closed form of gradient descent on curvatures 1 and 1/2 from (1, -3)."""
    means = [sum((1 - 0.1 * curvature) ** t for t in range(steps)) / steps for curvature in (1.0, 0.5)]
    return (0.5 * means[0] ** 2 + 0.25 * (3 * means[1]) ** 2) / (10 / steps)


def test_it_says_what_is_run_shows_the_last_steps_and_ends_with_the_verdict(file: Path, tmp_path: Path) -> None:
    done = theorysim("replay", str(file), "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(done.stdout.split())
    for part in (
        "problem anisotropic_quadratic(dim=2, start=[1, -3])",
        "algorithm average(of=gradient_descent(lr=0.1))",
        "run 4 of seed 7",
        "bound gap <= c*lambda_max*D_2_0**2/(4*T) + 0*reach, where c is 4.0; reach is max_distance:2, for T = 3, 12",
    ):
        assert part in text
    rows = [line.split("\t") for line in lines if "\t" in line]
    assert rows[0] == ["T", "gap", "bound", "ratio"] and [row[0] for row in rows[1:]] == [str(t) for t in range(5, 13)]
    for row in rows[1:]:
        assert float(row[3]) == pytest.approx(average_ratio(int(row[0])), rel=1e-5)
        assert float(row[1]) / float(row[2]) == pytest.approx(float(row[3]), rel=1e-5)
    assert average_ratio(3) < 1 < average_ratio(8) < average_ratio(12)  # T = 8 is beyond, but not claimed
    verdict = done.stdout[done.stdout.rindex("\t") :].partition("\n")[2]
    assert " ".join(verdict.split()).startswith("EXCEEDED: at T=12 gap is ")
    assert f"{average_ratio(12):.6g} times the bound" in " ".join(verdict.split())


def test_a_bound_that_holds_here_is_exit_code_0(file: Path, tmp_path: Path) -> None:
    file.write_text(json.dumps(replace(HALF, where={"c": 20.0, "reach": "max_distance:2"}).to_json()))
    done = theorysim("replay", str(file), cwd=tmp_path)
    assert done.returncode == 0
    assert "NOT EXCEEDED here: gap is " in " ".join(done.stdout.split())
    assert f"{average_ratio(12) / 5:.6g} times the bound" in " ".join(done.stdout.split())


def test_json_is_alone_on_stdout_and_complete(file: Path, tmp_path: Path) -> None:
    done = theorysim("replay", str(tmp_path), "--json", cwd=tmp_path)
    assert done.returncode == 1
    data = json.loads(done.stdout)
    assert data["counterexample"] == HALF.to_json() and data["violated"] is True and data["step"] == 12
    assert data["steps"] == list(range(1, 13))
    assert data["ratio"] == pytest.approx([average_ratio(t) for t in range(1, 13)], rel=1e-12)


def test_the_figure_is_drawn(file: Path, tmp_path: Path) -> None:
    assert theorysim("replay", str(file), "--plot", "some.svg", cwd=tmp_path).returncode == 1
    assert (tmp_path / "some.svg").read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("nowhere.json", ["there is no file nowhere.json", "theorysim check"]),
        (".", [". holds 2 counterexamples, not one: counterexamples/half.json, counterexamples/other.json"]),
        ("counterexamples/other.json", ["other.json cannot be replayed: damaged: counterexample.steps is '0'"]),
        ("counterexamples/half.json --device gpu", ["--device gpu: CuPy"]),
        ("counterexamples/half.json --plot some.xyz", ["--plot ending='.xyz'"]),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(words: str, parts: list[str], file: Path, tmp_path: Path) -> None:
    (file.parent / "other.json").write_text(json.dumps(HALF.to_json() | {"steps": 0}))
    done = theorysim("replay", *words.split(), cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("Error: ")
    for part in parts:
        assert part in done.stderr
