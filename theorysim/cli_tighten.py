"""``theorysim tighten``: how hard an instance can be made for a bound."""

from __future__ import annotations

import json
import shlex
import textwrap
from pathlib import Path
from typing import Any

import click

from theorysim.backend import DEVICES
from theorysim.cli_arguments import parse_algorithm, parse_parameters, parse_value, worker_options
from theorysim.cli_watch import INTERRUPTED, watch
from theorysim.findings import Verdict
from theorysim.lab import LEVELS
from theorysim.model import Spec, TheorysimError
from theorysim.registry import problem
from theorysim.reproducer import FOLDER, from_reproducer
from theorysim.tighten import searched_claim, tighten
from theorysim.tightness import Tightness

_WIDTH = 80
_LATE = 0.9  # of the evaluations: what is found after that says that the search was too short
FILE, FIGURE = "tightness.json", "tightness"
COUNTEREXAMPLE = f"{FOLDER}/tightness.json"


@click.command("tighten", short_help="Look for the hardest instance of a bound.")
@click.argument("target", metavar="PAPER:CLAIM")
@click.option("--budget", type=int, metavar="N", default=200, show_default=True, help="Instances to try.")
@click.option("--level", type=click.Choice(LEVELS), default="quick", show_default=True, help="How many runs of each.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="Where to compute.")
@worker_options
@click.option("--seed", type=int, metavar="N", default=0, show_default=True, help="Seed of all random numbers.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder  [default: theorysim-report/tighten/PAPER-CLAIM]"
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def tighten_command(target: str, budget: int, out: Path | None, as_json: bool, **options: Any) -> int:
    """Look for the instance on which the bound of a claim is tightest.

    Varies the parameters of the problem and the algorithm within the claim's assumptions and prints measured / bound of a
    typical instance and of the hardest one found. For fixed-step methods also the exact worst case over all smooth convex
    functions, if theorysim[pep] is installed. Writes tightness.json and a figure.

    \b
    Exit code:  0  the bound holds on all that was tried
                1  the bound is exceeded
                2  the request cannot be met
    """
    from theorysim.report import prepare_folder

    paper, colon, claim = target.partition(":")
    if not colon or not claim:
        raise TheorysimError(f"{target!r} names no claim; write PAPER:CLAIM, see 'theorysim show {paper or 'PAPER'}'")
    searched_claim(paper, claim)
    folder = prepare_folder(out or Path("theorysim-report") / "tighten" / f"{paper}-{claim}")
    try:
        with watch(as_json) as (_, progress):
            found = tighten(paper, claim, budget, progress=progress, **options)
    except KeyboardInterrupt:
        click.echo("\nInterrupted. The same search starts anew when it is run again.", err=True)
        return INTERRUPTED
    data = _write(found, folder)
    click.echo(data if as_json else _report(found, folder))
    return found.exit_code


def _write(found: Tightness, folder: Path) -> str:
    """Write the figure and all numbers; returns the numbers as one line of JSON."""
    from theorysim.report.data import plain
    from theorysim.report.figures import panel_csv, render

    panel, data = found.panel(), plain(found.to_json() | {"command": command(found)})
    svg, png = render(panel, FIGURE)
    contents: dict[str, str | bytes] = {
        f"figures/{FIGURE}.svg": svg,
        f"figures/{FIGURE}.png": png,
        f"figures/{FIGURE}.csv": panel_csv(panel),
    }
    if found.reproducer is not None:
        example = from_reproducer(found.reproducer).to_json()
        contents[COUNTEREXAMPLE] = json.dumps(example, indent=1, allow_nan=False) + "\n"
    contents[FILE] = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        for name, content in contents.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise TheorysimError(f"{folder} cannot be written ({error.strerror or error}); choose another one with --out") from None
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


# ------------------------------------------------------------------------------------------------ what is printed
def _report(found: Tightness, folder: Path) -> str:
    search, hardest = found.search, found.hardest
    names = "; ".join(f"{name} is {source}" for name, source in search.where.items())
    exact = (
        f"after {hardest.step} steps, over all functions with the same constants"
        if found.worst_case is not None
        else found.why_not
    )
    rising = ", still rising: try a larger --budget" if found.settled > _LATE * len(found.history) > _LATE else ""
    rows = [
        ("typical", found.typical, f"median of {found.settings['runs']} runs of {search.algorithm} on {search.problem}"),
        (
            "hardest found",
            hardest.ratio,
            f"run {hardest.run}, T = {hardest.step}; 99 % of it after {found.settled} of {len(found.history)} instances{rising}",
        ),
        ("exact worst case", found.worst_case, exact),
        ("bound", 1.0, ""),
    ]
    lines = [
        _filled(f"{found.claim.paper.name}:{found.claim.name}: {search.of} <= {search.bound}{names and f', where {names}'}"),
        "",
        f"{'':18}measured / bound",
        *(_filled(f"{label:<18}{_number(value):<11}{about}", " " * 29) for label, value, about in rows),
        "",
        _filled(_verdict(found)),
        "",
        "The hardest run again:",
        _broken(command(found)) or _filled(f"the cell in {folder / FILE}", "  ", "  "),
        "",
        f"report    {folder / FILE}",
    ]
    if found.reproducer is not None:
        lines.append(f"replay    theorysim replay {folder / COUNTEREXAMPLE}")
    return "\n".join(lines)


def _verdict(found: Tightness) -> str:
    if found.verdict is Verdict.CONSISTENT:
        return f"{found.verdict}: no run exceeds the bound, the hardest reaches {100 * found.hardest.ratio:.3g} % of it"
    if found.reproducer is None:
        return f"{found.verdict}: the exact worst case exceeds the bound, though no run that was tried does"
    hardest = found.hardest
    return (
        f"{found.verdict}: {found.search.of} is {hardest.measured:.6g}, {hardest.ratio:.6g} times the bound {hardest.limit:.6g}"
    )


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.6g}"


def _filled(text: str, hanging: str = "  ", first: str = "") -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=first, subsequent_indent=hanging, break_on_hyphens=False)


def _broken(words: list[str]) -> str:
    """Words of a command on lines that a shell joins again, each option beside its value; a value may be longer than a line."""
    parts: list[str] = []
    for word in map(shlex.quote, words):
        if parts and parts[-1].startswith("-") and " " not in parts[-1]:
            parts[-1] += f" {word}"
        else:
            parts.append(word)
    lines = [" "]
    for part in parts:
        if len(lines[-1]) + len(part) + 3 > _WIDTH and lines[-1].strip():
            lines.append("     ")
        lines[-1] += f" {part}"
    return " \\\n".join(lines) if words else ""


# ------------------------------------------------------------------------------------------------ as a command
def command(found: Tightness) -> list[str]:
    """The words of the ``theorysim run`` that repeats the hardest run, as the last of its runs; none where no words say it."""
    hardest = found.hardest
    problem_words = [f"{key}={_word(value)}" for key, value in hardest.cell.problem.params]
    name, params = _nested(hardest.cell.algorithm)
    algorithm_words = [f"{key}={_word(value)}" for key, value in params.items()]
    try:
        said = (
            problem(hardest.cell.problem.name, **parse_parameters("-p", problem_words)),
            parse_algorithm(name, parse_parameters("-a", algorithm_words)),
        )
    except TheorysimError:
        return []
    if said != (hardest.cell.problem, hardest.cell.algorithm):
        return []
    words = ["theorysim", "run", hardest.cell.problem.name, name]
    words += [part for word in problem_words for part in ("-p", word)] + [
        part for word in algorithm_words for part in ("-a", word)
    ]
    options = {"--steps": hardest.step, "--runs": hardest.run + 1, "--seed": hardest.cell.seed, "--record": "last"}
    words += [str(part) for option in options.items() for part in option]
    return words + [part for measure in hardest.cell.measure for part in ("--measure", measure)]


def _nested(algorithm: Spec) -> tuple[str, dict[str, Any]]:
    """``average(adagrad)`` and the parameters of both."""
    inner = next(((key, value) for key, value in algorithm.params if isinstance(value, Spec)), None)
    own = {key: value for key, value in algorithm.params if inner is None or key != inner[0]}
    if inner is None:
        return algorithm.name, own
    name, params = _nested(inner[1])
    return f"{algorithm.name}({name})", params | own


def _word(value: Any) -> str:
    """A value as cli_arguments reads it."""
    if isinstance(value, tuple):
        return f"[{','.join(map(_word, value))}]"
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, str):
        return value if parse_value(value) == value else f'"{value}"'
    return repr(value)
