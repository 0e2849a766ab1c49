"""The command line: names in, a verdict and an exit code out."""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import os
import platform
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

import click

from theorysim import __version__
from theorysim.backend import CPU, gpu_problem, select
from theorysim.check import settings
from theorysim.cli_agents import agents_command
from theorysim.cli_calibrate import calibrate_command
from theorysim.cli_check import check_command
from theorysim.cli_replay import replay_command
from theorysim.cli_run import run_command
from theorysim.cli_selftest import selftest_command
from theorysim.cli_text import filled, first_line, print_table, print_text
from theorysim.cli_tighten import tighten_command
from theorysim.cli_watch import INTERRUPTED, warnings_in_a_line
from theorysim.folders import cache_folder
from theorysim.measures import MEASURES
from theorysim.model import Claim, Control, TheorysimError
from theorysim.registry import ALGORITHMS, ANALYSES, PAPERS, PROBLEMS, PaperCheck, Registry, parameters
from theorysim.store import Store, clear
from theorysim.validation import unknown

REGISTRIES = {"problems": PROBLEMS, "algorithms": ALGORITHMS, "analyses": ANALYSES, "papers": PAPERS}
USAGE, CRASH = 2, 70


def main() -> None:
    """Run the command line and leave with its exit code; a wrong request is one line on stderr and code 2."""
    sys.exit(_exit_code())


def _exit_code() -> int:
    try:
        with warnings_in_a_line():
            return int(cli.main(prog_name="theorysim", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        return _refuse(f"{error.format_message()} See '{context.command_path if context else 'theorysim'} --help'.")
    except TheorysimError as error:
        return _refuse(str(error))
    except MemoryError as error:
        return _refuse(f"not enough memory ({error or 'the arrays do not fit'}); choose a smaller problem or fewer runs")
    except click.Abort:
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except Exception:
        # Python would leave with 1, which here means "violated"
        traceback.print_exc()
        return CRASH


def _refuse(message: str) -> int:
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    return USAGE


@click.group("theorysim", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Check the theorems of optimization papers by running their algorithms on problems with known constants."""


COMMANDS = (
    check_command,
    replay_command,
    tighten_command,
    selftest_command,
    calibrate_command,
    run_command,
    agents_command,
)
for command in COMMANDS:
    cli.add_command(command)


# ------------------------------------------------------------------------------------------------ what there is
@cli.command("list")
@click.argument("kind", type=click.Choice(list(REGISTRIES)), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(kind: str | None, as_json: bool) -> None:
    """List problems, algorithms, analyses and papers."""
    kinds = [kind] if kind else list(REGISTRIES)
    found = [(REGISTRIES[each].kind, name, _about(REGISTRIES[each], name)) for each in kinds for name in REGISTRIES[each].names()]
    if as_json:
        click.echo(json.dumps([{"kind": k, "name": n, "about": a} for k, n, a in found], indent=2))
    elif kind:
        print_table(("name", "about"), [row[1:] for row in found], header=False)
    else:
        print_table(("kind", "name", "about"), found, header=False)


def _about(registry: Registry, name: str) -> str:
    try:
        thing = registry.get(name)
    except Exception as error:  # one broken plug-in must not hide the rest
        return f"({error})"
    return f"{thing.paper.title} ({thing.paper.year})" if isinstance(thing, PaperCheck) else first_line(thing.__doc__)


@cli.command("show", short_help="Explain one of them, or a claim.")
@click.argument("name", metavar="NAME")
def show_command(name: str) -> None:
    """Explain a problem, an algorithm, an analysis, a measure, a paper with its claims, or one claim, PAPER:CLAIM."""
    paper, colon, claim = name.partition(":")
    if colon:
        _show_claim(PAPERS.get(paper).select([claim])[0])
        return
    holders = [registry for registry in REGISTRIES.values() if name in registry.names()]
    if not holders and name not in MEASURES:
        known = {*MEASURES, *(each for registry in REGISTRIES.values() for each in registry.names())}
        raise unknown("problem, algorithm, analysis, measure or paper", name, known)
    if name in MEASURES:
        _show_factory("measure", name, inspect.signature(MEASURES[name]).parameters, MEASURES[name].__doc__)
    for registry in holders:
        if registry is PAPERS:
            _show_paper(PAPERS.get(name))
        else:
            _show_factory(registry.kind, name, parameters(registry, name), registry.get(name).__doc__)


def _show_factory(kind: str, name: str, signature: Mapping[str, inspect.Parameter], about: str | None) -> None:
    click.echo(f"{kind} {name}\n")
    for parameter in signature.values():
        click.echo(f"    {_declared(parameter)}")
    if signature:
        click.echo()
    print_text(about or "(no description)")


def _declared(parameter: inspect.Parameter) -> str:
    """``name: type = default`` as in the source."""
    kind = getattr(parameter.annotation, "__name__", parameter.annotation)
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{parameter.name}{'' if kind == '_empty' else f': {kind}'}{default}"


def _show_paper(check: PaperCheck) -> None:
    paper = check.paper
    print_text(f"paper {paper.name}\n\n{paper.title}")
    where = paper.venue if str(paper.year) in paper.venue else f"{paper.venue}, {paper.year}"
    print_text(f"{paper.authors}. {where}.{f' arXiv:{paper.arxiv}' if paper.arxiv else ''}")
    if paper.summary:
        click.echo()
        print_text(paper.summary)
    count = len(check.claims)
    click.echo(f"\n{count} claim{'s' * (count != 1)}; theorysim show {paper.name}:CLAIM tells more about one")
    for claim in check.claims.values():
        click.echo(f"\n{claim.name}")
        _show_fields(claim)


def _show_claim(claim: Claim) -> None:
    click.echo(f"claim {claim.paper.name}:{claim.name}\n")
    print_text(claim.function.__doc__ or "(no description)")
    click.echo()
    _show_fields(claim)


def _show_fields(claim: Claim) -> None:
    for label in ("statement", "bound", "assumptions", "kind", "source"):
        if text := getattr(claim, label):
            _field(label, text)
    if claim.search is not None:
        ranges = ", ".join(f"{name} in {allowed}" for name, allowed in claim.search.over.items())
        _field("hardest instance", f"searched over {ranges}; theorysim tighten {claim.paper.name}:{claim.name}")
    for control in claim.controls:
        _field("control", _duty(control))


def _duty(control: Control) -> str:
    return f"{settings(control) or 'no change'}: must be {'VIOLATED' if control.fires else 'CONSISTENT'}; {control.why}"


def _field(label: str, text: str) -> None:
    click.echo(filled(" ".join(f"{label}: {text}".split()), "    ", "        "))


# ------------------------------------------------------------------------------------------------ reports
@cli.command("report", short_help="Write a report again from its findings.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def report_command(folder: Path) -> None:
    """Write the report in DIR again from its findings.json, and print it."""
    from theorysim.report import load_data, summary_text, write_report

    data = load_data(folder)
    page = write_report(data, folder.parent if folder.is_file() else folder)
    click.echo(f"{summary_text(data).rstrip()}\n  report    {page}")


@cli.command("cite", short_help="Print the BibTeX entry of a paper.")
@click.argument("what", metavar="PAPER|DIR")
def cite_command(what: str) -> None:
    """Print the BibTeX entry of a paper, or of the paper a report is about."""
    if Path(what).exists() and what not in PAPERS.names():
        from theorysim.report import load_data

        click.echo(load_data(what)["paper"]["bibtex"].strip())
    else:
        click.echo(PAPERS.get(what).paper.bibtex.strip())


# ------------------------------------------------------------------------------------------------ this machine
@cli.group("cache")
def cache_group() -> None:
    """Finished cells on disk: their size; delete them."""


@cache_group.command("info")
def cache_info() -> None:
    """Print the folder, the number of cells and their size."""
    store = Store()
    cells, size = store.usage()
    click.echo(f"{store.folder}: {cells} cells, {size / 2**20:.1f} MiB")


@cache_group.command("clear")
def cache_clear() -> None:
    """Delete all finished cells, those of another version too; they are computed again when needed."""
    folder = cache_folder()
    click.echo(f"{folder}: {clear(folder)} cells deleted")


@cli.command("info")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info_command(as_json: bool) -> None:
    """Print versions, devices, precision and the cache folder."""
    facts = _facts()
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        print_table(("what", "here"), list(facts.items()), header=False)


def _facts() -> dict[str, str]:
    facts = {"theorysim": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for package in ("numpy", "scipy", "sympy", "numba", "matplotlib", "pandas", "scikit-learn", "cupy-cuda12x", "cupy-cuda13x"):
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            facts[package] = "not installed"
    lacking = gpu_problem()
    facts["cpu"] = f"{os.cpu_count()} cores, {CPU.describe()}"
    facts["gpu"] = lacking or select("gpu").describe()
    facts["precision"] = "float64; the random numbers are defined alike for CPU and GPU"
    facts["cache"] = str(cache_folder())
    return facts
