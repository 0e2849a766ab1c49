"""``theorysim replay``: a saved counterexample once more, and whether the bound is exceeded on this machine too."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from theorysim.backend import DEVICES, select
from theorysim.cli_text import filled, print_table
from theorysim.counterexample import Replay, replay
from theorysim.findings import Panel, Series
from theorysim.model import TheorysimError
from theorysim.reproducer import Counterexample, load_counterexample
from theorysim.validation import one_of

_ROWS = 8  # of the printed table: the last steps
_FIGURES = (".pdf", ".png", ".svg")


@click.command("replay", short_help="Run a counterexample again.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="Where to compute.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw measured values and bound: .png, .svg, .pdf.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def replay_command(file: Path, device: str, plot: Path | None, as_json: bool) -> int:
    """Run a counterexample again and compare it with the bound, step by step.

    FILE is a counterexample that 'theorysim check' saved beside a report, or the folder of a report that has only one.

    \b
    Exit code:  0  the bound is not exceeded here
                1  the bound is exceeded again
                2  the request cannot be met
    """
    if plot is not None:
        _writable(plot)
    example = load_counterexample(file)
    found = replay(example, select(device))
    if plot is not None:
        _draw(example, found, plot)
    if as_json:
        click.echo(json.dumps(_data(example, found), allow_nan=False))
    else:
        _print(example, found)
    return int(found.violated)


def _writable(plot: Path) -> None:
    """Refuse before computing what could not be written afterwards."""
    one_of("--plot ending", plot.suffix.lower(), _FIGURES)
    if plot.is_dir() or not os.access(plot if plot.exists() else plot.absolute().parent, os.W_OK):
        raise TheorysimError(f"cannot write {plot}; give a file in a folder that exists and that you may write")


def _draw(example: Counterexample, found: Replay, path: Path) -> None:
    from theorysim.report.figures import draw

    steps = tuple(map(float, found.steps))
    curves = [
        Series(example.of, steps, tuple(found.measured.tolist())),
        Series("the bound", steps, tuple(found.limit.tolist()), "bound"),
    ]
    figure = draw(Panel(f"{example.algorithm.name} on {example.problem.name}", "steps T", example.of, tuple(curves)))
    whole = figure.get_figure(root=True)
    assert whole is not None
    whole.savefig(path, bbox_inches="tight")


def _print(example: Counterexample, found: Replay) -> None:
    names = "; ".join(f"{name} is {source}" for name, source in example.where.items())
    lines = {
        "problem": str(example.problem),
        "algorithm": str(example.algorithm),
        "run": f"{example.run} of seed {example.seed}",
        "device": found.environment,
        "bound": f"{example.of} <= {example.bound}{names and f', where {names}'}, {_claimed(example)}",
    }
    for label, text in lines.items():
        click.echo(filled(f"{label:<9} {text}", hanging=" " * 10))
    click.echo()
    shown = slice(max(0, len(found.steps) - _ROWS), None)
    columns = (each[shown].tolist() for each in (found.steps, found.measured, found.limit, found.ratio))
    print_table(("T", example.of, "bound", "ratio"), list(zip(*columns, strict=True)))
    click.echo(filled(_verdict(example, found)))


def _claimed(example: Counterexample) -> str:
    if isinstance(example.claimed, int):
        return f"for T = 1 to {example.claimed}"
    return f"for T = {', '.join(map(str, example.claimed))}"


def _verdict(example: Counterexample, found: Replay) -> str:
    saved = f"saved: {example.ratio:.6g} times at T={example.steps}"
    if found.step is None:
        last = found.ratio[-1]
        return f"NOT EXCEEDED here: {example.of} is {last:.6g} times the bound at T={found.steps[-1]} ({saved})"
    at = found.step - 1
    times = f"{found.ratio[at]:.6g} times the bound {found.limit[at]:.6g}"
    return f"EXCEEDED: at T={found.step} {example.of} is {found.measured[at]:.6g}, {times} ({saved})"


def _data(example: Counterexample, found: Replay) -> dict[str, Any]:
    """The counterexample and what was found, as JSON values; numbers that are not finite are texts, as in a report."""
    from theorysim.report.data import plain

    names = ("steps", "measured", "limit", "ratio", "violated", "step", "environment")
    return {"counterexample": example.to_json(), **{name: plain(getattr(found, name)) for name in names}}
