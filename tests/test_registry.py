"""A folder is a registry: names, Specs, plug-ins, and errors that name the way out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from theorysim.findings import Finding
from theorysim.model import Control, Paper, Spec, TheorysimError
from theorysim.registry import ALGORITHMS, ANALYSES, PAPERS, PROBLEMS, Registry, algorithm, claim, parameters, problem

ROOT = Path(__file__).parent.parent
PAPER = Paper("a_paper", "A title", "A. Author", 2025, "A venue", "@article{a}")


def python(code: str, **options: Any) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ------------------------------------------------------------------------------------------------ specs
def test_specs_are_plain_sorted_and_hashable() -> None:
    spec = problem("anisotropic_quadratic", noise=np.array([0.1, 0.2]), dim=np.int64(2), spectrum=[1, 0.5])
    assert spec == problem("anisotropic_quadratic", spectrum=(1, 0.5), dim=2, noise=[0.1, 0.2])
    assert spec.params == (("dim", 2), ("noise", (0.1, 0.2)), ("spectrum", (1, 0.5)))
    assert type(spec.arguments["dim"]) is int and len({spec, spec}) == 1
    assert str(spec) == "anisotropic_quadratic(dim=2, noise=[0.1, 0.2], spectrum=[1, 0.5])"


def test_specs_are_json_with_the_algorithm_inside_a_wrapper() -> None:
    spec = algorithm("average", of=algorithm("adagrad", lr=[0.1, 0.2]))
    inner = {"kind": "algorithm", "name": "adagrad", "params": {"lr": [0.1, 0.2]}}
    assert json.loads(json.dumps(spec.to_json())) == {"kind": "algorithm", "name": "average", "params": {"of": inner}}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: problem("anisotropic_quadratik"),
            "no problem named 'anisotropic_quadratik'; did you mean anisotropic_quadratic",
        ),
        (lambda: algorithm("adagrat"), "no algorithm named 'adagrat'; did you mean adagrad.*known: adagrad, adagrad_norm"),
        (
            lambda: problem("anisotropic_quadratic", dimm=3),
            "no parameter of problem anisotropic_quadratic named 'dimm'; did you mean dim",
        ),
        (lambda: problem("anisotropic_quadratic", draws=3), "named 'draws'"),
        (lambda: algorithm("sgd"), "algorithm sgd needs lr; give lr="),
        (lambda: algorithm("adagrad", lr=float("nan")), "adagrad: lr=nan is not finite"),
        (lambda: algorithm("adagrad", lr=[0.1, float("inf")]), "adagrad: lr=inf is not finite"),
        (lambda: algorithm("adagrad", lr=[]), "adagrad: lr: the list is empty"),
        (lambda: algorithm("adagrad", lr={1}), "is not a number, text, list or Spec"),
    ],
)
def test_bad_requests_name_the_way_out(make: Any, message: str) -> None:
    with pytest.raises(TheorysimError, match=message):
        make()


def test_parameters_leave_out_what_the_engine_passes() -> None:
    assert next(iter(parameters(PROBLEMS, "anisotropic_quadratic"))) == "dim"
    assert list(parameters(ALGORITHMS, "adagrad")) == ["lr", "eps", "v0", "box"]


# ------------------------------------------------------------------------------------------------ folders and plug-ins
def test_the_files_are_the_names() -> None:
    for registry, folder in (
        (PROBLEMS, "problems"),
        (ALGORITHMS, "theorysim/algorithms"),
        (ANALYSES, "analyses"),
        (PAPERS, "paper_checks"),
    ):
        files = {path.stem for path in (ROOT / folder).glob("*.py") if not path.stem.startswith("_")}
        assert files and files <= set(registry.names())


def test_listing_imports_no_content() -> None:
    listed = python(
        "import sys, theorysim as ts; print(ts.list_problems(), [m for m in sys.modules if m.startswith('theorysim.problems.')])"
    )
    assert "anisotropic_quadratic" in listed and listed.strip().endswith("[]")


def test_a_second_definition_is_refused() -> None:
    registry = Registry("problem", "theorysim.problems")

    def twice() -> None:
        """One."""

    def other() -> None:
        """Two."""

    other.__name__, other.__module__ = "twice", "elsewhere"
    registry.register(twice)
    registry.register(twice)
    with pytest.raises(TheorysimError, match=f"problem 'twice' is defined twice: in {__name__} and in elsewhere; rename one"):
        registry.register(other)


def test_a_notebook_adds_a_problem_and_an_algorithm() -> None:
    code = """
import theorysim as ts
from theorysim.backend import namespace
from theorysim.model import Algorithm
from types import SimpleNamespace as State

@ts.register_algorithm
def signs(lr: "PerRow" = 0.125) -> Algorithm:
    "Moves against the signs of the gradient."
    return Algorithm(lambda p, x0: State(x=x0), lambda s, oracle: State(x=s.x - lr * namespace(s.x).sign(oracle.gradient(s.x))))

what = ts.problem("anisotropic_quadratic", dim=3, spectrum="linear")
print(ts.run(what, ts.algorithm("signs", lr=[0.125, "D_inf_0/4"]), 4)["gap"][:, -1])
print("signs" in ts.list_algorithms())
"""
    # f = 1/2 (1 + 0.55 + 0.1) (1 - 4 lr)^2
    assert python(code).split("\n")[:2] == ["[0.20625 0.     ]", "True"]


def test_another_package_adds_a_problem_by_entry_point(tmp_path: Path) -> None:
    (tmp_path / "their_package.py").write_text('def theirs(draws, dim=3):\n    """From elsewhere."""\n')
    info = tmp_path / "their_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[theorysim.problems]\ntheirs = their_package:theirs\n\n[theorysim.papers]\nx = their_package:theirs\n"
    )
    code = f"""
import sys
sys.path.append({str(tmp_path)!r})
import theorysim as ts
print("theirs" in ts.list_problems(), "x" in ts.list_papers(), "their_package" in sys.modules)
print(ts.problem("theirs", dim=5))
"""
    assert python(code).split("\n")[:2] == ["True True False", "theirs(dim=5)"]


# ------------------------------------------------------------------------------------------------ claims
def a_claim(lab: Any, scale: float = 1.0) -> Finding:
    """A statement.

    More about it."""
    raise NotImplementedError


def decorate(**changes: Any) -> Any:
    given = {"source": "Theorem 1", "kind": "upper", "statement": "x", "controls": [Control({"scale": 2.0}, "twice")]}
    return claim(changes.pop("paper", PAPER), **(given | changes))(a_claim)


@pytest.fixture
def papers(monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setattr(PAPERS, "_found", dict(PAPERS._found))
    return PAPERS


def test_a_claim_is_found_under_its_paper(papers: Registry) -> None:
    assert decorate() is a_claim
    (found,) = papers.get("a_paper").select(None)
    assert (found.name, found.title, found.kind, found.function) == ("a_claim", "A statement.", "upper", a_claim)
    assert papers.get("a_paper").select(["a_claim"]) == [found]
    with pytest.raises(TheorysimError, match="no claim of a_paper named 'a_clam'; did you mean a_claim"):
        papers.get("a_paper").select(["a_clam"])


def test_a_claim_that_cannot_fail_is_refused(papers: Registry) -> None:
    with pytest.raises(TheorysimError, match="claim 'a_claim' has no control that must fail"):
        decorate(controls=[])
    with pytest.raises(TheorysimError, match="no control that must fail"):
        decorate(controls=[Control({}, "a neighbour", fires=False)])


def test_unknown_kinds_and_two_papers_of_one_name_are_refused(papers: Registry) -> None:
    with pytest.raises(TheorysimError, match="kind='uper' is not allowed; choose one of upper, tight"):
        decorate(kind="uper")
    decorate()
    with pytest.raises(TheorysimError, match="two different papers are named 'a_paper'"):
        decorate(paper=Paper("a_paper", "Another", "B. Author", 2025, "A venue", "@article{b}"))


def test_an_unknown_paper_names_the_known() -> None:
    with pytest.raises(TheorysimError, match="no paper named 'adagrad'.*known: .*adagrad_anisotropic"):
        PAPERS.get("adagrad")


def test_spec_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Spec("problem", "x").name = "y"  # type: ignore[misc]
