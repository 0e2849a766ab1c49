"""Does an upper bound on an expectation hold at every checkpoint?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from theorysim.analyses.exponent import LOG_LARGEST, divergence, mean_series
from theorysim.findings import Evidence, Finding, Panel, Series, Verdict
from theorysim.model import MIN_SEEDS, TheorysimError
from theorysim.registry import register_analysis
from theorysim.statistics import LEVEL_CONSISTENT, LEVEL_VIOLATED, BoundTests, Floats, Sample, arrange, bound_tests


@register_analysis
def bound_in_expectation(
    x: ArrayLike,
    errors: ArrayLike,
    bound: ArrayLike,
    *,
    exact: bool = False,
    label: str = "",
    variable: str = "T",
    excluded: ArrayLike | None = None,
) -> Finding:
    """Judge "mean(errors) <= bound" at the checkpoints ``x`` (m,), all at once.

    ``errors``: (R, m), one row per seed, or (m,) expected values with ``exact=True``. ``bound`` (m,): the theorem's
    right-hand side. ``excluded``: boolean mask (m,) of points that are shown but not judged.

    z_j = log mean - log bound, with a jackknife error and Kish degrees of freedom per checkpoint. VIOLATED if some z_j is
    above 0 at level 0.01/m (Bonferroni), CONSISTENT if every z_j is below 0 at level 0.02. The log scale is deliberate: the
    upper end of a t interval for a skewed mean is too low on the plain scale. A seed that is not finite makes the mean
    infinite: VIOLATED. ``measured``: the largest mean/bound. Raises TheorysimError for shapes that do not match.
    """
    sample = arrange(x, errors, exact, excluded)
    limit = arrange(x, bound, True).errors[0]
    if not (np.isfinite(limit) & (limit > 0)).all():
        raise TheorysimError("the bound must be positive and finite at every checkpoint; leave out points where it is not")
    window, label = sample.window(), label or f"bound over {variable}"
    curve = Series("bound", tuple(sample.x.tolist()), tuple(limit.tolist()), "bound")
    ends = (float(window.x[0]), float(window.x[-1])) if len(window.x) else None
    panels = (Panel(label, variable, "mean error", (*mean_series(sample), curve), window=ends),)
    if diverged := divergence(window):
        return Finding(label, Verdict.VIOLATED, diverged, predicted=1.0, limits=(0.0, 1.0), panels=panels)
    if unusable := _unusable(window):
        return Finding(label, Verdict.UNDECIDED, unusable, predicted=1.0, limits=(0.0, 1.0), panels=panels)
    return _judged(label, window, bound_tests(window.errors, np.log(limit[sample.kept]), exact), panels)


def _unusable(window: Sample) -> str:
    if not len(window.x):
        return "no checkpoint is left to judge"
    if (window.errors < 0).any():
        first = window.x[(window.errors < 0).any(axis=0)][0]
        return f"an error is negative (first at {first:g}); a bound in expectation is checked for errors of at least 0"
    if len(window.errors) < MIN_SEEDS and not window.exact:
        return f"only {len(window.errors)} of the {MIN_SEEDS} seeds that the rule needs (or exact expectations)"
    return ""


def _judged(label: str, window: Sample, tests: BoundTests, panels: tuple[Panel, ...]) -> Finding:
    """The verdict from the tests at the checkpoints (m,)."""
    z, error, df = tests.z, tests.error, tests.df
    worst = int(np.argmax(z))
    ratios = np.exp(np.minimum(z, LOG_LARGEST))
    ratio = float(ratios[worst])
    reach = 0.0 if window.exact else float(stdtrit(df[worst], 0.975) * error[worst])
    low, high = (float(np.exp(np.clip(z[worst] + end, -LOG_LARGEST, LOG_LARGEST))) for end in (-reach, reach))
    interval = None if window.exact or np.isnan(reach) else (low, high)
    found, over, seeds = (
        f"largest mean/bound {ratio:.4g} at {window.x[worst]:g}",
        int(np.argmin(tests.p_above)),
        len(window.errors),
    )
    evidence = Evidence(
        seeds,
        float(tests.p_violated),
        float(tests.p_consistent),
        float(error[worst]),
        float(df[worst]),
        f"{found}; exceeded beyond noise at {window.x[over]:g} by a factor {ratios[over]:.4g}",
        f"{found}; below the bound at all {len(z)} checkpoints",
    )
    if evidence.p_violated < LEVEL_VIOLATED:
        verdict, reason = Verdict.VIOLATED, evidence.violated
    elif evidence.p_consistent < LEVEL_CONSISTENT:
        verdict, reason = Verdict.CONSISTENT, evidence.consistent
    else:
        unclear = np.flatnonzero(~(tests.p_below < LEVEL_CONSISTENT))
        verdict, reason = Verdict.UNDECIDED, f"{found}; {_open_question(window, z, error, df, unclear)}"
    details = {"p_V": evidence.p_violated, "p_C": evidence.p_consistent, "worst_at": float(window.x[worst]), "points": len(z)}
    details |= {"seeds": 0 if window.exact else seeds}
    noise = None if window.exact else evidence
    return Finding(label, verdict, reason, ratio, 1.0, (0.0, 1.0), interval, panels=panels, details=details, evidence=noise)


def _open_question(window: Sample, z: Floats, error: Floats, df: Floats, unclear: NDArray[np.intp]) -> str:
    """Where it is open, and the seeds after which the noise is as small as the distance to the bound."""
    text = f"neither above nor below the bound beyond noise at {len(unclear)} of {len(z)} checkpoints"
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = stdtrit(df, 1 - LEVEL_VIOLATED / len(z)) * error / np.abs(z)
    needed = len(window.errors) * float(np.max(reach[unclear]) ** 2)
    return f"{text}; about {np.ceil(needed):.0f} seeds are needed" if needed < 1e6 else f"{text}; seeds alone will not decide it"
