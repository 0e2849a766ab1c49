"""The verdict rule as a paper: its claims are the error rates that it promises, its controls are the rule broken in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from theorysim.calibration import applied, bounds, compared, coverage, exact, fixed, growing, rival_laws, several
from theorysim.calibration.rules import (
    NO_BONFERRONI,
    NO_C2,
    NO_GUARDS,
    NO_HOLM,
    NO_SPENDING,
    PLAIN_SCALE,
    REGRESSION,
    STUDENT,
    TWO_SIDED,
)
from theorysim.findings import Finding
from theorysim.model import Claim, Control, Paper

PAPER = Paper(
    name="verdict_rule",
    title="The verdict rule of theorysim",
    authors="theorysim developers",
    year=2026,
    venue="software",
    bibtex="""@software{theorysim,
  title = {theorysim: the claims of optimization papers, judged},
  author = {{theorysim developers}},
  year = {2026}
}""",
    summary="Errors with a planted law and planted noise show how often the rule that judges papers is wrong itself.",
)


def _claim(function: Callable[..., Finding], kind: str, statement: str, *controls: tuple[str, dict[str, Any]]) -> Claim:
    duties = tuple(Control(setting, why) for why, setting in controls)
    return Claim(PAPER, function.__name__, function, kind, "measured (planted laws)", statement, "", duties)


CLAIMS = (
    _claim(
        coverage.intervals_cover,
        "band",
        r"0.93 \le P(|\hat\theta - \theta| \le t_{\mathrm{df}, 0.975}\, \mathrm{se}) \le 0.98",
        (
            "a few seeds carry the mean, so that R - 1 degrees of freedom are too many",
            {"rule": STUDENT, "noises": ("lognormal 2",), "seeds": (8, 16)},
        ),
        (
            "the checkpoints of one trajectory share their noise, so that their scatter around the line is too small",
            {"rule": REGRESSION, "noises": ("d=10",), "seeds": (8, 16)},
        ),
    ),
    _claim(
        fixed.verdicts_at_fixed_seeds,
        "band",
        r"P(\mathrm{VIOLATED} \mid \text{true}) \le 0.01,\; P(\mathrm{CONSISTENT} \mid \text{wrong}) \le 0.015",
        (
            "without the condition on the drift, T^-0.81 fits log T/T although the curve bends",
            {"rule": NO_C2, "experiments": (("d=10", 64),)},
        ),
    ),
    _claim(
        fixed.verdicts_in_a_late_window,
        "band",
        r"P(\mathrm{VIOLATED} \mid T^{-0.8} \text{ as } T^{-1}) \ge 0.95 \text{ at } R \ge 64",
        ("a quarter of the seeds cannot find it", {"seeds": (16,), "enough": 16}),
    ),
    _claim(
        fixed.transients_do_not_violate,
        "band",
        r"P(\mathrm{VIOLATED} \mid T^{-1}(1 + c/T)) \le 0.01",
        (
            "without the conditions on the drift, a transient passes for a wrong exponent",
            {"rule": NO_GUARDS, "noises": ("d=10",)},
        ),
    ),
    _claim(
        growing.growing_seeds,
        "band",
        r"P(\mathrm{VIOLATED}) \le 0.01 \text{ at the tolerance},\; P(\mathrm{VIOLATED}) \ge 0.95 \text{ at twice the tolerance}",
        (
            "a look that spends the full level every time errs at every look",
            {"rule": NO_SPENDING},
        ),
    ),
    _claim(
        bounds.faster_never_fails,
        "band",
        r"P(\mathrm{VIOLATED} \mid T^{-1.2} \text{ as at most } T^{-1}) \le 0.01",
        ("judged on both sides, faster is a violation", {"rule": TWO_SIDED, "seeds": (32,)}),
    ),
    _claim(
        bounds.bounds_in_expectation,
        "band",
        r"P(\mathrm{VIOLATED} \mid E e_j = b_j \text{ for all } j) \le 0.01",
        (
            "thirteen tests at the level of one err thirteen times",
            {"rule": NO_BONFERRONI, "noises": ("fresh",), "seeds": (32, 64)},
        ),
    ),
    _claim(
        bounds.upper_limits_of_a_skewed_mean,
        "band",
        r"P(E e \le \text{upper 98 \% limit}) \ge 0.9",
        ("the mean of a skewed sample is small where its error is small", {"rule": PLAIN_SCALE}),
        ("and R - 1 degrees of freedom are too many", {"rule": STUDENT}),
    ),
    _claim(
        exact.exact_verdicts,
        "identity",
        r"\text{verdict of the expected values} = \text{verdict documented}",
        ("log T/T fits T^-0.81 in its slope", {"rule": NO_C2}),
        ("1/(T + 100) and its like are transients", {"rule": NO_GUARDS}),
    ),
    _claim(
        several.any_of_several_claims,
        "band",
        r"P(\text{any of } n \text{ true claims VIOLATED}) \le 0.01",
        ("each of many claims errs at its own level", {"rule": NO_HOLM, "counts": (10, 30)}),
    ),
    _claim(
        applied.analyses_apply_the_rule,
        "identity",
        r"\text{verdict of the analysis} = \text{verdict of the calibrated rule}",
        ("another rule gives other verdicts", {"rule": NO_C2}),
    ),
    _claim(
        rival_laws.rival_laws_are_told_apart,
        "band",
        r"P(\text{best rival} = \text{planted law}) \ge 0.98",
        (
            "64 seeds with lognormal scales do not tell a power from a logarithm",
            {"experiments": (("lognormal 1", 64),), "judged": (("lognormal 1", 64),)},
        ),
    ),
    _claim(
        compared.documented_rates,
        "band",
        r"|p_{\mathrm{measured}} - p_{\mathrm{documented}}| \le 3\,\sigma_{\mathrm{MC}}",
        ("another rule has other rates", {"rule": NO_C2}),
        ("other intervals have another coverage", {"rule": REGRESSION}),
    ),
)
