"""What a long command shows while it works: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from theorysim.executors import Progress
from theorysim.store import CellsNotKept
from theorysim.traffic import ClusterFault

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as LiveBar

INTERRUPTED = 130  # exit code
_SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def warnings_in_a_line() -> Iterator[None]:
    """Our own warnings are one line on stderr, without the place in the code that Python adds."""
    usual = warnings.formatwarning

    def formatted(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
        ours = issubclass(category, CellsNotKept | ClusterFault)
        return f"Warning: {message}\n" if ours else usual(message, category, filename, lineno, line)

    warnings.formatwarning = formatted
    try:
        yield
    finally:
        warnings.formatwarning = usual


@contextmanager
def watch(as_json: bool) -> Iterator[tuple[Console, Progress]]:
    """Where results are printed, and who hears of cells: a bar if stderr is a terminal, else a line now and then."""
    from rich.console import Console

    errors = Console(stderr=True, highlight=False, markup=False)
    results = errors if as_json else Console(highlight=False, markup=False)
    if not errors.is_terminal:
        yield results, _Lines()
        return
    with _live_bar(errors) as bar:
        # What is printed above a living bar must pass through its console; a stdout that is no terminal shows no bar.
        yield errors if results.is_terminal else results, _Bar(bar)


def _live_bar(console: Console) -> LiveBar:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    text = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), text, BarColumn(20), MofNCompleteColumn(), TextColumn("cells"), TimeElapsedColumn())
    # Warnings go to stderr by themselves; a stdout that is no terminal must not be touched.
    return Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=True)


class _Bar:
    def __init__(self, live: LiveBar) -> None:
        self.live, self.task = live, live.add_task("starting", total=None)

    def __call__(self, what: str, done: int, total: int) -> None:
        self.live.update(self.task, description=what, completed=done, total=total)


class _Lines:
    """A line when a claim begins, and then at most one every few seconds: a log, not a flood."""

    def __init__(self) -> None:
        self.what, self.last = "", 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self.what or now - self.last >= _SECONDS_BETWEEN_LINES:
            self.what, self.last = what, now
            click.echo(f"{what}: {done} of {total} cells", err=True)
