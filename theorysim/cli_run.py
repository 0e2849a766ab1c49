"""``theorysim run``: one experiment from the shell."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from theorysim.backend import DEVICES, select
from theorysim.cli_arguments import parse_algorithm, parse_parameters, parse_value
from theorysim.cli_text import filled, print_table
from theorysim.measures import MEASURES
from theorysim.model import Cell, TheorysimError
from theorysim.moments import EXPECTATIONS, run_exact
from theorysim.registry import problem
from theorysim.run import run
from theorysim.trace import OK, Trace
from theorysim.validation import one_of

_ROWS = 24  # of the printed table: a screen
_FIGURES = (".pdf", ".png", ".svg")


@click.command("run", short_help="Run one experiment.")
@click.argument("problem_name", metavar="PROBLEM")
@click.argument("algorithm_name", metavar="ALGORITHM")
@click.option("-p", "problem_words", metavar="KEY=VALUE", multiple=True, help="A parameter of the problem.")
@click.option("-a", "algorithm_words", metavar="KEY=VALUE", multiple=True, help="A parameter of the algorithm.")
@click.option("--steps", type=int, default=1000, show_default=True, help="Steps of every run.")
@click.option("--runs", type=int, default=1, show_default=True, help="Independent runs of every variant.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--measure", "measures", metavar="NAME", multiple=True, help="What to record, again for more  [default: gap]")
@click.option("--record", metavar="STEPS", help="log, all, last or a list  [default: log; with --until all]")
@click.option("--until", type=float, metavar="RATIO", help="Stop once the gap of every run is RATIO of its first.")
@click.option("--exact", is_flag=True, help="The expectation itself in place of runs, where it can be computed.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw the first measure: .png, .svg, .pdf.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE", help="Write all values as a table.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="Where to compute.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def run_command(
    problem_name: str,
    algorithm_name: str,
    problem_words: tuple[str, ...],
    algorithm_words: tuple[str, ...],
    measures: tuple[str, ...],
    record: str | None,
    plot: Path | None,
    csv_file: Path | None,
    as_json: bool,
    exact: bool,
    **options: Any,
) -> None:
    """Run ALGORITHM on PROBLEM; print constants and measured values.

    \b
    theorysim run anisotropic_quadratic adagrad -p dim=50 -a lr=0.1,1 --runs 8
    theorysim run anisotropic_quadratic adagrad -a "lr=D_inf_0/sqrt(2)"
    theorysim run anisotropic_quadratic "average(adagrad)" --plot gap.png
    theorysim run least_squares mass --exact --steps 1000000 --measure decay

    VALUE is a number, true, false, none, a list ([0.1,1] or 0.1,1) or text; quotes inside make anything text. A list
    for the algorithm is one variant per value, text is an expression in the constants of the problem. A run that
    diverges is a result, not an error.
    """
    _writable(plot, csv_file)
    what = problem(problem_name, **parse_parameters("-p", problem_words))
    how = parse_algorithm(algorithm_name, parse_parameters("-a", algorithm_words))
    steps = _recorded(record, options["until"])
    record_as: Any = steps if isinstance(steps, str) else tuple(steps)
    if exact:
        cell = Cell(
            what, how, options["steps"], options["runs"], measures or ("gap",), record_as, options["until"], options["seed"]
        )
        trace = run_exact(replace(cell, exact=True), select(options["device"]))
    else:
        trace = run(what, how, measure=measures or ("gap",), record=steps, **options)
    if plot is not None:
        _draw(trace, plot)
    if csv_file is not None:
        trace.frame().to_csv(csv_file, index=False)
    if as_json:
        click.echo(json.dumps(_data(trace)))
    else:
        _print(trace)


run_command.epilog = f"Measures: {', '.join(MEASURES)}. With --exact: {', '.join(EXPECTATIONS)}."


def _writable(plot: Path | None, csv_file: Path | None) -> None:
    """Refuse before computing what could not be written afterwards."""
    if plot is not None:
        one_of("--plot ending", plot.suffix.lower(), _FIGURES)
    for path in (plot, csv_file):
        if path is not None and (path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK)):
            raise TheorysimError(f"cannot write {path}; give a file in a folder that exists and that you may write")


def _draw(trace: Trace, path: Path) -> None:
    figure = trace.plot(measure=trace.cell.measure[0]).get_figure(root=True)
    assert figure is not None
    figure.savefig(path, bbox_inches="tight")


def _recorded(record: str | None, until: float | None) -> Any:
    if record is None:
        return "log" if until is None else "all"
    value = parse_value(record)
    steps = value if isinstance(value, list) else [value]
    return steps if all(isinstance(step, int) for step in steps) else record


def _print(trace: Trace) -> None:
    for label, text in (("problem", trace.cell.problem), ("algorithm", trace.cell.algorithm), ("device", trace.environment)):
        click.echo(filled(f"{label:<9} {text}", hanging=" " * 10))
    click.echo("\nConstants")
    print_table(("name", "value"), [(name, _spread(value)) for name, value in trace.constants.items()], header=False)
    if trace.cell.exact:
        click.echo("Expectation over the noise")
        print_table((*trace.parameters, "step", "measure", "value"), [row[:-2] for row in _rows(trace)])
    else:
        click.echo(f"Over {trace.cell.runs} run{'s' * (trace.cell.runs > 1)}")
        print_table((*trace.parameters, "step", "measure", "mean", "min", "max"), _rows(trace))
    for variant, status in enumerate(trace.split(trace.status)):
        bad = status[status != OK]
        if len(bad):
            where = ", ".join(f"{name}={values[variant]}" for name, values in _by_variant(trace).items())
            click.echo(f"diverged: {len(bad)} of {len(status)} runs{where and f' of {where}'}, first at step {bad.min()}")


def _rows(trace: Trace) -> list[tuple[Any, ...]]:
    """One line a variant, measure and step; steps are thinned out, first and last kept, to fill about a screen."""
    count = max(2, _ROWS // (trace.variants * len(trace.values)))
    shown = np.unique(np.linspace(0, len(trace.steps) - 1, count).round().astype(int))
    rows = []
    for variant in range(trace.variants):
        head = [values[variant] for values in _by_variant(trace).values()]
        for name, table in trace.values.items():
            for column in shown:
                runs = trace.split(table)[variant, :, column]
                with np.errstate(all="ignore"):
                    rows.append((*head, trace.steps[column], name, float(runs.mean()), float(runs.min()), float(runs.max())))
    return rows


def _by_variant(trace: Trace) -> dict[str, list[Any]]:
    """The hyper-parameters that vary, one value per variant."""
    return {name: trace.split(values)[:, 0].tolist() for name, values in trace.parameters.items()}


def _spread(value: Any) -> str:
    """A number, or the range of a constant that differs by run."""
    low, high = np.min(value), np.max(value)
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"


def _data(trace: Trace) -> dict[str, Any]:
    """The whole trace as JSON values; numbers that are not finite are the texts "inf", "-inf" and "nan", as in a report."""
    from theorysim.report.data import plain

    names = ("steps", "runs", "status", "parameters", "constants", "values", "oracle_calls", "communications", "environment")
    return {"cell": trace.cell.to_json(), **{name: plain(getattr(trace, name)) for name in names}}
