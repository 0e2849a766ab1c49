"""A number inside stated limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theorysim.findings import Finding, Panel, Verdict
from theorysim.registry import register_analysis


@register_analysis
def band(
    value: ArrayLike,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    label: str,
    predicted: float | None = None,
    panels: tuple[Panel, ...] = (),
    details: Mapping[str, Any] | None = None,
) -> Finding:
    """CONSISTENT if ``low <= value <= high``, else VIOLATED; a value that is not a number is VIOLATED.

    Of several values, an array of any shape, the worst decides: one that is not a number before all others, then the one
    farthest outside or nearest to an edge. The reason tells the distance to the nearer edge, so that a narrow pass is seen.
    """
    value = _worst(np.asarray(value, dtype=float).ravel(), low, high)
    inside = low <= value <= high
    edges = [edge for edge in (low, high) if math.isfinite(edge)]
    edge = min(edges, key=lambda limit: abs(value - limit), default=math.inf)
    allowed = f"[{low:.6g}, {high:.6g}]"
    where = (
        f"{abs(value - edge):.2g} {'inside' if inside else 'outside'} the nearer edge" if math.isfinite(value) else "not finite"
    )
    return Finding(
        label=label,
        verdict=Verdict.CONSISTENT if inside else Verdict.VIOLATED,
        reason=f"{value:.6g} is {'in' if inside else 'not in'} {allowed}, {where}",
        measured=value,
        predicted=predicted,
        limits=(low, high),
        panels=panels,
        details=details or {},
    )


def _worst(values: NDArray[np.float64], low: float, high: float) -> float:
    """Python's own max would pass over a value that is not a number, and with it over a diverged run."""
    with np.errstate(invalid="ignore"):
        room = np.minimum(values - low, high - values)
    return float(values[np.argmin(np.where(np.isnan(values), -math.inf, np.nan_to_num(room, nan=math.inf, posinf=math.inf)))])
