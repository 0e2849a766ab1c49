"""A paper's claims, each with its controls, become a report: claim + controls -> findings -> verdict -> exit code."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from theorysim.backend import Backend
from theorysim.cluster import workers
from theorysim.counterexample import smallest
from theorysim.environment import environment
from theorysim.executors import Executor, Progress, Together, backend_beside
from theorysim.findings import Finding, Verdict, worst
from theorysim.lab import LEVELS, Lab
from theorysim.levels import judged, number_of_looks, open_to_seeds, share_of_look
from theorysim.model import MIN_SEEDS, Cell, Claim, Control, Paper, Spec, TheorysimError
from theorysim.registry import PAPERS, PaperCheck
from theorysim.reproducer import Counterexample
from theorysim.store import Store
from theorysim.validation import at_least, non_negative, one_of

if TYPE_CHECKING:
    import pandas as pd


MAX_SEEDS = {"quick": 64, "full": 512}


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
    counterexample: Counterexample | None = None

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


def check(
    paper: str,
    claims: Iterable[str] | None = None,
    *,
    level: str = "quick",
    device: str | Backend = "auto",
    seed: int = 0,
    seeds: int | None = None,
    max_seeds: int | None = None,
    jobs: int | None = None,
    cluster: str | Executor | None = None,
    store: Store | None = None,
    progress: Progress = lambda what, done, total: None,
    on_claim: Callable[[ClaimFinding], None] = lambda finding: None,
) -> PaperReport:
    """Check the claims of a paper (all, or those named) and their controls.

    A claim that noise leaves open is given twice the seeds, again and again up to ``max_seeds`` (default: 64 at level quick,
    512 at full); every look at the data may spend a share of the error level only. ``seeds`` instead fixes the number of runs
    of every Monte Carlo claim, for one look. Either is at least 8. ``jobs`` worker processes, or the workers of the Dask
    scheduler at the address ``cluster``, compute the cells. ``store`` keeps finished ones (default: the user's cache).
    ``progress(what, done, total)`` hears of cells, ``on_claim`` of finished claims. Raises TheorysimError for bad input.
    """
    found: PaperCheck = PAPERS.get(paper)
    return check_claims(
        found.paper,
        found.select(claims),
        level=level,
        device=device,
        seed=seed,
        seeds=seeds,
        max_seeds=max_seeds,
        jobs=jobs,
        cluster=cluster,
        store=store,
        progress=progress,
        on_claim=on_claim,
    )


def check_claims(
    paper: Paper,
    claims: Sequence[Claim],
    *,
    level: str = "quick",
    device: str | Backend = "auto",
    seed: int = 0,
    seeds: int | None = None,
    max_seeds: int | None = None,
    jobs: int | None = None,
    cluster: str | Executor | None = None,
    store: Store | None = None,
    progress: Progress = lambda what, done, total: None,
    on_claim: Callable[[ClaimFinding], None] = lambda finding: None,
) -> PaperReport:
    """Check claims that stand together as those of one paper: their verdicts are corrected by Holm over all of them.

    The options are those of ``check``. A claim is announced when it is settled by itself, and again in the rare case that
    the correction, or the seeds that it asks for, changes its verdict.
    """
    one_of("level", level, LEVELS)
    non_negative("seed", seed)
    budget = seed_budget(level, seeds, max_seeds)
    looks = 1 if seeds is not None else number_of_looks(budget)
    with workers(jobs, cluster, device) as executor:
        lab = Lab(backend_beside(executor, device), level, seed, seeds, 0, budget, store or Store(), executor)
        told = progress if executor.device is None else Together(paper.name, progress)
        cases = [_Case(claim, replace(lab, progress=partial(told, claim.name)), looks) for claim in claims]
        findings = _settled(cases, executor, on_claim)
    return PaperReport(paper, findings, level, seed, environment(lab.backend, executor.about, seeds, budget))


def _settled(cases: Sequence[_Case], executor: Executor, on_claim: Callable[[ClaimFinding], None]) -> tuple[ClaimFinding, ...]:
    """What is found of every claim, corrected over all."""
    announced = []
    for case in executor.each(_Case.begun, cases):
        announced.append(case.found(*_judged([case])))
        on_claim(announced[-1])
    while growing := [case for case, finding in zip(cases, _judged(cases), strict=True) if case.may_grow(finding)]:
        list(executor.each(lambda case: case.grow(case.look + 1), growing))
    findings = tuple(case.found(finding) for case, finding in zip(cases, _judged(cases), strict=True))
    for before, after in zip(announced, findings, strict=True):
        if before.verdict is not after.verdict:
            on_claim(after)
    return findings


def seed_budget(level: str, seeds: int | None, max_seeds: int | None) -> int:
    """The largest number of seeds a claim may use; TheorysimError for a request of fewer than 8, or of both kinds."""
    if seeds is not None and max_seeds is not None:
        raise TheorysimError(
            "--seeds (seeds=) fixes the number of seeds, --max-seeds (max_seeds=) lets it grow; give one of them"
        )
    too_few = "fewer seeds give no standard error that could carry a verdict"
    if seeds is not None:
        return at_least("seeds", seeds, MIN_SEEDS, too_few)
    return MAX_SEEDS[level] if max_seeds is None else at_least("max_seeds", max_seeds, MIN_SEEDS, too_few)


@dataclass
class _Case:
    """A claim on its way: what was found at the latest look, before Holm's correction, and what its controls found."""

    claim: Claim
    lab: Lab
    looks: int
    look: int = 0
    finding: Finding | None = None
    controls: tuple[ControlFinding, ...] = ()
    seconds: float = 0.0
    counterexample: Counterexample | None = None

    @property
    def share(self) -> float:
        return share_of_look(self.look, self.looks)

    def begun(self) -> _Case:
        """Look at the claim and its controls, each until it is settled by itself; returns this case."""
        self.grow(0)
        begin = time.perf_counter()
        self.controls = tuple(ControlFinding(control, self._control(control)) for control in self.claim.controls)
        self.seconds += time.perf_counter() - begin
        return self

    def grow(self, first: int) -> None:
        """Look on from look ``first`` until the claim is settled by itself."""
        begin = time.perf_counter()
        self.finding, self.look = self._grown({}, first)
        self.seconds += time.perf_counter() - begin

    def may_grow(self, finding: Finding) -> bool:
        return open_to_seeds(finding) and self.look + 1 < self.looks

    def found(self, finding: Finding) -> ClaimFinding:
        """The record of the claim; of a violated bound, with the smallest case that can be found."""
        if finding.verdict is Verdict.VIOLATED and self.counterexample is None:
            self.counterexample = smallest(finding.reproducer, self.lab.backend)
        return ClaimFinding(self.claim, finding, self.controls, self.seconds, self.counterexample)

    def _control(self, control: Control) -> Finding:
        finding, look = self._grown(control.setting, 0)
        return judged([finding], [share_of_look(look, self.looks)])[0]

    def _grown(self, setting: Mapping[str, Any], first: int) -> tuple[Finding, int]:
        for look in range(first, self.looks):
            used: list[Cell] = []
            finding = _told(self.claim.function(replace(self.lab, look=look, told=used.append), **setting), used)
            if not open_to_seeds(judged([finding], [share_of_look(look, self.looks)])[0]):
                break
        return finding, look


def _told(finding: Finding, used: Sequence[Cell]) -> Finding:
    """The finding with a word on how its expectations were found, where any was computed exactly."""
    exact, every = len({cell for cell in used if cell.exact}), len(set(used))
    if not exact:
        return finding
    word = f"computed exactly in {exact} of {every} experiments, without sampling error"
    return replace(finding, details={**finding.details, "expectations over noise": word})


def _judged(cases: Sequence[_Case]) -> list[Finding]:
    """The findings of the cases at their latest looks, corrected over all of them."""
    return judged([case.finding for case in cases if case.finding], [case.share for case in cases])


def exit_code(reports: Iterable[PaperReport]) -> int:
    """The exit code of several reports: violated before undecided before consistent."""
    codes = {report.exit_code for report in reports}
    return next((code for code in (1, 3) if code in codes), 0)


def settings(control: Control) -> str:
    """The arguments of a control as a reader would write them."""
    return ", ".join(f"{key}={value if isinstance(value, Spec) else repr(value)}" for key, value in control.setting.items())
