"""Rival laws of a measured mean: what the curve looks like where it does not follow the claim. A diagnosis, never a gate.

Every law has a free scale and one shape parameter and is fitted by least squares, with equal weights, on the log mean.
Leading axes of ``log_mean`` are replicates; no function here loops over them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from theorysim.model import TheorysimError
from theorysim.rates import NAMES, contrasts, log_factor
from theorysim.statistics import Bools, Floats

CLEAR = 2.0  # the second best law must leave this many times the residual of the best
GRID = 128
ZOOMS, ZOOM, OFFSETS = 30, 0.3, np.linspace(-1.0, 1.0, 9)  # 0.3^30 takes a grid cell to rounding level
FAR = float(np.log(1e4))  # a correction 10^4 times smaller or larger than the claim has no shape left


@dataclass(frozen=True)
class Rivals:
    """By law: ``rss`` (...), the residual sum of squares of the log mean; ``shape`` (...), its parameter; ``fitted`` (..., m),
    the log of the law. ``rounding`` (...): the residual sum that round-off alone may leave.

    Shapes: the exponent of ``power``, ``power_log`` and ``power_over_log`` (the factor T^shape beside the law where a law was
    claimed); f of ``floor`` and ``ceiling``, in units of the claimed law; c of ``transient`` and ``burn_in``, in units of T;
    c of ``geometric``, exp(cT).
    """

    rss: Mapping[str, Floats]
    shape: Mapping[str, Floats]
    fitted: Mapping[str, Floats]
    rounding: Floats

    def ranked(self) -> tuple[Floats, Any]:
        """Residual sums (..., laws) in increasing order, at least ``rounding``, and the positions of their laws."""
        table = np.stack([np.maximum(rss, self.rounding) for rss in self.rss.values()], axis=-1)
        order = np.argsort(table, axis=-1, kind="stable")  # of equal ones the law named first
        return np.take_along_axis(table, order, axis=-1), order

    @property
    def best(self) -> Any:
        """The names (...) of the laws with the smallest residual sum."""
        return np.asarray(list(self.rss))[self.ranked()[1][..., 0]]

    @property
    def clear(self) -> Bools:
        """Does the second best law leave more than twice the residual sum? (...)"""
        table = self.ranked()[0]
        return np.asarray(table[..., 1] > CLEAR * table[..., 0])


def compare(
    variable: ArrayLike, log_mean: ArrayLike, exponent: float | None = None, *, log_law: ArrayLike | None = None
) -> Rivals:
    """Fit the rival laws to log means (..., m) at sweep values (m,), against the claim T^exponent or exp(log_law), (m,).

    For a claim b(T), falling: ``power`` b T^q, ``power_log`` b T^q log T, ``floor`` b + f, ``transient`` b (1 + c/T),
    ``burn_in`` (T + c)^exponent and ``geometric`` exp(cT), with f, c > 0 but for the last. A claimed law knows no burn-in and
    has ``power_over_log`` beside. A growing claim has ``ceiling``, 1/(1/b + f), too, and a burn-in of either sign (the variable
    may count from elsewhere). Laws without a meaning of their own are left out: those that do not change a constant, and
    floor and transient of T^1, which are burn-ins. A value that is not finite leaves NaN, and nothing clear.

    Raises TheorysimError for shapes that do not match and for sweep values that are not positive and finite.
    """
    t, means = np.asarray(variable, dtype=np.float64), np.asarray(log_mean, dtype=np.float64)
    if (exponent is None) == (log_law is None):
        raise TheorysimError("rival laws need the claim: either exponent=p or log_law=, the log of the claimed law")
    if t.ndim != 1 or not len(t) or means.shape[-1:] != t.shape or not (np.isfinite(t) & (t > 0)).all():
        raise TheorysimError(f"log means {means.shape} need positive sweep values of their last axis, got {t.shape}")
    x = np.log(t)
    law = np.broadcast_to(np.asarray(log_law if exponent is None else exponent * x, dtype=np.float64), x.shape)
    y, factor = means - law, log_factor(x)[0]
    base = 0.0 if exponent is None else exponent
    fits = {"power": _line(y, x, base), "power_log": _line(y, x, base, factor)}
    if exponent is None:
        fits["power_over_log"] = _line(y, x, base, -factor)
    for name, (shape, low, high, parameter) in _corrections(t, law, exponent).items():
        fits[name] = _curve(y, shape, low, high, parameter)
    fits["geometric"] = _line(y, t, 0.0, -law)
    size = np.maximum(1.0, np.max(np.abs(means), axis=-1) + np.max(np.abs(law)))
    rounding = len(t) * (8 * np.finfo(np.float64).eps * size) ** 2
    rss = {name: np.sum((y - fitted) ** 2, axis=-1) for name, (_, fitted) in fits.items()}
    curves = {name: fitted + law for name, (_, fitted) in fits.items()}
    return Rivals(rss, {name: shape for name, (shape, _) in fits.items()}, curves, rounding)


_Shape = Callable[[Floats], Floats]
_Fit = tuple[Floats, Floats]  # the shape parameter (...) and the fitted curve (..., m)


def _corrections(t: Floats, law: Floats, exponent: float | None) -> dict[str, tuple[_Shape, float, float, _Shape]]:
    """Log corrections to the claim as functions of s (..., 1), the range of s, and the parameter that s stands for."""
    x, first = np.log(t), float(t.min())
    order = np.argsort(t)
    growth = float(law[order[-1]] - law[order[0]])
    found: dict[str, tuple[_Shape, float, float, _Shape]] = {}
    if np.ptp(law) > 0 and exponent != 1:
        found["floor"] = (lambda s: np.logaddexp(law, s) - law, law.min() - FAR, law.max() + FAR, _exp)
    if growth > 0:
        found["ceiling"] = (lambda s: -np.logaddexp(0.0, law + s), -law.max() - FAR, -law.min() + FAR, _exp)
    if exponent != 1:
        found["transient"] = (lambda s: np.logaddexp(0.0, s - x), x.min() - FAR, x.max() + FAR, _exp)
    if exponent:
        # s is the log of the first sweep value after the shift, which may have either sign; falling, it stays off 0
        low = np.log(first) + (-FAR if exponent > 0 else np.exp(-FAR))
        found["burn_in"] = (
            lambda s: exponent * (np.log(t - first + np.exp(s)) - x),
            low,
            x.max() + FAR,
            lambda s: np.exp(s) - first,
        )
    return found


def _exp(s: Floats) -> Floats:
    return np.asarray(np.exp(np.clip(s, -700.0, 700.0)))


def _line(y: Floats, x: Floats, base: float, beside: Floats | float = 0.0) -> _Fit:
    """Least squares of y - beside, (..., m), on 1 and x (m,); the shape parameter is ``base`` + slope."""
    centred, spread, rest = _centred(x), float(_centred(x) @ _centred(x)), y - beside
    slope = np.asarray(_centred(rest) @ centred / (spread if spread > 0 else 1.0))
    return base + slope, beside + np.mean(rest, axis=-1, keepdims=True) + slope[..., None] * centred


def _curve(y: Floats, shape: _Shape, low: float, high: float, parameter: _Shape) -> _Fit:
    """Least squares of y (..., m) on a constant and the curve ``shape(s)``, s in [low, high]: a grid, then zooms."""
    grid = np.linspace(low, high, GRID)
    table, rest = _centred(shape(grid[:, None])), _centred(y)
    s = grid[np.argmin(np.sum(table**2, axis=-1) - 2 * rest @ table.T, axis=-1)]
    reach = grid[1] - grid[0]
    for _ in range(ZOOMS):
        tries = np.clip(s[..., None] + reach * OFFSETS, low, high)
        rss = np.sum((rest[..., None, :] - _centred(shape(tries[..., None]))) ** 2, axis=-1)
        s = np.take_along_axis(tries, np.argmin(rss, axis=-1)[..., None], axis=-1)[..., 0]
        reach *= ZOOM
    return parameter(s), np.mean(y, axis=-1, keepdims=True) + _centred(shape(s[..., None]))


def _centred(y: Floats) -> Floats:
    return np.asarray(y - np.mean(y, axis=-1, keepdims=True))


# --------------------------------------------------------------------------------------------- one curve, in words
@dataclass(frozen=True)
class Diagnosis:
    """What one curve looks like. ``law``: the best one, or the first of a tie; ``parameter``: its shape, for floor and ceiling
    as a value of the mean. ``clear``: no other fits nearly as well; ``tied``: the others that do. ``rss``: by law, "claim" being
    the claim with a free scale. ``fitted`` (m,): values of the best law. ``text``: one sentence.
    """

    law: str
    parameter: float
    clear: bool
    tied: tuple[str, ...]
    rss: Mapping[str, float]
    fitted: Floats
    text: str


def diagnose(
    variable: ArrayLike, log_mean: ArrayLike, exponent: float | None = None, *, log_law: ArrayLike | None = None, name: str = "T"
) -> Diagnosis:
    """``compare`` for one curve (m,), with the sentence that says what to do; ``name``: of the sweep variable."""
    found = compare(variable, log_mean, exponent, log_law=log_law)
    t, means = np.asarray(variable, dtype=np.float64), np.asarray(log_mean, dtype=np.float64)
    if means.ndim > 1 or not np.isfinite(means).all():
        raise TheorysimError(f"diagnose wants one curve (m,) of finite log means, got {means.shape}; compare takes many")
    law = np.asarray(log_law if exponent is None else exponent * np.log(t), dtype=np.float64)
    table, order = found.ranked()
    ranked = [list(found.rss)[index] for index in order]
    tied = tuple(other for other, rss in zip(ranked[1:], table[1:], strict=True) if not rss > CLEAR * table[0])
    parameters = {each: float(found.shape[each]) for each in found.rss}
    for each, sign in (("floor", 1), ("ceiling", -1)):
        if each in parameters:
            parameters[each] = _absolute(float(found.fitted[each][0]), float(law[0]), parameters[each], sign)
    claim, floor = float(np.sum(_centred(means - law) ** 2)), float(found.rounding)
    said = _Words(t, name, exponent, growing=bool(law[np.argmax(t)] > law[np.argmin(t)]))
    best, count = ranked[0], len(t)
    if count <= 3:
        text = f"{count} points do not tell rival laws apart"
    elif claim <= CLEAR * table[0]:
        text = "no rival law fits much better than the claim itself"
    elif tied:
        more = f" ({len(tied) - 1} more do)" if len(tied) > 1 else ""
        text = f"{said.noun(best, parameters[best])} and {said.noun(tied[0], parameters[tied[0]])} fit alike{more}"
    else:
        misfit = f"to {100 * np.sqrt(found.rss[best] / (count - 2)):.2g} %" if found.rss[best] > floor else "exactly"
        advice = said.advice(best, parameters[best], means - law)
        text = f"{said.noun(best, parameters[best])} fits best ({misfit}){advice}"
    rss = {"claim": claim, **{each: float(value) for each, value in found.rss.items()}}
    return Diagnosis(best, parameters[best], not tied and count > 3, tied, rss, _exp(found.fitted[best]), text)


def _absolute(first: float, law: float, f: float, sign: int) -> float:
    """The level a curve bends to, from its first fitted value: of scale (b + f) with sign 1, scale / (1/b + f) with -1."""
    limit = first + sign * (np.log(f) - np.logaddexp(sign * law, np.log(f)))
    return float(_exp(limit))


@dataclass(frozen=True)
class _Words:
    t: Floats
    name: str
    exponent: float | None
    growing: bool

    def noun(self, law: str, value: float) -> str:
        name = self.name if self.name.isidentifier() else f"({self.name})"
        power = f"{name}^{round(value, 2) + 0.0:.2f}"
        power = power if self.exponent is not None else f"the claimed law times {power}"
        kind = "a burn-in" if value > 0 else "a shift"
        return {
            "power": power if self.exponent is None else f"a power {power}",
            "power_log": f"{power} with a log factor{'' if self.exponent is not None else ' more'}",
            "power_over_log": f"{power} with a log factor less",
            "floor": f"{'an added constant' if self.growing else 'a floor'} of about {value:.3g}",
            "ceiling": f"a ceiling of about {value:.3g}",
            "transient": f"a transient (the claim times 1 + {value:.3g}/{name})",
            "burn_in": f"{kind} (the claim in {self.name} {'+' if value > 0 else '-'} {abs(value):.3g})",
            "geometric": f"a geometric law exp({value:.3g} {name})",
        }[law]

    def advice(self, law: str, value: float, log_ratio: Floats) -> str:
        """What to do where this law fits clearly best; ``log_ratio`` (m,): log of mean / claim."""
        early = "not yet in the asymptotic range; start the window"
        if law in ("transient", "burn_in"):
            return self._later(value, early)
        if law in ("power_log", "power_over_log"):
            k = float(contrasts(self.t).weights[NAMES.index("k")] @ (log_ratio - log_ratio[0]))
            return f": {k:+.2f} log factors beside a free power" if np.isfinite(k) else ""
        return {
            "floor": f": {early} where the values are 10 times that" if self.growing else ": the curve flattens",
            "ceiling": ": the curve levels off",
            "geometric": ": log-linear fits better than log-log",
        }.get(law, "")

    def _later(self, c: float, early: str) -> str:
        if c < 0:
            return f": count {self.name} from {-c:.3g}"
        if c > self.t.max():
            return ": a transient that fills the window"
        end = f" and end it beyond {_rough(1000 * c)}" if 1000 * c > self.t.max() else ""
        return f": {early} at about {_rough(10 * c)}{end}" if 10 * c > self.t.min() else ""


def _rough(value: float) -> str:
    return f"{float(f'{value:.2g}'):g}"
