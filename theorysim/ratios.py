"""A measurement against its bound, at every recorded step of a trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorysim.bounds import Bound
from theorysim.trace import Trace

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ratios:
    """``steps``: ``(records,)``, the recorded T >= 1. ``measured``, ``limit`` (the bound's value) and ``ratio``:
    ``(rows, records)``.

    ``ratio`` is measured / limit where the limit is positive; a limit of 0 or below is kept (0) or exceeded (inf). A measurement
    that is not finite exceeds every bound (inf). Where the bound itself is no number, the ratio is NaN: nothing can be said.
    What a run left unmeasured after it had reached ``until`` counts as 0.
    """

    steps: NDArray[np.int64]
    measured: Floats
    limit: Floats
    ratio: Floats


def against_bound(trace: Trace, of: str, bound: str, where: Mapping[str, Any]) -> Ratios:
    """The measure ``of`` against ``bound``, an expression in T, the problem's constants and the names of ``where``.

    ``where``: name -> a measure of the trace, a hyper-parameter or a number. Raises TheorysimError for unknown names.
    """
    later = trace.steps >= 1
    steps, measured = trace.steps[later], trace[of][:, later]
    values: dict[str, Any] = {name: trace.constant(name)[:, None] for name in trace.constants}
    values |= {name: _value(trace, source, later) for name, source in where.items()}
    values["T"] = steps[None, :].astype(float)
    with np.errstate(all="ignore"):
        limit = np.broadcast_to(np.asarray(Bound(bound)(values), dtype=float), measured.shape)
        ratio = np.where(limit > 0, measured / limit, np.where(measured <= limit, 0.0, np.inf))
    ratio = np.where(np.isnan(limit), np.nan, ratio)
    ratio = np.where(np.isfinite(measured), ratio, np.inf)
    return Ratios(steps, measured, limit, np.where(_stopped(trace)[:, later], 0.0, ratio))


def _value(trace: Trace, source: Any, later: NDArray[np.bool_]) -> Any:
    if not isinstance(source, str):
        return float(source)
    return trace[source][:, later] if source in trace.values else trace.hyper(source)[:, None]


def _stopped(trace: Trace) -> NDArray[np.bool_]:
    """``(rows, records)``: whether the row's run had reached ``until`` before; what is missing there is no divergence."""
    if trace.cell.until is None:
        return np.zeros((len(trace.runs), len(trace.steps)), dtype=bool)
    gap = trace.split(trace["gap"])
    with np.errstate(invalid="ignore"):
        hit = (gap <= trace.cell.until * gap[:, :, :1]).any(axis=0)
    before = np.cumsum(hit, axis=1) - hit > 0
    return np.broadcast_to(before, gap.shape).reshape(len(trace.runs), -1)
