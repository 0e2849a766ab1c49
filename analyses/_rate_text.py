"""From the numbers of one exponent to its finding: verdict, reason in words, evidence and details."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from theorysim.findings import Evidence, Finding, Series, Verdict
from theorysim.model import MIN_SEEDS
from theorysim.rates import NAMES, Estimates, Fit, Judgement, judge, seeds_needed
from theorysim.rivals import Diagnosis
from theorysim.statistics import LEVEL_CONSISTENT, TOLERANCE, Floats, p_above

MIN_POINTS = 7
MIN_RANGE = 100.0
MOST_SEEDS = 1e5  # what a user might still run

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
    "V5": "it may be settling to the claim",
}


def few_points(points: int) -> str:
    return f"only {points} of the {MIN_POINTS} sweep points that the rule needs"


def shortage(x: Floats, numbers: Estimates, seeds: int, name: str = "the window") -> str:
    """Empty, or what the rule lacks to judge an exponent over the sweep values ``x`` (m,)."""
    spread = x.max() / x.min()
    if len(x) < MIN_POINTS:
        return few_points(len(x))
    if spread < MIN_RANGE * (1 - 1e-9):
        return f"{name} spans a factor of {spread:.3g}; the rule needs {MIN_RANGE:g}"
    if any(np.isnan(numbers.value[part]) for part in ("t1", "t2", "t3")):
        return f"a third of {name} holds too few sweep points; space 4, 6, 7 or more values evenly on the log scale"
    if numbers.seeds and seeds < MIN_SEEDS:
        return f"only {seeds} of the {MIN_SEEDS} seeds that the rule needs (or exact expectations)"
    return ""


@dataclass(frozen=True)
class Rate:
    """One exponent of the sweep ``variable``: its fit, the rule's answer, and what the curve looks like beside the claim.

    Only ``judged`` decides; ``rival`` goes into words and details. ``remarks``: what conditions beyond those of the rule say
    when they fail.
    """

    fit: Fit
    judged: Judgement
    rival: Diagnosis
    within: float
    one_sided: bool
    variable: str
    remarks: Mapping[str, str] = field(default_factory=dict)

    def finding(self, label: str, predicted: float, missing: str) -> Finding:
        """The finding without its panels; ``missing``: what the rule lacks (see shortage), else empty."""
        verdict, reason = self._verdict(missing)
        return Finding(
            label,
            verdict,
            reason,
            measured=self.fit.value,
            predicted=predicted,
            limits=(-np.inf if self.one_sided else predicted - self.within, predicted + self.within),
            interval=self.fit.interval,
            details=self._details(),
            evidence=self._evidence() if self.fit.seeds and not missing else None,
        )

    def guide(self, x: Floats, verdict: Verdict) -> tuple[Series, ...]:
        """The best rival over ``x`` (m,), where the claim is in doubt and that rival clearly the best."""
        if verdict is Verdict.CONSISTENT or not self.rival.clear:
            return ()
        label = f"best rival: {self.rival.law.replace('_', ' ')}"
        return (Series(label, tuple(x.tolist()), tuple(self.rival.fitted.tolist()), "predicted"),)

    def _verdict(self, missing: str) -> tuple[Verdict, str]:
        if missing:
            return Verdict.UNDECIDED, f"{self._found()}: {missing}"
        if self.judged.is_violated:
            return Verdict.VIOLATED, self._evidence().violated
        if self.judged.is_consistent:
            return Verdict.CONSISTENT, self._evidence().consistent
        return Verdict.UNDECIDED, f"{self._found()}: {self._open_question()}; {self._drift()}{self._outlook()}"

    def _found(self) -> str:
        fit = self.fit
        spread = "" if fit.interval is None else f" [{fit.interval[0]:.3f}, {fit.interval[1]:.3f}]"
        return f"exponent {fit.value:.3f}{spread} against {'at most ' if self.one_sided else ''}{fit.value - fit.theta:.3g}"

    def _evidence(self) -> Evidence:
        fit, judged, found = self.fit, self.judged, self._found()
        error, df = fit.standard_errors["theta"], float(fit.estimates.df)
        faster = self.one_sided and p_above(-self.within, fit.theta, error, df) < LEVEL_CONSISTENT
        numbers = fit.estimates
        hides = numbers.log_slope < self.within and numbers.log_drift < judged.drift_limit
        hidden = f" ({self._log_factor()})" if hides else ""
        inside = "faster, not tight here" if faster else f"within {self.within:g} and no drift{hidden}"
        return Evidence(
            fit.seeds,
            float(judged.p_violated),
            float(judged.p_consistent),
            error,
            df,
            f"{found}: off by more than {self.within:g}, in the later half too, with no drift back; {self.rival.text}",
            f"{found}: {inside}",
            float(judged.p_drift),
        )

    def _open_question(self) -> str:
        """The first failed condition of the nearer verdict."""
        judged = self.judged
        outside = (self.fit.theta if self.one_sided else abs(self.fit.theta)) >= self.within
        failed = next(name for name, holds in (judged.violated if outside else judged.consistent).items() if not holds)
        key = "C2 one-sided" if failed == "C2" and self.one_sided else failed
        values = {name: float(value) for name, value in self.fit.estimates.value.items()}
        return {**OPEN, **self.remarks}[key].format(within=self.within, twice=2 * self.within, limit=judged.drift_limit, **values)

    def _drifts(self) -> bool:
        return self._differs("D", self.fit.drift)

    def _differs(self, name: str, value: float) -> bool:
        """Is it significantly different from 0?"""
        numbers = self.fit.estimates
        return bool(p_above(abs(value), TOLERANCE, numbers.error[name], numbers.df) < LEVEL_CONSISTENT)

    def _drift(self) -> str:
        """Where the local slope goes, and the rival law unless noise alone explains both slope and drift."""
        fit = self.fit
        if not self._drifts():
            text = f"no significant drift (D = {fit.drift:+.3f} +- {fit.standard_errors['D']:.3f})"
            return f"{text}; {self.rival.text}" if self._differs("theta", fit.theta) else text
        towards = "towards" if fit.theta * fit.drift < 0 else "away from"
        where = "bends" if abs(fit.theta) < self.within else f"drifts {towards} the claim"
        return f"the local slope {where} (D = {fit.drift:+.3f}): {self.rival.text}"

    def _outlook(self) -> str:
        """Seeds that could decide, or why none can."""
        numbers = self.fit.estimates
        limit = judge(numbers.noiseless(), self.within, self.one_sided)
        if not (limit.is_violated or limit.is_consistent) and (not numbers.seeds or self._drifts()):
            more = "; more seeds alone would not decide it if these means are right" if numbers.seeds else ""
            return more + self._beyond()
        needed = float(seeds_needed(numbers, self.within, self.judged.drift_limit, self.one_sided)) if numbers.seeds else np.nan
        if not np.isfinite(needed):
            return ""
        if needed > MOST_SEEDS:
            return f"; about {needed:.1g} seeds are needed, more than is feasible: {self._limits()}"
        return f"; about {needed:.0f} seeds are needed"

    def _log_factor(self) -> str:
        power = self.fit.estimates.log_slope
        less = ", less than the tolerance" if power < self.within else ""
        return f"in this window a log factor counts as {self.variable}^{power:.2f}{less}"

    def _beyond(self) -> str:
        """What this window cannot decide, where the rival law says that it matters."""
        law, falling = self.rival.law, self.fit.value - self.fit.theta < 0
        if law in ("power_log", "power_over_log"):
            return f"; {self._log_factor()}"
        if law in ("transient", "burn_in") and self.rival.parameter > self.fit.window[1] / 10:
            return "; a transient that fills the window cannot be told from another exponent"
        if law == "floor" and falling:
            return "; a floor below about 0.3 of the claim's last value cannot be told from the claim"
        return ""

    def _limits(self) -> str:
        return (
            "no window decides on a transient that fills it or a floor below about 0.3 of the claim's last value; "
            + self._log_factor()
        )

    def _details(self) -> dict[str, Any]:
        fit, judged, numbers, rival = self.fit, self.judged, self.fit.estimates, self.rival
        value = {name: float(v) for name, v in numbers.value.items()}
        found = {
            **value,
            **{f"se_{name}": fit.standard_errors[name] for name in NAMES},
            "ratio_of_thirds": _ratio(value),
            "d_max": judged.drift_limit,
            "d_log": numbers.log_drift,
            "b_log": numbers.log_slope,
            "p_V": float(judged.p_violated),
            "p_drift": float(judged.p_drift),
            "p_C": float(judged.p_consistent),
            "df": float(numbers.df),
            "n_eff": float(numbers.n_eff),
            "rival_parameter": rival.parameter,
        }
        return {
            **{name: number if np.isfinite(number) else None for name, number in found.items()},
            "seeds": numbers.seeds,
            "conditions": {name: bool(holds) for name, holds in {**judged.violated, **judged.consistent}.items()},
            "thirds": self._thirds(value),
            "window_limits": self._limits(),
            "rival": rival.law,
            "rival_clear": rival.clear,
            "rival_text": rival.text,
            "rivals": {law: rss for law, rss in rival.rss.items() if np.isfinite(rss)},
        }

    def _thirds(self, value: dict[str, float]) -> str:
        """The three-level test in words: how the slope changes from third to third of the window."""
        slopes = f"slopes of the thirds against the claim {value['t1']:+.3f}, {value['t2']:+.3f}, {value['t3']:+.3f}"
        ratio = _ratio(value)
        if not self._drifts() or np.isnan(ratio):
            return f"{slopes}: no significant change"
        kind = "turning back" if ratio < 0 else "settling" if ratio < 1 else "running away"
        return f"{slopes}: {kind}, the second change being {ratio:.2f} of the first (about 0.5 for a log factor)"


def _ratio(value: dict[str, float]) -> float:
    step = value["t2"] - value["t1"]
    return (value["t3"] - value["t2"]) / step if step else np.nan
