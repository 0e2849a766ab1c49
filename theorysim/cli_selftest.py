"""``theorysim selftest``: are a paper's checks able to notice a broken implementation?"""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable
from pathlib import Path

import click

from theorysim.backend import DEVICES
from theorysim.lab import LEVELS
from theorysim.model import TheorysimError
from theorysim.mutation.mutants import ENOUGH, MutationReport, Outcome, Trial, select_faults
from theorysim.mutation.selftest import run_selftest
from theorysim.registry import PAPERS
from theorysim.validation import non_negative, positive_integer

_WIDTH = 80
_FORMATS = (".csv", ".json")


@click.command("selftest", short_help="Break things on purpose: would the checks notice?")
@click.argument("papers", metavar="[PAPER]...", nargs=-1)
@click.option("--level", type=click.Choice(LEVELS), default="quick", show_default=True, help="How large the checks are.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="Where to compute.")
@click.option("--seed", type=int, metavar="N", default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--first", is_flag=True, help="Leave a fault as soon as one claim has noticed it.")
@click.option("--fault", "faults", metavar="NAME", multiple=True, help="Only this fault; may be given several times.")
@click.option("--jobs", type=int, metavar="N", help="Processes that share the faults out  [default: from the cores]")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the table of faults and claims (.csv or .json)."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, one line a paper.")
def selftest_command(
    papers: tuple[str, ...],
    level: str,
    device: str,
    seed: int,
    first: bool,
    faults: tuple[str, ...],
    jobs: int | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Break what the claims of a paper use, one deliberate fault at a time, and see which claims notice.

    Faults go into algorithms, averages, problem generators, the constants they state, and bounds. A claim notices a fault if
    it comes out violated, if one of its controls fails its duty, or if it breaks down. The score is the share of noticed
    faults among those that change any number. It can take an hour: see --first and --fault.

    \b
    Exit code:  0  at least 90 % noticed, and no claim that judges an algorithm lets it pass when it never moves
                1  otherwise, or claims not as they should be without any fault
                2  the request cannot be met
    """
    non_negative("--seed", seed)
    number = _default_jobs() if jobs is None else positive_integer("--jobs", jobs)
    if out is not None and out.suffix not in _FORMATS:
        raise TheorysimError(f"--out {out} must end in {' or '.join(_FORMATS)}")
    chosen = select_faults(faults) if faults else None
    names = papers or tuple(PAPERS.names())
    for name in names:
        PAPERS.get(name)
    tell = _Teller(to_stderr=as_json)
    reports = []
    for name in names:
        click.echo(f"{name}: first the claims as they are, level {level}", err=True)
        report = run_selftest(
            name, level, seed, faults=chosen, first=first, jobs=number, device=device, on_trial=tell, progress=_Cells()
        )
        for line in summary_lines(report):
            click.echo(line, err=as_json)
        if as_json:
            click.echo(json.dumps(report.to_json(), allow_nan=False))
        reports.append(report)
    if out is not None:
        _write(reports, out)
    return 0 if all(report.passes for report in reports) else 1


def _default_jobs() -> int:
    """One core is left to others; each process holds the cells of one fault in memory."""
    return max(1, min(4, (os.cpu_count() or 1) - 1))


class _Cells:
    """A line on stderr when another claim of the sound run begins."""

    def __init__(self) -> None:
        self.what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if what not in (self.what, "mutants"):
            self.what = what
            click.echo(f"  {what}", err=True)


class _Teller:
    """A line for every fault, below the name of what is broken."""

    def __init__(self, to_stderr: bool) -> None:
        self.to_stderr, self.target = to_stderr, ""

    def __call__(self, trial: Trial) -> None:
        if trial.target != self.target:
            self.target = trial.target
            click.echo(trial.target, err=self.to_stderr)
        click.echo(trial_line(trial), err=self.to_stderr)


def trial_line(trial: Trial) -> str:
    """``  frozen                17/17  exact_trajectory, convex_theorem``, at most 80 columns."""
    noticed, opened = trial.noticed_by, sum(response.outcome is Outcome.OPEN for response in trial.responses)
    if not trial.applicable:
        said = "changes nothing here"
    elif noticed:
        said = ", ".join(noticed[:2])
    else:
        said = f"SURVIVES{f', {opened} undecided' if opened else ''}"
    count = f"{len(noticed)}/{len(trial.responses)}"
    return f"  {trial.fault:<19} {count:>6} {textwrap.shorten(said, _WIDTH - 29, placeholder=' ...')}"


def summary_lines(report: MutationReport) -> list[str]:
    """The survivors with what they do, the algorithms that may stand still, and the score."""
    if report.broken:
        return _filled("", f"{report.paper.name}: no fault was tried, as claims fail without one: {', '.join(report.broken)}")
    lines = [""]
    for trial in report.survivors:
        lines += _filled(f"survivor {trial.name}: ", f"{trial.about}; {_reactions(trial)}")
    for algorithm, claim in report.standing_still:
        lines += _filled("stands still: ", f"{claim} lets {algorithm} pass although it never moves")
    counted, survivors = len(report.counted), len(report.survivors)
    score = f"{report.score:.1%} of {counted} faults noticed (at least {ENOUGH:.0%} needed), {survivors} not"
    return [*lines, *_filled(f"{report.paper.name}: ", f"{score}; {len(report.trials) - counted} more change nothing here")]


def _reactions(trial: Trial) -> str:
    """``undecided: batch_size; not seen by: noise_level (3 more)`` and the like."""
    words: dict[Outcome, Callable[[str], str]] = {
        Outcome.OPEN: lambda names: f"undecided: {names}",
        Outcome.PASSED: lambda names: f"let pass by {names}",
        Outcome.SHOWN: lambda names: f"no judged number is another in {names}",
    }
    groups = {outcome: [r.claim for r in trial.responses if r.outcome is outcome] for outcome in words}
    return "; ".join(words[outcome](", ".join(names)) for outcome, names in groups.items() if names)


def _filled(head: str, text: str) -> list[str]:
    return textwrap.wrap(head + text, _WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _write(reports: list[MutationReport], out: Path) -> None:
    """One table, with the paper as its first column, or a list of reports."""
    try:
        if out.suffix == ".json":
            out.write_text(json.dumps([report.to_json() for report in reports], indent=1, allow_nan=False), encoding="utf-8")
            return
        import pandas as pd

        frames = [report.frame().assign(paper=report.paper.name) for report in reports]
        pd.concat(frames).set_index("paper").to_csv(out)
    except OSError as error:
        raise TheorysimError(f"--out {out} cannot be written ({error}); give a file in a folder that exists") from error
