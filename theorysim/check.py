"""A paper's claims, each with its controls, become a report: claim + controls -> findings -> verdict -> exit code."""

from __future__ import annotations

import datetime
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from theorysim.backend import Backend, select
from theorysim.findings import Finding, Verdict, worst
from theorysim.lab import LEVELS, Lab
from theorysim.model import MIN_SEEDS, Claim, Control, Paper, Spec
from theorysim.registry import PAPERS, PaperCheck
from theorysim.store import Store
from theorysim.validation import at_least, non_negative, one_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ControlFinding:
    """What the claim said of a neighbour on which it must fail (or, ``fires=False``, must not)."""

    control: Control
    finding: Finding

    @property
    def expected(self) -> Verdict:
        return Verdict.VIOLATED if self.control.fires else Verdict.CONSISTENT

    @property
    def as_it_must(self) -> bool:
        return self.finding.verdict is self.expected


@dataclass(frozen=True)
class ClaimFinding:
    """A claim, what was found, and what its controls found; ``seconds`` of wall time."""

    claim: Claim
    finding: Finding
    controls: tuple[ControlFinding, ...]
    seconds: float

    @property
    def verdict(self) -> Verdict:
        """The claim's verdict; UNDECIDED where a control did not do its duty, for then the check says nothing."""
        trusted = all(control.as_it_must for control in self.controls)
        return self.finding.verdict if trusted or self.finding.verdict is Verdict.VIOLATED else Verdict.UNDECIDED


@dataclass(frozen=True)
class PaperReport:
    """All findings on a paper, with what is needed to repeat them."""

    paper: Paper
    claims: tuple[ClaimFinding, ...]
    level: str
    seed: int
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        return worst([claim.verdict for claim in self.claims])

    @property
    def controls_as_they_must(self) -> bool:
        return all(control.as_it_must for claim in self.claims for control in claim.controls)

    @property
    def exit_code(self) -> int:
        """0: all consistent and all controls as they must; 1: a violation, or a control that failed its duty; 3: undecided."""
        if self.verdict is Verdict.VIOLATED or not self.controls_as_they_must:
            return 1
        return 0 if self.verdict is Verdict.CONSISTENT else 3

    @property
    def findings(self) -> dict[str, Finding]:
        return {claim.claim.name: claim.finding for claim in self.claims}

    def frame(self) -> pd.DataFrame:
        """One line per judged number, controls included."""
        import pandas as pd

        from theorysim.report.table import rows_of

        return pd.DataFrame(rows_of(self))

    def save(self, folder: str | Path) -> Path:
        """Write report.html, findings.json, table.csv and the figures into ``folder``; returns the path of the page."""
        from theorysim.report.save import save_report

        return save_report(self, Path(folder))


Progress = Callable[[str, int, int], None]


def check(
    paper: str,
    claims: Iterable[str] | None = None,
    *,
    level: str = "quick",
    device: str | Backend = "auto",
    seed: int = 0,
    seeds: int | None = None,
    store: Store | None = None,
    progress: Progress = lambda what, done, total: None,
    on_claim: Callable[[ClaimFinding], None] = lambda finding: None,
) -> PaperReport:
    """Check the claims of a paper (all, or those named) and their controls.

    ``seeds``, at least 8, replaces the number of runs of every Monte Carlo claim. ``store`` keeps finished cells (default:
    the user's cache). ``progress(what, done, total)`` hears of cells, ``on_claim`` of finished claims. Raises TheorysimError
    for bad input.
    """
    one_of("level", level, LEVELS)
    non_negative("seed", seed)
    if seeds is not None:
        at_least("seeds", seeds, MIN_SEEDS, "fewer seeds give no standard error that could carry a verdict")
    found: PaperCheck = PAPERS.get(paper)
    selected = found.select(claims)
    backend, kept = select(device), store or Store()
    findings = []
    for claim in selected:
        lab = Lab(backend, level, seed, seeds, kept, progress=lambda done, total, name=claim.name: progress(name, done, total))  # type: ignore[misc]
        findings.append(_check_claim(claim, lab))
        on_claim(findings[-1])
    return PaperReport(found.paper, tuple(findings), level, seed, environment(backend, seeds))


def _check_claim(claim: Claim, lab: Lab) -> ClaimFinding:
    begin = time.perf_counter()
    finding = claim.function(lab)
    controls = tuple(ControlFinding(control, claim.function(lab, **control.setting)) for control in claim.controls)
    return ClaimFinding(claim, finding, controls, time.perf_counter() - begin)


def environment(backend: Backend, seeds: int | None = None) -> dict[str, str]:
    """What a reader needs to repeat a check: versions, device, command line, time."""
    import theorysim

    return {
        "theorysim": theorysim.__version__,
        "device": backend.describe(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "seeds": "as the claims say" if seeds is None else str(seeds),
        "command": shlex.join(["theorysim", *sys.argv[1:]])
        if Path(sys.argv[0]).name in ("theorysim", "__main__.py")
        else "Python session",
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def exit_code(reports: Iterable[PaperReport]) -> int:
    """The exit code of several reports: violated before undecided before consistent."""
    codes = {report.exit_code for report in reports}
    return next((code for code in (1, 3) if code in codes), 0)


def settings(control: Control) -> str:
    """The arguments of a control as a reader would write them."""
    return ", ".join(f"{key}={value if isinstance(value, Spec) else repr(value)}" for key, value in control.setting.items())
