"""Several exponents from one regression: how a mean error scales with each of the variables of a joint sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from theorysim.analyses._rate_text import Rate, shortage
from theorysim.analyses.exponent import divergence, panel_of, through, unusable
from theorysim.findings import Finding, Verdict, together
from theorysim.model import TheorysimError
from theorysim.rates import NAMES, Estimates, Judgement, contrasts, estimate, fit_of, judge
from theorysim.registry import register_analysis
from theorysim.rivals import diagnose
from theorysim.statistics import LEVEL_CONSISTENT, TOLERANCE, Floats, Sample, jackknife, log_means, mean_with_error, p_above
from theorysim.validation import finite, positive, unknown

MIN_VALUES = 4
OWN_SHARE = 0.05  # of its spread on the log scale that a variable must not share with the others


@register_analysis
def exponents(
    variables: Mapping[str, ArrayLike],
    errors: ArrayLike,
    *,
    claims: Mapping[str, float],
    within: float | Mapping[str, float] = 0.1,
    one_sided: bool = False,
    exact: bool = False,
    label: str = "",
    quantity: str = "mean error",
) -> Finding:
    """Judge the exponents of mean(errors) ~ prod_v v^claims[v] over ``n`` points of several sweep variables, together.

    ``variables``: name -> values (n,), a grid or any scatter of points. ``errors`` (R, n): positive, one row per seed, the same
    seeds at every point; or (n,) expected values with ``exact=True``. ``claims``: the exponents claimed, one part each; a
    variable without a claim is held fixed like the others. ``within``: allowed distance of every exponent, or by name.
    ``one_sided``: only growth above the claims counts (upper bounds).

    Every part is judged by the rule of ``exponent`` with the numbers of the joint regression of log mean on the log of all
    variables. UNDECIDED: fewer than 7 points or 4 values, a range below 100, fewer than 8 seeds, or a variable that runs along
    with the others. A seed that is not finite: VIOLATED if ``one_sided``, else UNDECIDED. Raises TheorysimError for shapes that
    do not match, sweep values that are not positive and finite, and claims on unknown variables.
    """
    points = _points(variables, errors, exact)
    if not claims:
        raise TheorysimError(f"exponents needs claims={{name: exponent}} for at least one of {', '.join(points.x)}")
    for name in claims:
        if name not in points.x:
            raise unknown("sweep variable", name, points.x)
    parts = []
    for name, claim in claims.items():
        if isinstance(within, Mapping) and name not in within:
            raise TheorysimError(f"within= says nothing about {name!r}; give a distance for each of {', '.join(claims)}")
        distance = positive("within", within[name] if isinstance(within, Mapping) else within)
        parts.append(_part(points, name, finite("claim", claim), distance, one_sided, quantity))
    return together(*parts, label=label or f"exponents of {', '.join(claims)}")


@dataclass(frozen=True)
class _Points:
    """``x``: name -> values (n,); ``errors`` (R, n), one row if exact."""

    x: Mapping[str, Floats]
    errors: Floats
    exact: bool

    def along(self, name: str, factor: Floats | float = 1.0) -> Sample:
        """The errors times ``factor`` (n,) in the order of one variable."""
        order = np.argsort(self.x[name], kind="stable")
        return Sample(self.x[name][order], (self.errors * factor)[:, order], np.ones(len(order), dtype=bool), self.exact)

    def others(self, name: str) -> list[str]:
        return [other for other in self.x if other != name]

    def beside(self, name: str) -> Floats | None:
        """The other variables (q, n), or None."""
        return np.stack([self.x[other] for other in self.others(name)]) if len(self.x) > 1 else None

    def design(self, *names: str) -> Floats:
        """1 and the log of each variable about its mean, (n, 1 + names)."""
        logs = [np.log(self.x[name]) for name in names]
        return np.stack([np.ones(self.errors.shape[1]), *(each - each.mean() for each in logs)], axis=1)


def _points(variables: Mapping[str, ArrayLike], errors: ArrayLike, exact: bool) -> _Points:
    x = {name: np.asarray(values, dtype=np.float64) for name, values in variables.items()}
    table = np.atleast_2d(np.asarray(errors, dtype=np.float64))
    if not x or table.ndim != 2 or not table.size or any(values.shape != table.shape[1:] for values in x.values()):
        shapes = ", ".join(f"{name} {values.shape}" for name, values in x.items())
        raise TheorysimError(
            f"variables {shapes or '(none)'} and errors {table.shape} do not fit together; "
            "give every variable as (n,) and errors as (seeds, n) or (n,)"
        )
    if exact and len(table) != 1:
        raise TheorysimError(f"exact expectations are one row (n,), got {len(table)} rows; leave out exact=True for seeds")
    for name, values in x.items():
        if not (np.isfinite(values) & (values > 0)).all():
            raise TheorysimError(
                f"the values of {name} must be positive and finite; give 1/epsilon for a variable that goes to 0"
            )
    return _Points(x, table, exact)


def _part(points: _Points, name: str, claim: float, within: float, one_sided: bool, quantity: str) -> Finding:
    """The finding on one variable, the others held fixed."""
    label, sample, others = f"exponent of {name}", points.along(name), points.others(name)
    if broken := divergence(sample) or unusable(sample) or _unfit(points, name):
        verdict = Verdict.VIOLATED if one_sided and divergence(sample) else Verdict.UNDECIDED
        return Finding(label, verdict, broken, predicted=claim, panels=(panel_of(sample, label, (name, quantity)),))
    x, fitted = points.x[name], _fitted(points)
    errors = points.errors[0] if points.exact else points.errors
    plain = estimate(x, errors, claim * np.log(x), points.exact, points.beside(name))
    numbers = _with_misfit(points, name, plain, fitted.scatter)
    changes = {other: _interaction(points, name, other) for other in others}
    judged, remarks = _with_interactions(judge(numbers, within, one_sided), numbers, changes, within, one_sided)
    rest = fitted.others(name)
    shown, log_mean = points.along(name, np.exp(-rest)), (fitted.log_mean - rest)[np.argsort(x, kind="stable")]
    rival = diagnose(shown.x, log_mean, claim, name=name)
    fit = fit_of(numbers, claim, (float(shown.x[0]), float(shown.x[-1])))
    rate = Rate(fit, judged, rival, within, one_sided, name, remarks)
    found = rate.finding(label, claim, shortage(x, plain, len(points.errors), name))
    guides = through(f"slope {claim:g}", shown.x, log_mean, shown.x**claim), *rate.guide(shown.x, found.verdict)
    axes = (name, f"{quantity}, effect of {', '.join(others)} divided out" if others else quantity)
    details = {
        **found.details,
        "points": len(x),
        "misfit": fitted.scatter if np.isfinite(fitted.scatter) else None,
        "interactions": changes,
    }
    doubt = numbers is not plain and fitted.scatter > 0 and found.verdict is Verdict.UNDECIDED
    off = (
        f"; the points lie {100 * fitted.scatter:.2g} % off a product of powers, and only a full grid keeps variables apart then"
    )
    panels = (panel_of(shown, label, axes, *guides),)
    return replace(found, reason=found.reason + (off if doubt else ""), panels=panels, details=details)


def _unfit(points: _Points, name: str) -> str:
    """Empty, or why the variable has no exponent of its own."""
    values = len(np.unique(np.round(np.log(points.x[name]), 9)))
    if values < MIN_VALUES:
        return f"{name} takes only {values} of the {MIN_VALUES} different values that the rule needs"
    x, design = points.design(name)[:, 1], points.design(*points.others(name))
    rest = x - design @ np.linalg.lstsq(design, x)[0]
    share = float(rest @ rest / (x @ x))
    if share < OWN_SHARE:
        return (
            f"{name} runs along with the other variables (only {100 * share:.1f} % of its spread is its own); vary it by itself"
        )
    return ""


@dataclass(frozen=True)
class _Fitted:
    """The product of powers fitted to the log means (n,): log ``effects`` (n,) by name, about their means. ``scatter``: how far
    the log means lie from it beyond noise, root mean square; infinite where too few points are left to tell."""

    log_mean: Floats
    effects: Mapping[str, Floats]
    scatter: float

    def others(self, name: str) -> Floats:
        """The effect of all variables but one."""
        return sum((effect for other, effect in self.effects.items() if other != name), np.zeros(len(self.log_mean)))


def _fitted(points: _Points) -> _Fitted:
    design = points.design(*points.x)
    log_mean, error, _ = mean_with_error(points.errors, points.exact)
    powers = np.linalg.lstsq(design, log_mean)[0]
    rest, left = log_mean - design @ powers, len(log_mean) - design.shape[1]
    noise = 0.0 if points.exact else float(np.mean(error**2))
    scatter = float(np.sqrt(max(0.0, float(rest @ rest) / left - noise))) if left > 0 else np.inf
    effects = dict(zip(points.x, (design * powers).T[1:], strict=True))
    return _Fitted(log_mean, effects, scatter)


def _with_misfit(points: _Points, name: str, numbers: Estimates, scatter: float) -> Estimates:
    """The numbers with errors that allow for a bend in another variable, of the size of ``scatter``.

    On a grid such a bend cannot leak into this variable's slope, as the contrast sums to zero at every value of the others; at
    scattered points it can.
    """
    weights = contrasts(points.x[name], points.beside(name)).weights
    leak = np.zeros(len(weights))
    for other in points.others(name):
        values, place = np.unique(np.round(np.log(points.x[other]), 9), return_inverse=True)
        leak += np.sum((weights @ (place[:, None] == np.arange(len(values)))) ** 2, axis=1)
    open_to = leak > TOLERANCE**2 * np.sum(weights**2, axis=1)
    if not open_to.any():
        return numbers
    extra = np.where(open_to, scatter * np.sqrt(leak), 0.0)
    error = {each: np.hypot(numbers.error[each], more) for each, more in zip(NAMES, extra, strict=True)}
    return replace(numbers, error=error, df=np.minimum(numbers.df, max(1, len(points.x[name]) - len(points.x) - 1)))


def _interaction(points: _Points, name: str, other: str) -> dict[str, float] | None:
    """By how much the exponent of one variable changes from the smallest to the largest value of another, with its error."""
    design, x, z = points.design(*points.x), points.design(name)[:, 1], points.design(other)[:, 1]
    rest = x * z - design @ np.linalg.lstsq(design, x * z)[0]
    if len(x) <= design.shape[1] or not rest @ rest > TOLERANCE * ((x * z) @ (x * z)):
        return None
    weights = rest * (np.ptp(z) / (rest @ rest))
    log_mean, left_out = log_means(points.errors)
    error = 0.0 if points.exact else float(jackknife(left_out @ weights[:, None])[0])
    return {"change": float(weights @ log_mean), "error": error}


def _with_interactions(
    judged: Judgement, numbers: Estimates, changes: Mapping[str, dict[str, float] | None], within: float, one_sided: bool
) -> tuple[Judgement, dict[str, str]]:
    """CONSISTENT only if the exponent stays inside over the range of every other variable; with the words for those where not."""
    remarks: dict[str, str] = {}
    theta = float(numbers.value["theta"])
    for other, found in changes.items():
        if found is None or not p_above(abs(found["change"]), TOLERANCE, found["error"], numbers.df) < LEVEL_CONSISTENT:
            continue
        if not (theta if one_sided else abs(theta)) + abs(found["change"]) / 2 < within:
            text = f"it changes by {found['change']:+.3f} from the smallest to the largest {other}"
            remarks[f"I {other}"] = text.replace("{", "{{").replace("}", "}}")
    if not remarks:
        return judged, remarks
    consistent = {**judged.consistent, **dict.fromkeys(remarks, np.asarray(False))}
    return replace(judged, consistent=consistent, p_consistent=np.ones_like(judged.p_consistent)), remarks
