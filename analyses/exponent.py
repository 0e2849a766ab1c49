"""The rate verdict: does a measured error follow the claimed power (or law) of the sweep variable?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from theorysim.analyses._rate_text import Rate, few_points, shortage
from theorysim.findings import Finding, Panel, Series, Verdict
from theorysim.model import TheorysimError
from theorysim.rates import fit_exponent, judge
from theorysim.registry import register_analysis
from theorysim.rivals import diagnose
from theorysim.statistics import Floats, Sample, arrange, mean_with_error
from theorysim.validation import positive

LOG_LARGEST = 700.0


@register_analysis
def exponent(
    x: ArrayLike,
    errors: ArrayLike,
    *,
    claim: float | None = None,
    law: Callable[[Any], Any] | ArrayLike | None = None,
    within: float = 0.1,
    one_sided: bool = False,
    exact: bool = False,
    label: str = "",
    variable: str = "T",
    quantity: str = "mean error",
    excluded: ArrayLike | None = None,
) -> Finding:
    """Judge the exponent of mean(errors) over a sweep of ``x`` against ``claim`` or ``law``.

    ``x`` (m,): the sweep variable, growing towards the limit the theorem speaks of (1/epsilon, not epsilon). ``errors``
    (R, m): positive, one row per seed, the same seeds at every point; or (m,) expected values with ``exact=True``, which
    are judged without noise. ``claim``: the exponent p in x^p. ``law``: instead, the claimed law itself, as values (m,) or
    a function of x, where it holds logarithms or several terms. ``within``: allowed distance of the exponent.
    ``one_sided``: only growth above the claim counts (an upper bound). ``excluded``: boolean mask (m,) of points that are
    shown but not fitted; it must not depend on the measured values, apart from a floor of the number format.

    Too few points, seeds or too short a range is UNDECIDED. A seed that is not finite makes the mean infinite: VIOLATED
    if ``one_sided``, else UNDECIDED. The best of several rival laws (rivals.py) is named in the reason of a doubtful claim and in
    ``details``; it decides nothing. Raises TheorysimError for shapes that do not match and for a law that is not positive.
    """
    positive("within", within)
    sample = arrange(x, errors, exact, excluded)
    curve = _claimed(x, claim, law)[sample.kept]
    window, axes = sample.window(), (variable, quantity)
    label = label or f"exponent of {variable}"
    broken = divergence(window) or unusable(window)
    if broken:
        verdict = Verdict.VIOLATED if one_sided and divergence(window) else Verdict.UNDECIDED
        return Finding(label, verdict, broken, predicted=claim, panels=(panel_of(sample, label, axes),))
    fit = fit_exponent(window.x, window.errors[0] if exact else window.errors, law=curve)
    log_mean = mean_with_error(window.errors, exact)[0]
    rival = diagnose(window.x, log_mean, claim, log_law=np.log(curve) if claim is None else None, name=variable)
    missing = shortage(window.x, fit.estimates, len(window.errors))
    rate = Rate(fit, judge(fit.estimates, within, one_sided), rival, within, one_sided, variable)
    found = rate.finding(label, fit.value - fit.theta if claim is None else float(claim), missing)
    guide = through("claimed law" if claim is None else f"slope {claim:g}", window.x, log_mean, curve)
    panels = (panel_of(sample, label, axes, guide, *rate.guide(window.x, found.verdict)),)
    return replace(found, panels=panels, details={**found.details, "points": len(window.x)})


def _claimed(x: ArrayLike, claim: float | None, law: Callable[[Any], Any] | ArrayLike | None) -> Floats:
    """The claimed law (m,) at the sorted sweep values."""
    grid = np.asarray(x, dtype=np.float64)
    if claim is not None and law is None:
        values: ArrayLike = grid ** float(claim)
    elif law is not None and claim is None:
        values = law(grid) if callable(law) else law
    else:
        raise TheorysimError("exponent needs either claim=p, the exponent of the sweep variable, or law=, the claimed law itself")
    curve: Floats = arrange(x, values, True).errors[0]
    if not (np.isfinite(curve) & (curve > 0)).all():
        raise TheorysimError("the claimed law must be positive and finite at every sweep value; leave out points where it is not")
    return curve


def divergence(sample: Sample) -> str:
    """Empty, or how many seeds hold a value that is not finite, so that their mean is infinite (never dropped)."""
    bad = np.isnan(sample.errors) | np.isposinf(sample.errors)
    if not bad.any():
        return ""
    first, count = sample.x[bad.any(axis=0)][0], bad.any(axis=1).sum()
    what = "the expected error is" if sample.exact else f"{count} of {len(bad)} seeds are"
    return f"{what} not finite (first at {first:g}), which makes the mean error infinite"


def unusable(window: Sample) -> str:
    """Empty, or why no exponent can be fitted at all."""
    if len(window.x) < 2:
        return few_points(len(window.x))
    if not (window.errors > 0).all():
        first = window.x[(window.errors <= 0).any(axis=0)][0]
        return f"an error is zero or negative (first at {first:g}) and a rate needs positive ones; exclude points below the floor"
    return ""


def through(label: str, x: Floats, log_mean: Floats, curve: Floats) -> Series:
    """The law, moved up or down to pass through the measured means."""
    moved = curve * np.exp(np.mean(log_mean - np.log(curve)))
    return Series(label, tuple(x.tolist()), tuple(moved.tolist()), "predicted")


def mean_series(sample: Sample) -> tuple[Series, ...]:
    """Means with their 95 % interval, then the excluded points; what a logarithmic axis cannot hold is left out."""
    drawable = (np.isfinite(sample.errors) & (sample.errors >= 0)).all(axis=0) & (sample.errors > 0).any(axis=0)
    shown, hidden = drawable & sample.kept, drawable & ~sample.kept
    log_mean, spread, df = mean_with_error(sample.errors[:, shown], sample.exact)
    band = stdtrit(df, 0.975) * spread
    # an interval may exceed every number where one seed carries the mean
    ends = [np.exp(np.clip(log_mean + sign * band, -LOG_LARGEST, LOG_LARGEST)) for sign in (-1, 1)]
    low, high = ((), ()) if len(sample.errors) == 1 else (tuple(end.tolist()) for end in ends)
    measured = Series("measured mean", tuple(sample.x[shown].tolist()), tuple(np.exp(log_mean).tolist()), "measured", low, high)
    if not hidden.any():
        return (measured,)
    means = sample.errors[:, hidden].mean(axis=0)
    return measured, Series("excluded", tuple(sample.x[hidden].tolist()), tuple(means.tolist()), "excluded")


def panel_of(sample: Sample, label: str, axes: tuple[str, str], *guides: Series) -> Panel:
    """Means, excluded points and guides over the names of the two axes; the kept points are the window."""
    window = sample.x[sample.kept]
    ends = (float(window[0]), float(window[-1])) if len(window) else None
    return Panel(label, *axes, (*mean_series(sample), *guides), window=ends)
