"""A bound that must hold on every run, at every recorded step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorysim.bounds import Bound
from theorysim.findings import Finding, Panel, Series, Verdict
from theorysim.registry import register_analysis
from theorysim.trace import Trace

Array = NDArray[np.float64]


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
    attained and its final value; a violation carries a reproducer. It is a statement about runs: no statistics.
    """
    ratios = [ratios_of(trace, of, bound, where or {}) for trace in traces]
    suprema = [float(ratio.max()) for ratio in ratios]
    top = int(np.argmax(suprema))
    row, record = np.unravel_index(int(np.argmax(ratios[top])), ratios[top].shape)
    step = int(_later(traces[top])[record])
    violated = suprema[top] > 1 + slack
    runs = sum(len(trace.runs) for trace in traces)
    what = f"{suprema[top]:.4g} times the bound at T={step} on {traces[top].cell.problem}"
    return Finding(
        label=label,
        verdict=Verdict.VIOLATED if violated else Verdict.CONSISTENT,
        reason=f"worst of {runs} runs: {what}",
        measured=suprema[top],
        predicted=1.0,
        limits=(0.0, 1.0 + slack),
        panels=(_panel(traces[top], ratios[top], label),),
        details={"runs": runs, "worst step": step, "final ratio": max(float(ratio[:, -1].max()) for ratio in ratios)},
        reproducer=_reproducer(traces[top], int(row), step, suprema[top]) if violated else None,
    )


def ratios_of(trace: Trace, of: str, bound: str, where: Mapping[str, Any]) -> Array:
    """measured / bound, ``(rows, records with T >= 1)``; 0/0 counts as 0 and a non-finite measurement as infinity."""
    later = trace.steps >= 1
    values: dict[str, Any] = {name: trace.constant(name)[:, None] for name in trace.constants}
    values |= {name: _value(trace, source, later) for name, source in where.items()}
    values["T"] = _later(trace)[None, :].astype(float)
    measured = trace[of][:, later]
    with np.errstate(all="ignore"):
        limit = np.broadcast_to(np.asarray(Bound(bound)(values), dtype=float), measured.shape)
        ratio = np.where(measured == 0, 0.0, measured / limit)
    return np.where(np.isfinite(measured), np.nan_to_num(ratio, nan=np.inf), np.inf)


def _value(trace: Trace, source: Any, later: NDArray[np.bool_]) -> Any:
    if not isinstance(source, str):
        return source
    return trace[source][:, later] if source in trace.values else trace.hyper(source)[:, None]


def _later(trace: Trace) -> NDArray[np.int64]:
    return trace.steps[trace.steps >= 1]


def _panel(trace: Trace, ratio: Array, label: str) -> Panel:
    steps = tuple(map(float, _later(trace)))
    floor = np.finfo(float).tiny
    curves = {"largest over runs": ratio.max(axis=0), "median over runs": np.median(ratio, axis=0)}
    series = [Series(name, steps, tuple(np.maximum(curve, floor))) for name, curve in curves.items()]
    ends = (steps[0], steps[-1])
    return Panel(label, "T", "measured / bound", (*series, Series("the bound", ends, (1.0, 1.0), "bound")))


def _reproducer(trace: Trace, row: int, step: int, ratio: float) -> dict[str, Any]:
    """What to run to see it: the cell, the run and the variant, the step, and the ratio there."""
    variant = {name: values[row].item() for name, values in trace.parameters.items()}
    return {"cell": trace.cell.to_json(), "run": int(trace.runs[row]), "variant": variant, "step": step, "ratio": ratio}
