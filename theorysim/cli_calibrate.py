"""``theorysim calibrate``: the error rates of the verdict rule, measured; a report folder and an exit code out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from theorysim.backend import one_blas_thread
from theorysim.check import check_claims
from theorysim.cli_watch import watch
from theorysim.validation import non_negative

WIDTH = 80


@click.command("calibrate", short_help="Measure how often the verdict rule itself errs.")
@click.option("--quick", is_flag=True, help="Fewer replicates and cells: about a minute instead of ten.")
@click.option("--seed", type=int, metavar="N", default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", default=Path("theorysim-report/verdict_rule"),
              show_default=True, help="Report folder.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def calibrate_command(quick: bool, seed: int, out: Path, as_json: bool) -> int:
    """Measure how often the verdict rule itself errs, on planted laws with planted noise.

    Coverage of the intervals, false and missed verdicts at fixed and at growing seeds, bounds, several claims at once: each
    rate with its Monte Carlo error, its limit and the documented figure. The controls are the rule broken in one place.
    Writes report.html, findings.json, table.csv and figures.

    \b
    Exit code:  0  all rates inside their limits, all controls as they must
                1  a rate outside, or a control that failed its duty
                2  the request cannot be met
                3  undecided
               70  a defect of theorysim
    """
    from theorysim.calibration import CLAIMS, PAPER
    from theorysim.report import claim_text, prepare_folder, report_data, summary, write_report

    non_negative("--seed", seed)
    prepare_folder(out)
    with watch(as_json) as (console, progress), one_blas_thread():
        console.print(f"{PAPER.name}: {len(CLAIMS)} claims, level {'quick' if quick else 'full'}\n")
        report = check_claims(
            PAPER,
            CLAIMS,
            level="quick" if quick else "full",
            device="cpu",
            seed=seed,
            progress=progress,
            on_claim=lambda found: console.print(claim_text(found), soft_wrap=True),
        )
        data = report_data(report)
        page = write_report(data, out)
        for line in rate_lines(data):
            console.print(line, soft_wrap=True)
        console.print("", summary(data), f"  report    {page}\n", sep="\n", soft_wrap=True)
    if as_json:
        click.echo(json.dumps(data, ensure_ascii=False, allow_nan=False))
    return report.exit_code


def rate_lines(data: dict[str, Any]) -> Iterator[str]:
    """The tables of all claims, at most 80 columns: what is measured as a heading, its experiments below it."""
    for claim in data["claims"]:
        for table in claim["finding"]["tables"]:
            yield f"\n{table['title']}"
            columns, rows = table["columns"], [[_cell(value) for value in row] for row in table["rows"]]
            widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
            grouped = sum(widths) + 2 * len(widths) > WIDTH or len({row[0] for row in rows}) < len(rows)
            first = 1 if grouped else 0
            yield _line(columns[first:], widths[first:])
            for heading, group in groupby(rows, key=lambda row: row[0]):
                if grouped:
                    yield f"  {heading}"[:WIDTH]
                yield from (_line(row[first:], widths[first:]) for row in group)


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    """The first cell to the left, the others to the right."""
    (name, width), *others = zip(cells, widths, strict=True)
    return "  ".join([f"    {name:<{width}}", *(f"{cell:>{size}}" for cell, size in others)]).rstrip()[:WIDTH]


def _cell(value: Any) -> str:
    return "" if value is None else str(value)
