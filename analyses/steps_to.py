"""How many steps until the error has come down to a fraction of its start?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorysim.model import Outcome
from theorysim.registry import register_analysis
from theorysim.validation import positive


@register_analysis
def steps_to(relative: float) -> Outcome:
    """The first step t with f(output_t) - f* <= relative * (f(w_1) - f*), ``(variants, runs)``; NaN where a run never gets there.

    It stops a batch early: a run's values end when its first variant has arrived. So the outcome of a batch of several
    variants is complete for the fastest variant of each run only; ``sweep`` asks for more where it needs more.
    Raises TheorysimError unless ``relative`` is above 0.
    """
    level = positive("relative", relative)

    def read(trace: Any) -> NDArray[np.float64]:
        gap = trace["gap"]
        hit = gap <= level * gap[:, :1]
        first = np.where(hit.any(axis=1), trace.steps[hit.argmax(axis=1)], np.nan)
        return np.asarray(trace.split(first))

    return Outcome(f"steps to {level:g} of the first gap", read, record="all", until=level)
