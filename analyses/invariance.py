"""Two runs that a theorem says are the same run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from theorysim.findings import Finding, Panel, Series, Verdict
from theorysim.registry import register_analysis
from theorysim.trace import Trace


@register_analysis
def invariance(
    one: Trace, other: Trace, *, measures: Sequence[str], tolerance: float = 1e-10, scale: float = 1.0, label: str
) -> Finding:
    """CONSISTENT if the measures of two runs differ by at most ``tolerance`` at every recorded step, on every row.

    The largest difference over all steps counts, not the last one: two methods that both converge end in the same point.
    ``scale`` multiplies the other run's values first. With measures ``coordinate:j`` this compares trajectories.
    """
    differences = [np.abs(one[name] - scale * other[name]) for name in measures]
    with np.errstate(invalid="ignore"):
        over_time = np.max(np.stack(differences), axis=(0, 1))
    largest = float(over_time.max())
    step = int(one.steps[int(np.argmax(over_time))])
    holds = largest <= tolerance
    floor = np.finfo(float).tiny
    curve = Series("largest difference", tuple(map(float, one.steps[1:])), tuple(np.maximum(over_time[1:], floor)))
    limit = Series("allowed", (float(one.steps[1]), float(one.steps[-1])), (tolerance, tolerance), "limit")
    return Finding(
        label=label,
        verdict=Verdict.CONSISTENT if holds else Verdict.VIOLATED,
        reason=f"largest difference over {len(one.steps)} steps is {largest:.2g} (at step {step}), allowed {tolerance:.2g}",
        measured=largest,
        predicted=0.0,
        limits=(0.0, tolerance),
        panels=(Panel(label, "step", "difference", (curve, limit)),),
        details={"worst step": step},
    )
