"""The measured rows as CSV, as a table in Markdown, and between the marks of a page."""

from __future__ import annotations

import csv
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

from speed_measure import OURS, Row

BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def markdown(rows: Sequence[Row], device: str = "cpu") -> str:
    """One line for each experiment; speeds in millions of coordinate updates a second."""
    names = list(dict.fromkeys(row.name for row in rows))
    others = [name for name in names if name != OURS]
    head = ["runs x coordinates", "steps", "noise", "method", *names, *(f"x {name}" for name in others)]
    lines = [machine(device), "", _line(head), _line(["---"] * 4 + ["---:"] * (len(head) - 4))]
    for (size, steps, sigma, method), group in groupby(rows, lambda row: (row.size, row.steps, row.sigma, row.method)):
        found = {row.name: row for row in group}
        ratios = [f"{_digits(r.ratio)} ({_digits(r.low)} to {_digits(r.high)})" for r in (found[name] for name in others)]
        speeds = [_digits(found[name].speed / 1e6) for name in names]
        lines.append(_line([size, str(steps), f"{sigma:g}" if sigma else "none", method, *speeds, *ratios]))
    return "\n".join([*lines, "", first_calls(rows)])


def first_calls(rows: Sequence[Row]) -> str:
    longest = {name: max(row.first for row in rows if row.name == name) for name in dict.fromkeys(row.name for row in rows)}
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in longest.items())
    return f"The first call, which is left out above, took longer by up to: {parts}."


def machine(device: str) -> str:
    """What it was measured on."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "jax", "optax"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {cores} cores, {platform.system()}, device {device}; Python {platform.python_version()}, {packages}."


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def write_csv(rows: Iterable[Row], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def write_page(table: str, page: Path) -> None:
    """Put the table between the two marks of the page."""
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{page} must hold the lines {BEGIN} and {END} once each")
    before, rest = text.split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _digits(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
