"""A bound that must hold on every run, at every recorded step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from theorysim.findings import Finding, Panel, Series, Verdict
from theorysim.model import Spec, TheorysimError
from theorysim.ratios import Floats, Ratios, against_bound
from theorysim.registry import register_analysis
from theorysim.trace import Trace


@register_analysis
def bound_ratio(
    traces: Sequence[Trace],
    *,
    of: str,
    bound: str,
    where: Mapping[str, Any] | None = None,
    label: str,
    slack: float = 1e-9,
) -> Finding:
    """VIOLATED if on one run, at one recorded step T >= 1, the measure ``of`` exceeds ``bound`` by more than ``slack``.

    ``bound`` is an expression in T, the problem's constants and the names of ``where``: a measure (``"max_distance:inf"``), a
    hyper-parameter (``"lr"``) or a number. A diverged run violates. Reports the supremum of measured / bound, where it is
    attained and its final value; a violation carries a reproducer: the run alone, from which the smallest counterexample is
    found. It is a statement about runs: no statistics. UNDECIDED where the bound is no number on some run.
    """
    names = where or {}
    found = [against_bound(trace, of, bound, names) for trace in traces]
    if not found or any(not len(each.steps) for each in found):
        raise TheorysimError(f"bound_ratio of {of!r} needs traces with a recorded step T >= 1; record more steps")
    top = int(np.argmax([_largest(each.ratio) for each in found]))
    row, record = np.unravel_index(int(np.argmax(_known(found[top].ratio))), found[top].ratio.shape)
    supremum, step = _largest(found[top].ratio), int(found[top].steps[record])
    unknown = next((i for i, each in enumerate(found) if np.isnan(each.ratio).any()), None)
    violated = supremum > 1 + slack
    runs = sum(len(trace.runs) for trace in traces)
    what = "expectations" if traces[top].cell.exact else "runs"
    reason = f"worst of {runs} {what}: {supremum:.4g} times the bound at T={step} on {traces[top].cell.problem}"
    if unknown is not None and not violated:
        reason = f"the bound {bound} is no number on some run on {traces[unknown].cell.problem}; elsewhere {reason}"
    return Finding(
        label=label,
        verdict=Verdict.VIOLATED if violated else Verdict.CONSISTENT if unknown is None else Verdict.UNDECIDED,
        reason=reason,
        measured=supremum if violated or unknown is None else float("nan"),
        predicted=1.0,
        limits=(0.0, 1.0 + slack),
        panels=(_panel(found[top], label),),
        details={"runs": runs, "worst step": step, "final ratio": float(np.max([each.ratio[:, -1].max() for each in found]))},
        reproducer=_reproducer(traces[top], found[top], (int(row), int(record)), (of, bound, names, slack))
        if violated and not traces[top].cell.exact
        else None,
    )


def _known(ratio: Floats) -> Floats:
    return np.nan_to_num(ratio, nan=-np.inf, posinf=np.inf, neginf=-np.inf)


def _largest(ratio: Floats) -> float:
    """The largest ratio that is known."""
    return float(_known(ratio).max())


def _panel(found: Ratios, label: str) -> Panel:
    steps = tuple(map(float, found.steps))
    floor = np.finfo(float).tiny
    curves = {"largest over runs": found.ratio.max(axis=0), "median over runs": np.median(found.ratio, axis=0)}
    series = [Series(name, steps, tuple(np.maximum(curve, floor))) for name, curve in curves.items()]
    ends = (steps[0], steps[-1])
    return Panel(label, "T", "measured / bound", (*series, Series("the bound", ends, (1.0, 1.0), "bound")))


def _reproducer(
    trace: Trace, found: Ratios, place: tuple[int, int], judged: tuple[str, str, Mapping[str, Any], float]
) -> dict[str, Any]:
    """What to run to see it: the run and the variant alone, what is judged there, and what came out at the worst step.

    The cell's ``record`` says at which steps the bound was judged. ``until`` is dropped: alone, the run goes as far as it went.
    """
    (row, _), (of, bound, where, slack) = place, judged
    cell = replace(
        trace.cell,
        algorithm=_alone(trace.cell.algorithm, row // trace.cell.runs),
        steps=int(trace.steps[-1]) if trace.cell.until is not None else trace.cell.steps,
        runs=1,
        first_run=int(trace.runs[row]),
        measure=tuple(dict.fromkeys([of, *(name for name in where.values() if name in trace.values)])),
        until=None,
    )
    return {
        "cell": cell.to_json(),
        "of": of,
        "bound": bound,
        "where": {name: source if isinstance(source, str) else float(source) for name, source in where.items()},
        "slack": slack,
        "step": int(found.steps[place[1]]),
        "measured": float(found.measured[place]),
        "limit": float(found.limit[place]),
        "ratio": float(found.ratio[place]),
    }


def _alone(spec: Spec, variant: int) -> Spec:
    """An algorithm with one value of every list, those of a wrapped algorithm included."""
    chosen = [
        (key, _alone(value, variant) if isinstance(value, Spec) else value[variant] if isinstance(value, tuple) else value)
        for key, value in spec.params
    ]
    return replace(spec, params=tuple(chosen))
