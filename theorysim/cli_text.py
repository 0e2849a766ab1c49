"""How the command line prints: for a person on a terminal, for a program in a pipe."""

from __future__ import annotations

import inspect
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import click


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], header: bool = True) -> None:
    """Rows under their column names on a terminal; in a pipe one tab-separated line a row (``header``: the names too)."""
    cells = [[" ".join(_cell(value).split()) for value in row] for row in rows]
    if not sys.stdout.isatty():
        for line in [list(columns), *cells] if header else cells:
            click.echo("\t".join(line))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name, values in zip(columns, zip(*cells, strict=True), strict=False):
        numbers = all(_is_number(value) for value in values)
        table.add_column(Text(name), justify="right" if numbers else "left", overflow="fold")
    for line in cells:
        table.add_row(*map(Text, line))
    Console().print(table)


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def width() -> int:
    """Columns of running text: the terminal's, at most 100, which is as long as a line can be read."""
    return min(shutil.get_terminal_size().columns, 100)


def print_text(text: str, indent: str = "") -> None:
    """Paragraphs filled to the terminal; lines that the author indented keep their breaks."""
    for number, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        if number:
            click.echo()
        lines = paragraph.splitlines()
        kept = any(line.startswith((" ", "- ", "* ")) for line in lines)
        for line in lines if kept else [" ".join(lines)]:
            click.echo(filled(line, indent))


def filled(line: str, indent: str = "", hanging: str | None = None) -> str:
    """One line broken to the terminal, the first line after ``indent``, the others after ``hanging`` (default: the same)."""
    rest = indent if hanging is None else hanging
    return textwrap.fill(
        line, width(), initial_indent=indent, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def first_line(text: str | None) -> str:
    """The first line of a docstring."""
    return (text or "").strip().partition("\n")[0]
