"""What a run ends with."""

from __future__ import annotations

from theorysim.model import Outcome
from theorysim.registry import register_analysis


@register_analysis
def final(measure: str = "gap") -> Outcome:
    """The value of a measure (see measures/) after the last step, ``(variants, runs)``; not finite where the run diverged."""
    return Outcome(f"final {measure}", lambda trace: trace.split(trace[measure][:, -1]), measure=(measure,))
