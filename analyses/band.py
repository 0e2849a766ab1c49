"""A number inside stated limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from theorysim.model import Finding, Panel, Verdict
from theorysim.registry import register_analysis


@register_analysis
def band(
    value: float,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    label: str,
    predicted: float | None = None,
    panels: tuple[Panel, ...] = (),
    details: Mapping[str, Any] | None = None,
) -> Finding:
    """CONSISTENT if ``low <= value <= high``, else VIOLATED; a value that is not a number is VIOLATED.

    The reason tells the distance to the nearer edge, so that a narrow pass is seen.
    """
    value = float(value)
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
