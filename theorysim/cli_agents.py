"""``theorysim agents``: one process per agent, under mpiexec."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from theorysim.backend import CPU
from theorysim.build import build_problem
from theorysim.cli_arguments import parse_algorithm, parse_parameters, parse_value
from theorysim.cli_text import filled, print_table
from theorysim.distributed import Gathered, agreed, run_agents, simulated, world
from theorysim.measures import View, build_measure
from theorysim.model import Algorithm, Array, Cell, TheorysimError
from theorysim.noise import Draws
from theorysim.registry import problem

_ROWS = 24  # of the printed table: a screen
_MEASURES = {"gap of the mean": "gap_iterate", "distance": "agents_distance", "disagreement": "disagreement"}
_REFUSED, _CRASH = 2, 70
_AS_IT_IS = Algorithm(lambda problem, x0: x0, lambda state, oracle: state)  # the points are known already


@click.command("agents", short_help="Run a method with one process per agent.")
@click.argument("problem_name", metavar="PROBLEM")
@click.argument("algorithm_name", metavar="ALGORITHM")
@click.option("-p", "problem_words", metavar="KEY=VALUE", multiple=True, help="A parameter of the problem.")
@click.option("-a", "algorithm_words", metavar="KEY=VALUE", multiple=True, help="A parameter of the algorithm.")
@click.option("--steps", type=int, default=1000, show_default=True, help="Steps of every agent.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers, known to all agents.")
@click.option("--record", metavar="STEPS", default="log", show_default=True, help="log, all, last or a list.")
@click.option("--compare", is_flag=True, help="Then simulate the same run in one process and print the difference.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the points of all agents.")
def agents_command(**options: Any) -> None:
    """Run ALGORITHM on PROBLEM with one process per agent, which holds its own data and talks to its neighbours only.

    \b
    mpiexec -n 4 theorysim agents decentralized_quadratic extra -p m=4 -a lr=1/L_loc --compare
    mpiexec -n 8 theorysim agents decentralized_regression dgd -p m=8 -p graph=star -a lr=1/L_loc --csv points.csv

    Needs the extra mpi: pip install 'theorysim[mpi]'. Every run is the one that theorysim run simulates with the same
    parameters and seed, up to rounding. The first process collects the points at the end, prints gap and distances, and
    with --compare the largest difference from the simulation in any coordinate.
    """
    communicator = world()
    leads = communicator.Get_rank() == 0
    try:
        cell = agreed(communicator, lambda: _cell(leads, **options))
        gathered = run_agents(cell, communicator)
    except TheorysimError:
        if leads:
            raise
        raise click.exceptions.Exit(_REFUSED) from None  # the same in every process: said once
    except Exception:
        traceback.print_exc()
        communicator.Abort(_CRASH)  # the others would wait for ever
        raise
    if gathered is not None:
        _report(cell, gathered, options["csv_file"], options["compare"])


def _cell(
    leads: bool,
    problem_name: str,
    algorithm_name: str,
    problem_words: tuple[str, ...],
    algorithm_words: tuple[str, ...],
    steps: int,
    seed: int,
    record: str,
    csv_file: Path | None,
    compare: bool,
) -> Cell:
    """What is asked for, or TheorysimError, before anything is computed."""
    what = problem(problem_name, **parse_parameters("-p", problem_words))
    how = parse_algorithm(algorithm_name, parse_parameters("-a", algorithm_words))
    if leads and csv_file is not None and (csv_file.is_dir() or not os.access(csv_file.absolute().parent, os.W_OK)):
        raise TheorysimError(f"cannot write {csv_file}; give a file in a folder that exists and that you may write")
    value = parse_value(record)
    listed = value if isinstance(value, list) else [value]
    recorded = tuple(listed) if all(isinstance(step, int) for step in listed) else record
    return Cell(what, how, steps, record=recorded, seed=seed)


# ------------------------------------------------------------------------------------------------ in the first process
def _report(cell: Cell, gathered: Gathered, csv_file: Path | None, compare: bool) -> None:
    if csv_file is not None:
        _write(gathered, csv_file)
    click.echo(filled(f"problem   {cell.problem}", hanging=" " * 10))
    click.echo(filled(f"algorithm {cell.algorithm}", hanging=" " * 10))
    count, edges = len(gathered.sent), np.count_nonzero(gathered.sent + gathered.sent.T) // 2
    click.echo(f"agents    {count}, one process each; {gathered.sent.sum()} vectors sent over {edges} edges\n")
    print_table(("step", *_MEASURES), _table(cell, gathered))
    if compare:
        difference = float(np.max(np.abs(gathered.points - simulated(cell).points)))
        click.echo(f"\nlargest difference from the simulation: {difference:.3g}")


class _Points(NamedTuple):
    """A state of all agents together, as measures read it."""

    agents: Array

    @property
    def x(self) -> Array:
        return self.agents.mean(axis=1)


def _table(cell: Cell, gathered: Gathered) -> list[tuple[Any, ...]]:
    """One line a step, thinned out to fill about a screen, first and last kept."""
    whole = build_problem(cell.problem, Draws(CPU, cell.seed, np.arange(cell.runs)))
    measures = [build_measure(name) for name in _MEASURES.values()]
    shown = np.unique(np.linspace(0, len(gathered.steps) - 1, _ROWS).round().astype(int))
    rows = []
    for record in shown:
        step, state = int(gathered.steps[record]), _Points(gathered.points[record])
        view = View(whole, _AS_IT_IS, state, step, None, None, gathered.calls)
        rows.append((step, *(float(measure.value(view, None)[0]) for measure in measures)))
    return rows


def _write(gathered: Gathered, path: Path) -> None:
    """A line an agent and recorded step, all digits."""
    records, _, agents, dim = gathered.points.shape
    steps, names = np.repeat(gathered.steps, agents), np.tile(np.arange(agents), records)
    table = np.column_stack([steps, names, gathered.points[:, 0].reshape(-1, dim)])
    header = ",".join(["step", "agent", *(f"x_{k}" for k in range(dim))])
    np.savetxt(path, table, fmt="%.17g", delimiter=",", header=header, comments="")
