"""The page a referee reads: one HTML file without scripts and without anything to fetch."""

from __future__ import annotations

import html
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from theorysim.findings import Verdict
from theorysim.report.data import Data, count, counterexample_file, drawings, everything, leaves, tables
from theorysim.report.mathml import display, formula, prose
from theorysim.report.numbers import allowed, distance, headline, is_limit, tightest_first, typeset

SHOWN_PARTS = 8  # a claim with more parts shows the decisive ones, and all of them on request
SHOWN_FIGURES = 4
SIGNS = {"CONSISTENT": "✓", "VIOLATED": "✗", "UNDECIDED": "?"}
KINDS = {
    "upper": "an upper bound must hold; how far below it the measurement stays is reported, not judged",
    "tight": "the bound must hold and be reached",
    "rate": "the exponent of a power law must come out",
    "band": "a number must lie inside stated limits",
    "separation": "one method must be better than another by a stated factor",
    "identity": "two quantities must be equal to rounding",
    "threshold": "a change of behaviour must occur at a stated place",
    "invariance": "a transformation must change nothing",
}


def page(data: Data, figures: Mapping[str, str]) -> str:
    """The whole page. ``figures``: inline SVG by the names of ``drawings``."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "num": typeset,
        "prose": lambda text: Markup(prose(str(text))),
        "statement": lambda latex: Markup(display(latex)),
        "bound": lambda claim: Markup(_bound(claim)),
        "cell": lambda value: Markup(_cell(value)),
        "flat": _flat,
    }
    environment.globals |= {"signs": SIGNS}
    source = files("theorysim.report").joinpath("page.html.jinja").read_text(encoding="utf-8")
    claims = [_view(number, claim, figures) for number, claim in enumerate(data["claims"], 1)]
    controls = [control for claim in data["claims"] for control in claim["controls"]]
    return environment.from_string(source).render(
        data=data,
        claims=claims,
        tally=", ".join(f"{number} {verdict.lower()}" for verdict, number in count(data["claims"]).items() if number),
        controls=len(controls),
        failed=sum(not control["as_it_must"] for control in controls),
        used={claim["kind"]: KINDS.get(claim["kind"], "") for claim in data["claims"]},
    )


def _view(index: int, claim: Data, figures: Mapping[str, str]) -> Data:
    """A claim with what the template shows of it, worked out."""
    from markupsafe import Markup

    drawn = [
        item._asdict() | {"title": item.panel.title, "svg": Markup(figures[item.name])}  # the file's name, its owner, its control
        for item in drawings(claim)
    ]
    ranked = [_line(path, leaf) for path, leaf in tightest_first(claim["finding"])]
    open_leaves = sum(line["verdict"] != Verdict.CONSISTENT for line in ranked)
    own = [figure for figure in drawn if figure["control"] is None]
    best = headline(claim["finding"])
    return claim | {
        "index": index,
        "anchor": f"claim-{index}",
        "best": _line(*best) if best else None,
        "figures": own[:SHOWN_FIGURES],
        "more_figures": own[SHOWN_FIGURES:],
        "tables": [_columns(table) for _, table in tables(claim["finding"])],
        "top": ranked[: max(5, min(open_leaves, SHOWN_PARTS))] if len(ranked) > SHOWN_PARTS else [],
        "parts": [_line(path, leaf) for path, leaf in leaves(claim["finding"])],
        "noted": [line for line in ranked if line["details"]] if claim["finding"]["parts"] else [],
        "tally": ", ".join(f"{number} {verdict.lower()}" for verdict, number in count(ranked).items() if number),
        "fired": sum(control["as_it_must"] for control in claim["controls"]),
        "counterexample_file": counterexample_file(claim),
        "reproducers": [item for item in everything(claim["finding"]) if item["reproducer"] and not claim["counterexample"]][:1],
        "controls": [
            control | {"figures": [figure for figure in drawn if figure["control"] == place]}
            for place, control in enumerate(claim["controls"])
        ],
    }


def _line(path: str, leaf: Data) -> Data:
    return leaf | {"path": path, "allowed": allowed(leaf, typeset), "distance": distance(leaf), "is_limit": is_limit(leaf)}


def _flat(details: Data, prefix: str = "") -> list[tuple[str, Any]]:
    """Nested details as (name, value) lines."""
    lines: list[tuple[str, Any]] = []
    for key, value in details.items():
        lines += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return lines


def _columns(table: Data) -> Data:
    """A table with the columns that hold nothing but numbers, which are set to the right."""
    numeric = [column for column in range(len(table["columns"])) if all(_is_number(row[column]) for row in table["rows"])]
    return table | {"numeric": numeric}


def _is_number(value: Any) -> bool:
    return value is None or value in ("inf", "-inf", "nan") or (isinstance(value, int | float) and not isinstance(value, bool))


def _cell(value: Any) -> str:
    if isinstance(value, str) and value in SIGNS:
        return f'<span class="badge {value}">{SIGNS[value]} {value}</span>'
    return prose(value) if isinstance(value, str) and not _is_number(value) else html.escape(typeset(value))


def _bound(claim: Data) -> str:
    latex = claim["bound_latex"]
    return formula(latex, block=True) if latex else f"<code>{html.escape(claim['bound'])}</code>"
