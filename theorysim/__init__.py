"""theorysim checks optimization papers: it runs their algorithms on problems with known constants and judges each claim."""

from pathlib import Path
from typing import Any

from theorysim.check import PaperReport, check
from theorysim.findings import Finding, Verdict, together
from theorysim.measures import register_measure
from theorysim.model import Control, Paper, Search, Spec, TheorysimError
from theorysim.moments import exact_moments, expected_gap
from theorysim.registry import (
    ALGORITHMS,
    ANALYSES,
    PAPERS,
    PROBLEMS,
    algorithm,
    claim,
    problem,
    register_algorithm,
    register_analysis,
    register_problem,
)
from theorysim.run import run
from theorysim.sweep import Sweep, sweep
from theorysim.tighten import tighten
from theorysim.trace import Trace
from theorysim.worst_case import worst_case

__version__ = "0.1.0"

__all__ = [
    "Control",
    "Finding",
    "Paper",
    "PaperReport",
    "Search",
    "Spec",
    "Sweep",
    "TheorysimError",
    "Trace",
    "Verdict",
    "algorithm",
    "check",
    "claim",
    "exact_moments",
    "expected_gap",
    "list_algorithms",
    "list_analyses",
    "list_papers",
    "list_problems",
    "problem",
    "register_algorithm",
    "register_analysis",
    "register_measure",
    "register_problem",
    "run",
    "sweep",
    "tighten",
    "together",
    "worst_case",
]

list_problems = PROBLEMS.names
list_algorithms = ALGORITHMS.names
list_analyses = ANALYSES.names
list_papers = PAPERS.names


def __getattr__(name: str) -> Any:
    """Every analysis is a public name, loaded when it is first used: ``ts.steps_to``, ``ts.exponent``, ..."""
    if name == "fit_exponent":
        from theorysim.rates import fit_exponent

        return fit_exponent
    if not name.startswith("_") and name in ANALYSES.names():
        return ANALYSES.get(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# In a checkout problems/, analyses/ and paper_checks/ lie beside this package; in a wheel they lie inside it.
if not (Path(__file__).parent / "problems").is_dir():
    __path__.append(str(Path(__file__).resolve().parent.parent))
