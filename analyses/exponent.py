"""The rate verdict: does a measured error follow the claimed power (or law) of the sweep variable?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from theorysim.findings import Evidence, Finding, Panel, Series, Verdict
from theorysim.model import MIN_SEEDS, TheorysimError
from theorysim.rates import NAMES, Fit, Judgement, fit_exponent, judge, seeds_needed
from theorysim.registry import register_analysis
from theorysim.statistics import LEVEL_CONSISTENT, Floats, Sample, arrange, mean_with_error, p_above
from theorysim.validation import positive

MIN_POINTS = 7
MIN_RANGE = 100.0
LOG_LARGEST = 700.0

# What each condition of the rule says when it is the first to fail.
OPEN = {
    "C1": "it is not shown to lie within {within:g} of the claim",
    "C2": "a drift of the local slope by {limit:.3g} is not excluded",
    "C2 one-sided": "the slope at the end of the window is not shown to exceed the claim by less than {limit:.3g}",
    "C3": "the last third of the window is off the claim by {t3:+.3f}",
    "V1": "it is off the claim by more than {within:g}, but not significantly",
    "V2": "the later half of the window is off the claim by {H:+.3f} only",
    "V3": "a drift back to the claim is not excluded",
    "V4": "a drift towards the claim by {twice:g} is not excluded",
    "V5": "the local slope drifts towards the claim",
}


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
    if ``one_sided``, else UNDECIDED. Raises TheorysimError for shapes that do not match and for a law that is not positive.
    """
    positive("within", within)
    sample = arrange(x, errors, exact, excluded)
    curve = _claimed(x, claim, law)[sample.kept]
    window = sample.window()
    label = label or f"exponent of {variable}"
    broken = divergence(window) or _unusable(window)
    if broken:
        verdict = Verdict.VIOLATED if one_sided and divergence(window) else Verdict.UNDECIDED
        return Finding(label, verdict, broken, predicted=claim, panels=(_panel(sample, label, (variable, quantity), None),))
    fit = fit_exponent(window.x, window.errors[0] if exact else window.errors, law=curve)
    judged = judge(fit.estimates, within, one_sided)
    evidence, shortage = _evidence(fit, judged, within, one_sided), _shortage(window, fit)
    verdict, reason = _verdict(fit, judged, evidence, shortage, within, one_sided)
    predicted = fit.value - fit.theta if claim is None else float(claim)
    limits = (-np.inf if one_sided else predicted - within, predicted + within)
    name = "claimed law" if claim is None else f"slope {claim:g}"
    guide = Series(name, tuple(window.x.tolist()), _through(window, curve), "predicted")
    return Finding(
        label,
        verdict,
        reason,
        measured=fit.value,
        predicted=predicted,
        limits=limits,
        interval=fit.interval,
        panels=(_panel(sample, label, (variable, quantity), guide),),
        details=_details(fit, judged, window),
        evidence=None if exact or shortage else evidence,
    )


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


def _unusable(window: Sample) -> str:
    if len(window.x) < 2:
        return f"only {len(window.x)} of the {MIN_POINTS} sweep points that the rule needs"
    if not (window.errors > 0).all():
        first = window.x[(window.errors <= 0).any(axis=0)][0]
        return f"an error is zero or negative (first at {first:g}) and a rate needs positive ones; exclude points below the floor"
    return ""


def _shortage(window: Sample, fit: Fit) -> str:
    points, spread, seeds = len(window.x), window.x[-1] / window.x[0], len(window.errors)
    if points < MIN_POINTS:
        return f"only {points} of the {MIN_POINTS} sweep points that the rule needs"
    if spread < MIN_RANGE * (1 - 1e-9):
        return f"the window spans a factor of {spread:.3g}; the rule needs {MIN_RANGE:g}"
    if any(np.isnan(fit.estimates.value[part]) for part in ("t1", "t2", "t3")):
        return "a third of the window (on the log scale) holds fewer than two sweep points; space them evenly there"
    if seeds < MIN_SEEDS and not window.exact:
        return f"only {seeds} of the {MIN_SEEDS} seeds that the rule needs (or exact expectations)"
    return ""


def _found(fit: Fit, one_sided: bool) -> str:
    spread = "" if fit.interval is None else f" [{fit.interval[0]:.3f}, {fit.interval[1]:.3f}]"
    return f"exponent {fit.value:.3f}{spread} against {'at most ' if one_sided else ''}{fit.value - fit.theta:.3g}"


def _evidence(fit: Fit, judged: Judgement, within: float, one_sided: bool) -> Evidence:
    found, error, df = _found(fit, one_sided), fit.standard_errors["theta"], float(fit.estimates.df)
    faster = one_sided and p_above(-within, fit.theta, error, df) < LEVEL_CONSISTENT
    return Evidence(
        fit.seeds,
        float(judged.p_violated),
        float(judged.p_consistent),
        error,
        df,
        f"{found}: off by more than {within:g}, in the later half too, with no drift back to the claim",
        f"{found}: {'faster, not tight here' if faster else f'within {within:g} and no drift'}",
        float(judged.p_drift),
    )


def _verdict(
    fit: Fit, judged: Judgement, evidence: Evidence, shortage: str, within: float, one_sided: bool
) -> tuple[Verdict, str]:
    if shortage:
        return Verdict.UNDECIDED, f"{_found(fit, one_sided)}: {shortage}"
    if judged.is_violated:
        return Verdict.VIOLATED, evidence.violated
    if judged.is_consistent:
        return Verdict.CONSISTENT, evidence.consistent
    return Verdict.UNDECIDED, f"{_found(fit, one_sided)}: {_open_question(fit, judged, within, one_sided)}"


def _open_question(fit: Fit, judged: Judgement, within: float, one_sided: bool) -> str:
    """The first failed condition of the nearer verdict, the drift, and the seeds that could decide."""
    outside = (fit.theta if one_sided else abs(fit.theta)) >= within
    failed = next(name for name, holds in (judged.violated if outside else judged.consistent).items() if not holds)
    key = "C2 one-sided" if failed == "C2" and one_sided else failed
    values = {name: float(value) for name, value in fit.estimates.value.items()}
    text = OPEN[key].format(within=within, twice=2 * within, limit=judged.drift_limit, **values)
    return f"{text}; {_drift(fit, within)}{_outlook(fit, judged, within, one_sided)}"


def _drift(fit: Fit, within: float) -> str:
    numbers = fit.estimates
    if not p_above(abs(fit.drift), 0.0, numbers.error["D"], numbers.df) < LEVEL_CONSISTENT:
        return f"no significant drift (D = {fit.drift:+.3f} +- {fit.standard_errors['D']:.3f})"
    if abs(fit.theta) < within:
        meaning = "the curve bends"
    elif fit.theta * fit.drift < 0:
        meaning = "towards the claim: a transient (start the window later) or a log factor"
    else:
        meaning = "away from the claim: a floor, or a geometric law"
    return f"the local slope drifts by D = {fit.drift:+.3f}, as {float(numbers.value['k']):+.2f} log factors would: {meaning}"


def _outlook(fit: Fit, judged: Judgement, within: float, one_sided: bool) -> str:
    numbers = fit.estimates
    if not numbers.seeds:
        return ""
    limit = judge(numbers.noiseless(), within, one_sided)
    if not (limit.is_violated or limit.is_consistent):
        return "; more seeds alone would not decide it if these means are right"
    needed = float(seeds_needed(numbers, within, judged.drift_limit, one_sided))
    return f"; about {needed:.0f} seeds are needed" if np.isfinite(needed) else ""


def _details(fit: Fit, judged: Judgement, window: Sample) -> dict[str, Any]:
    numbers = fit.estimates
    value = {name: float(v) for name, v in numbers.value.items()}
    step = value["t2"] - value["t1"]
    found = {
        **value,
        **{f"se_{name}": fit.standard_errors[name] for name in NAMES},
        "ratio_of_thirds": (value["t3"] - value["t2"]) / step if step else np.nan,
        "d_max": judged.drift_limit,
        "d_log": numbers.log_drift,
        "b_log": numbers.log_slope,
        "p_V": float(judged.p_violated),
        "p_drift": float(judged.p_drift),
        "p_C": float(judged.p_consistent),
        "df": float(numbers.df),
        "n_eff": float(numbers.n_eff),
    }
    conditions = {name: bool(holds) for name, holds in {**judged.violated, **judged.consistent}.items()}
    plain = {name: number if np.isfinite(number) else None for name, number in found.items()}
    return {**plain, "seeds": numbers.seeds, "points": len(window.x), "conditions": conditions}


def _through(window: Sample, curve: Floats) -> tuple[float, ...]:
    """The law, moved up or down to pass through the measured means."""
    shift = np.mean(mean_with_error(window.errors, window.exact)[0] - np.log(curve))
    return tuple((curve * np.exp(shift)).tolist())


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


def _panel(sample: Sample, label: str, axes: tuple[str, str], guide: Series | None) -> Panel:
    window = sample.x[sample.kept]
    ends = (float(window[0]), float(window[-1])) if len(window) else None
    series = mean_series(sample) if guide is None else (*mean_series(sample), guide)
    return Panel(label, *axes, series, window=ends)
