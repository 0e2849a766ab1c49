"""Would a paper's checks notice a broken implementation? Its mutation score.

A mutant is one fault in one registered algorithm or problem, or in every bound. A claim notices it if it comes out VIOLATED,
if one of its controls no longer does its duty, or if it breaks down. A mutant that changes no recorded number is not counted.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from theorysim.backend import Backend, select
from theorysim.check import ControlFinding, check_claims, settings
from theorysim.findings import Finding, Verdict
from theorysim.lab import LEVELS
from theorysim.model import MIN_SEEDS, Claim, TheorysimError
from theorysim.mutation.fault import BOUND, FROZEN, Fault
from theorysim.mutation.mutants import FAULTS, Mutant, MutationReport, Outcome, Response, Trial, mutants_of
from theorysim.mutation.runs import FaultyCells, Sound, broken, numbers_of, run_sound
from theorysim.registry import PAPERS, PaperCheck
from theorysim.store import Store
from theorysim.validation import non_negative, one_of, positive_integer

Progress = Callable[[str, int, int], None]


def run_selftest(
    paper: str,
    level: str = "quick",
    seed: int = 0,
    *,
    claims: Iterable[str] | None = None,
    faults: Sequence[Fault] | None = None,
    first: bool = False,
    jobs: int = 1,
    device: str | Backend = "auto",
    store: Store | None = None,
    progress: Progress = lambda what, done, total: None,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> MutationReport:
    """Put every fault (default: all that are shipped) into everything that the claims of ``paper`` (default: all of them) use,
    one at a time.

    ``first``: leave a mutant as soon as one claim has noticed it, cheap claims asked first; one that never moves is always
    shown to all claims. ``jobs``: processes that share the mutants out; more than one take shipped faults only. ``store``:
    where sound cells are kept. ``progress(what, done, total)`` hears of cells and mutants, ``on_trial`` of each mutant.
    A mutant's claims get no more seeds than they ask for. Raises TheorysimError for bad input.
    """
    one_of("level", level, LEVELS)
    non_negative("seed", seed)
    positive_integer("jobs", jobs)
    listed = FAULTS if faults is None else tuple(faults)
    if jobs > 1 and not set(listed) <= set(FAULTS):
        raise TheorysimError(f"jobs={jobs} needs shipped faults: others do not travel to another process; use jobs=1")
    found: PaperCheck = PAPERS.get(paper)
    backend, kept, selected = select(device), store or Store(), found.select(claims)
    sound = run_sound(found.paper, selected, kept, level=level, seed=seed, device=backend, progress=progress)
    report = MutationReport(found.paper, level, seed, tuple(sound.uses), (), tuple(sound.broken), first)
    if sound.broken:
        return report
    mutants = mutants_of(set().union(*(use.names for use in sound.uses.values())), listed)
    setting = _Setting(paper, level, seed, first, backend.name, kept.folder, replace(sound, findings=()))
    trials = []
    for trial in _trials(setting, mutants, jobs):
        trials.append(trial)
        on_trial(trial)
        progress("mutants", len(trials), len(mutants))
    return replace(report, trials=tuple(trials))


@dataclass(frozen=True)
class _Setting:
    """What every trial needs; it travels to other processes."""

    paper: str
    level: str
    seed: int
    first: bool
    device: str
    folder: Path
    sound: Sound


def _trials(setting: _Setting, mutants: list[Mutant], jobs: int) -> Iterator[Trial]:
    """The trials in the order of the mutants, as they end."""
    if jobs == 1:
        yield from (_trial(setting, mutant) for mutant in mutants)
        return
    # spawn: a forked process inherits the threads of the numerical libraries in an undefined state
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, context) as pool:
        yield from pool.map(partial(_trial_by_name, setting), [(mutant.target, mutant.name) for mutant in mutants])


def _trial_by_name(setting: _Setting, which: tuple[str, str]) -> Trial:
    target, name = which
    names = {BOUND if target == "bounds" else target}
    return _trial(setting, next(mutant for mutant in mutants_of(names) if mutant.name == name))


def _trial(setting: _Setting, mutant: Mutant) -> Trial:
    """Ask the claims that use what the mutant breaks, cheap ones first."""
    claims: dict[str, Claim] = PAPERS.get(setting.paper).claims
    uses, used = setting.sound.uses, BOUND if mutant.registry is None else mutant.target
    asked = sorted((name for name in uses if used in uses[name].names), key=lambda name: uses[name].work)
    cells = FaultyCells(Store(setting.folder), mutant, setting.sound, select(setting.device))
    responses = []
    with broken(mutant, cells):
        for name in asked:
            responses.append(_response(setting, claims[name], cells))
            if setting.first and responses[-1].outcome is Outcome.NOTICED and mutant.fault.name != FROZEN:
                break
    return Trial(mutant.target, mutant.fault.name, mutant.fault.about, tuple(responses))


def _response(setting: _Setting, claim: Claim, cells: FaultyCells) -> Response:
    """What the claim and, unless it is violated, its controls say; the rest is not asked once it has noticed."""
    cells.changed, judged = False, {}
    find = partial(_find, setting, claim, cells)
    try:
        if not cells.concern(setting.sound.uses[claim.name]):
            return Response(claim.name, Outcome.SAME)
        finding = find({})
        judged[""] = numbers_of(finding)
        if finding.verdict is Verdict.VIOLATED:
            return Response(claim.name, Outcome.NOTICED, finding.reason)
        for control in claim.controls:
            seen = ControlFinding(control, find(control.setting))
            judged[settings(control)] = numbers_of(seen.finding)
            if not seen.as_it_must:
                why = f"control {settings(control)}: {seen.finding.verdict}, {seen.finding.reason}"
                return Response(claim.name, Outcome.NOTICED, why)
    except MemoryError:
        raise
    except Exception as error:  # whatever a broken implementation does to a claim, a user would see it
        return Response(claim.name, Outcome.NOTICED, f"breaks down: {error!r}")
    if not cells.changed:
        return Response(claim.name, Outcome.SAME)
    if finding.verdict is Verdict.UNDECIDED:
        return Response(claim.name, Outcome.OPEN, finding.reason)
    shown = judged == setting.sound.uses[claim.name].numbers
    return Response(claim.name, Outcome.SHOWN if shown else Outcome.PASSED, finding.reason)


def _find(setting: _Setting, claim: Claim, cells: FaultyCells, arguments: Any) -> Finding:
    """The claim alone under one setting, with the seeds it asks for."""
    alone = replace(claim, controls=(), function=partial(claim.function, **arguments))
    report = check_claims(
        PAPERS.get(setting.paper).paper,
        [alone],
        level=setting.level,
        device=setting.device,
        seed=setting.seed,
        max_seeds=MIN_SEEDS,
        store=cells,
    )
    return report.claims[0].finding
