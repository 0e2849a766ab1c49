"""The verdict rule as it is, and the same rule broken in one place: what a calibration must be able to tell apart.

A broken rule is made from the results of the product's own functions; nothing of the rule is written down again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from theorysim.rates import Contrasts, Estimates, Judgement, contrasts, estimate
from theorysim.statistics import Bools, Floats, log_means

WITHIN = 0.1  # the tolerance delta of all planted claims

STUDENT = "t with R - 1 degrees of freedom"
REGRESSION = "regression over checkpoints"
NO_C2 = "no C2"
NO_GUARDS = "no V3, V4, V5"
NO_SPENDING = "the full level at every look"
TWO_SIDED = "two-sided"
NO_BONFERRONI = "no Bonferroni"
PLAIN_SCALE = "plain scale"
NO_HOLM = "no Holm"

_DROPPED: Mapping[str, tuple[str, ...]] = {NO_C2: ("C2",), NO_GUARDS: ("V3", "V4", "V5")}


def estimated(grid: Floats, errors: Floats, log_law: Floats, rule: str = "") -> Estimates:
    """The product's estimates, with other degrees of freedom or other errors where ``rule`` says so."""
    numbers = estimate(grid, errors, log_law)
    if rule == STUDENT:
        return with_student(numbers)
    return _regression(numbers, grid, log_means(errors)[0] - log_law) if rule == REGRESSION else numbers


def with_student(numbers: Estimates) -> Estimates:
    """The same numbers with R - 1 degrees of freedom."""
    return replace(numbers, df=np.full_like(numbers.df, numbers.seeds - 1.0))


def _regression(numbers: Estimates, grid: Floats, y: Floats) -> Estimates:
    """Errors from the residuals of y (..., m) around its line, as if the checkpoints were independent."""
    plan: Contrasts = contrasts(grid)
    x = np.log(grid)
    level, slope = y.mean(axis=-1, keepdims=True), numbers.value["theta"][..., None]
    spread = np.sqrt(np.sum((y - level - slope * (x - x.mean())) ** 2, axis=-1) / (len(x) - 2))
    error = {name: spread * np.linalg.norm(weights) for name, weights in zip(numbers.value, plan.weights, strict=True)}
    return replace(numbers, error=error, df=np.full_like(numbers.df, len(x) - 2.0))


def verdicts(judged: Judgement, rule: str = "") -> tuple[Bools, Bools]:
    """Where the verdict is CONSISTENT and where it is VIOLATED, without the conditions that ``rule`` drops."""
    if not rule:
        return judged.is_consistent, judged.is_violated
    dropped = _DROPPED.get(rule, ())
    kept = ([holds for name, holds in side.items() if name not in dropped] for side in (judged.consistent, judged.violated))
    consistent, violated = (np.asarray(np.logical_and.reduce(conditions)) for conditions in kept)
    return consistent, violated
