"""``theorysim check``: claims in; findings, a report folder and an exit code out."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

import click

from theorysim.backend import DEVICES
from theorysim.check import PaperReport, check, exit_code, seed_budget
from theorysim.cli_arguments import worker_options
from theorysim.cli_watch import INTERRUPTED, watch
from theorysim.cluster import workers
from theorysim.executors import Executor, backend_beside
from theorysim.lab import LEVELS
from theorysim.model import TheorysimError
from theorysim.registry import PAPERS
from theorysim.store import Store
from theorysim.validation import non_negative


class Request(NamedTuple):
    """What to check, validated: claims by paper (None: all of them), the folder of each paper's report; where, in words."""

    claims: dict[str, list[str] | None]
    folders: dict[str, Path]
    level: str
    device: str
    where: str
    executor: Executor
    seed: int
    seeds: int | None
    max_seeds: int | None
    store: Store


@click.command("check", short_help="Check the claims of papers.")
@click.argument("targets", metavar="[PAPER[:CLAIM]]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All papers, which is also what no argument means.")
@click.option("--level", type=click.Choice(LEVELS), default="quick", show_default=True, help="How large the checks are.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="Where to compute.")
@worker_options
@click.option("--seeds", type=int, metavar="N", help="Runs of every Monte Carlo claim, fixed  [default: they grow]")
@click.option("--max-seeds", type=int, metavar="N", help="Runs a claim may grow to  [default: 64 at level quick, 512 at full]")
@click.option("--seed", type=int, metavar="N", default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Report folder  [default: theorysim-report/PAPER]")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON, one line a paper.")
def check_command(
    targets: tuple[str, ...],
    every: bool,
    level: str,
    device: str,
    jobs: int | None,
    cluster: str | None,
    seeds: int | None,
    max_seeds: int | None,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> int:
    """Check the claims of papers, each with its controls; without an argument, of all papers.

    A Monte Carlo claim that its seeds leave open is given twice as many, again and again up to --max-seeds; every look at the
    data may spend a share of the error level only, so that looking on costs no certainty.

    Writes report.html, findings.json, table.csv and figures; with several papers, into one folder each below DIR.
    Finished cells are kept: an interrupted check, given again, goes on where it was.

    \b
    Exit code:  0  all claims consistent, all controls as they must
                1  a claim violated, or a control that failed its duty
                2  the request cannot be met
                3  a claim undecided
               70  a defect of theorysim or of a plug-in
    """
    from theorysim.report import prepare_folder

    non_negative("--seed", seed)
    seed_budget(level, seeds, max_seeds)
    if every and targets:
        raise TheorysimError(f"--all means every paper; leave it out to check {' '.join(targets)} only")
    claims = _resolve(targets)
    folders = {paper: _folder(out, paper, len(claims)) for paper in claims}
    store = Store()
    try:
        with workers(jobs, cluster, device) as executor:
            request = Request(claims, folders, level, device, _where(executor, device), executor, seed, seeds, max_seeds, store)
            for folder in folders.values():
                prepare_folder(folder)
            return exit_code(_check_all(request, as_json))
    except KeyboardInterrupt:
        again = shlex.join(["theorysim", *sys.argv[1:]])
        kept = "Not all finished cells are kept" if store.trouble else "Finished cells are kept"
        click.echo(f"\nInterrupted. {kept} in {store.folder}; to go on, run again:\n  {again}", err=True)
        return INTERRUPTED


def _resolve(targets: tuple[str, ...]) -> dict[str, list[str] | None]:
    """The claims asked for, by paper; every name is looked up before anything is computed."""
    asked: dict[str, list[str] | None] = {} if targets else dict.fromkeys(PAPERS.names())
    for target in targets:
        paper, colon, claim = target.partition(":")
        found = PAPERS.get(paper)
        chosen = asked.setdefault(paper, [] if colon else None)
        if not colon:
            asked[paper] = None
        elif chosen is not None and found.select([claim])[0].name not in chosen:
            chosen.append(claim)
    if not asked:
        raise TheorysimError("no paper is installed; install a package with the entry point theorysim.papers")
    return asked


def _folder(out: Path | None, paper: str, papers: int) -> Path:
    if out is None:
        return Path("theorysim-report") / paper
    return out if papers == 1 else out / paper


def _where(executor: Executor, device: str) -> str:
    """The device that computes, and the workers if it is theirs."""
    about = executor.about
    return f"{about['device']}, {about['workers']}" if about else backend_beside(executor, device).describe()


def _check_all(request: Request, as_json: bool) -> list[PaperReport]:
    """Check paper after paper, telling of each claim as it ends. JSON is alone on stdout, everything else then on stderr."""
    from theorysim.report import claim_text, report_data, summary, write_report

    reports = []
    with watch(as_json) as (console, progress):
        for paper, claims in request.claims.items():
            count = len(PAPERS.get(paper).select(claims))
            console.print(f"{paper}: {count} claim{'s' * (count != 1)}, level {request.level}, {request.where}\n")
            report = check(
                paper,
                claims,
                level=request.level,
                device=request.device,
                cluster=request.executor,
                seed=request.seed,
                seeds=request.seeds,
                max_seeds=request.max_seeds,
                store=request.store,
                progress=progress,
                on_claim=lambda found: console.print(claim_text(found), soft_wrap=True),
            )
            data = report_data(report)
            page = write_report(data, request.folders[paper])
            console.print("", summary(data), f"  report    {page}\n", sep="\n", soft_wrap=True)
            if as_json:
                click.echo(json.dumps(data, ensure_ascii=False, allow_nan=False))
            reports.append(report)
    return reports
