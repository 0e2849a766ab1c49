"""Does a bound that itself depends on the run hold in the mean over runs?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from theorysim.findings import Evidence, Finding, Panel, Series, Verdict
from theorysim.model import MIN_SEEDS, TheorysimError
from theorysim.ratios import against_bound
from theorysim.registry import register_analysis
from theorysim.statistics import LEVEL_CONSISTENT, LEVEL_VIOLATED, p_above
from theorysim.trace import Trace


@register_analysis
def bound_on_means(
    trace: Trace, *, of: str, bound: str, where: Mapping[str, Any] | None = None, label: str = "bound on means"
) -> Finding:
    """Judge "mean of ``of`` <= mean of ``bound``" over the runs of one trace, at every recorded step T >= 1, all at once.

    ``bound`` and ``where``: as in bound_ratio; on one run it may fail. The paired differences of a run, measured - bound, are
    tested against a mean of 0 by t tests: VIOLATED if one is above at level 0.01/m (Bonferroni over the m steps), CONSISTENT if
    all are below at level 0.02, else UNDECIDED, as with fewer than 8 runs. A run that is not finite makes the mean infinite:
    VIOLATED. UNDECIDED where the bound is no number on some run. ``measured``: the largest ratio of the means. Raises
    TheorysimError where the trace holds several variants or no step T >= 1.
    """
    found = against_bound(trace, of, bound, where or {})
    if trace.variants > 1 or not len(found.steps):
        raise TheorysimError(
            f"bound_on_means of {of!r} needs one variant and a recorded step T >= 1; run a cell for each variant"
        )
    seeds, points = found.measured.shape
    with np.errstate(all="ignore"):
        mean, limit = found.measured.mean(axis=0), found.limit.mean(axis=0)
        excess = found.measured - found.limit
        error = excess.std(axis=0, ddof=min(1, seeds - 1)) / np.sqrt(seeds)
        ratios = np.where(limit > 0, mean / limit, np.where(mean <= limit, 0.0, np.inf))
    steps = tuple(map(float, found.steps))
    panel = Panel(label, "T", "mean", (Series("measured", steps, tuple(mean)), Series("bound", steps, tuple(limit), "bound")))
    if not np.isfinite(found.measured).all():
        return Finding(label, Verdict.VIOLATED, "a run is not finite, so the mean is infinite", np.inf, 1.0, (0.0, 1.0))
    worst = int(np.argmax(ratios))
    text = f"largest mean / mean bound {ratios[worst]:.4g} at T={found.steps[worst]}"
    if seeds < MIN_SEEDS or not np.isfinite(found.limit).all():
        why = f"only {seeds} of the {MIN_SEEDS} runs that the rule needs" if seeds < MIN_SEEDS else "the bound is no number"
        return Finding(label, Verdict.UNDECIDED, f"{text}: {why}", None, 1.0, (0.0, 1.0), panels=(panel,))
    evidence = Evidence(
        seeds,
        min(1.0, points * float(p_above(mean, limit, error, seeds - 1).min())),
        float(p_above(limit, mean, error, seeds - 1).max()),
        float(error[worst] / limit[worst]),
        float(seeds - 1),
        f"{text}; exceeded beyond noise",
        f"{text}; below the bound at all {points} steps",
    )
    verdict, reason = Verdict.UNDECIDED, f"{text}; neither above nor below the bound beyond noise"
    if evidence.p_violated < LEVEL_VIOLATED:
        verdict, reason = Verdict.VIOLATED, evidence.violated
    elif evidence.p_consistent < LEVEL_CONSISTENT:
        verdict, reason = Verdict.CONSISTENT, evidence.consistent
    return Finding(label, verdict, reason, float(ratios[worst]), 1.0, (0.0, 1.0), panels=(panel,), evidence=evidence)
