"""The slope of a log-log line inside stated limits: a card's own band, no statistics (for those see exponent)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from theorysim.analyses.band import band
from theorysim.findings import Finding, Panel, Series
from theorysim.registry import register_analysis


@register_analysis
def slope(
    x: Sequence[float],
    y: ArrayLike,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    label: str,
    predicted: float | None = None,
    variable: str = "T",
    quantity: str = "error",
) -> Finding:
    """Least-squares slope of ln y on ln x, ``x`` and ``y`` of shape ``(m,)``, judged by ``band``.

    A value that is not positive and finite (a diverged run, a target never reached) makes the slope undefined: VIOLATED.
    """
    points, values = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    usable = bool((np.isfinite(values) & (values > 0)).all())
    fitted, level = np.polyfit(np.log(points), np.log(values), 1) if usable else (math.nan, math.nan)
    series = [Series(label, tuple(points), tuple(values))]
    if usable and predicted is not None:
        middle = np.exp(np.log(points).mean())
        guide = np.exp(level + fitted * np.log(middle)) * (points / middle) ** predicted
        series.append(Series(f"slope {predicted:g}", tuple(points), tuple(guide), "predicted"))
    panel = Panel(label, variable, quantity, tuple(series))
    return band(float(fitted), low, high, label=label, predicted=predicted, panels=(panel,))
