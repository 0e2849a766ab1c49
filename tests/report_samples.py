"""A made-up paper report with everything a report can hold: parts, panels, tables, a failed control, a counterexample."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from theorysim.check import ClaimFinding, ControlFinding, PaperReport
from theorysim.findings import Finding, Panel, Series, Table, Verdict, together
from theorysim.model import Claim, Control, Paper
from theorysim.registry import algorithm, problem
from theorysim.report import report_data
from theorysim.reproducer import Counterexample

INF, NAN = math.inf, math.nan
PAPER = Paper(
    "toy_paper",
    "AdaGrad under Anisotropic <Smoothness> & Noise",
    "A. Author and B. Author",
    2025,
    "International Conference on Testing",
    "@inproceedings{toy2025,\n  title = {A Toy},\n  year = {2025}\n}",
    "2406.00001",
    "Coordinate-wise steps profit when $\\|L\\|_1$ stays fixed while $d$ grows.",
)


def rate_part(family: str, slope: float, predicted: float, verdict: Verdict = Verdict.CONSISTENT) -> Finding:
    x = np.geomspace(100, 10_000, 7)
    y = 3 * x**slope
    tuples = [tuple(values.tolist()) for values in (x, y, 0.8 * y, 1.25 * y)]
    measured = Series(f"steps of {family}", tuples[0], tuples[1], "measured", tuples[2], tuples[3])
    guide = Series(f"slope {predicted:g}", tuples[0], tuple((3.2 * x**predicted).tolist()), "predicted")
    early = Series("excluded", (10.0, 30.0), (40.0, 35.0), "excluded")
    panel = Panel(f"steps to accuracy 1e-3, {family}", "dimension d", "steps", (measured, guide, early), window=(100, 10_000))
    reason = f"exponent {slope:.3f} against {predicted:g}"
    limits, interval = (predicted - 0.1, predicted + 0.1), (slope - 0.03, slope + 0.03)
    return Finding(
        family, verdict, reason, slope, predicted, limits, interval, panels=(panel,), details={"p_C": np.float64(0.001), "df": 6}
    )


def dimension_claim() -> ClaimFinding:
    """Steps do not grow with the dimension"""
    columns = ("method", "predicted exponent", "measured exponent", "verdict")
    table = Table(
        "Dimension dependence, $L_j = j^{-a}$",
        columns,
        (("GD", 1.0, 1.01, Verdict.CONSISTENT), ("AdaGrad", 0, 0.004, "CONSISTENT")),
    )
    found = together(rate_part("GD", 1.01, 1.0), rate_part("AdaGrad", 0.004, 0.0), label="exponents", tables=(table,))
    control = Control({"rotate": True}, "a rotated Hessian is not axis-aligned: $\\|L\\|_1$ grows with d")
    outcome = ControlFinding(control, rate_part("AdaGrad, rotated", 0.94, 0.0, Verdict.VIOLATED))
    statement = r"N(\epsilon) \propto d^{0} \qquad \text{at fixed } \|L\|_1,\ D_\infty"
    claim = Claim(
        PAPER,
        "steps_do_not_grow_with_dimension",
        function_of(dimension_claim),
        "rate",
        "Theorem 4.1 (form recalled)",
        statement,
        "",
        (control,),
    )
    return ClaimFinding(claim, found, (outcome,), 12.34)


def bound_claim() -> ClaimFinding:
    """The convex bound holds on every run and at every step"""
    t = np.geomspace(1, 1000, 31)
    gap, limit = 0.5 / t**1.6, 4 / t
    series = (
        Series("measured f(w̄) - f*", tuple(t), tuple(gap), "measured", tuple(0.7 * gap), (INF, *(1.4 * gap[1:]))),
        Series("theorem: 4‖L‖₁D∞²/T", tuple(t), tuple(limit), "bound"),
        Series("float64 floor", tuple(t), (1e-7,) * len(t), "floor"),
        Series("diverged start", (1.0, 2.0, 3.0), (NAN, INF, -1.0), "measured"),
    )
    panels = (Panel("gap of the averaged iterate", "steps T", "f(w̄) - f*", series),)
    parts = [
        Finding(f"a={a}, d={d}, seed {seed}", Verdict.CONSISTENT, "below the bound", 0.01 * (1 + seed + a), 1.0, (0.0, 1.0))
        for a in (0.0, 0.5, 2.0)
        for d in (100, 1000)
        for seed in range(10)
    ]
    found = together(*parts, label="gap/bound", panels=panels)
    found = replace(
        found, details={"L_1norm": 5.187, "D_inf": 1.9, "eta": np.array([0.5, INF]), "audit": {"min_eig": -2e-16, "ok": True}}
    )
    control = Control({"eps_term": False, "eps": 1.0}, "without the eps term the bound is too small")
    kept = Control({"eps_term": False, "eps": 0.01}, "a small eps must not fire", fires=False)
    outcomes = (
        ControlFinding(control, Finding("ratio", Verdict.VIOLATED, "ratio 7.7 at T=500", 7.7, 1.0, (0.0, 1.0))),
        ControlFinding(kept, Finding("ratio", Verdict.CONSISTENT, "ratio 0.006", 0.006, 1.0, (0.0, 1.0))),
    )
    statement = (
        r"\mathbb{E} f(\bar w_T) - f^* \le \frac{4 \|L\|_1 D_\infty^2}{T}"
        r" + \frac{2\sqrt{2}\,\|\sigma\|_1 D_\infty}{\sqrt{MT}} + \frac{\sqrt{2}\,\varepsilon d D_\infty}{T}"
    )
    bound = "4*L_1norm*D_inf**2/T + 2*sqrt(2)*sigma_1norm*D_inf/sqrt(M*T) + sqrt(2)*eps*d*D_inf/T"
    assumptions = "$f$ convex; $\\mathrm{diag}(L) \\succeq \\nabla^2 f$ & unbiased noise; a <b>deterministic</b> $D_\\infty$."
    claim = Claim(
        PAPER,
        "convex_bound",
        function_of(bound_claim),
        "upper",
        "Theorem 4.1; constants derived",
        statement,
        bound,
        (control, kept),
        assumptions,
    )
    return ClaimFinding(claim, found, outcomes, 3.0)


def violated_claim() -> ClaimFinding:
    """A violated identity, with a reproducer and a control that fails its duty"""
    reproducer = {"problem": {"name": "quadratic", "params": {"dim": 20}}, "seed": 3, "step": 17, "value": INF}
    bad = Finding("max |w - w'|", Verdict.VIOLATED, "differs by 0.19 at step 17", 0.19, 0.0, (0.0, 1e-10), reproducer=reproducer)
    odd = Finding("diverged", Verdict.UNDECIDED, "not finite", NAN, INF, (-INF, 1.0), details={"last": (1.0, NAN)})
    control = Control({"eps": 0.01}, "eps breaks the invariance")
    outcome = ControlFinding(control, Finding("max |w - w'|", Verdict.CONSISTENT, "equal", 1e-13, 0.0, (0.0, 1e-10)))
    claim = Claim(
        PAPER,
        "a_name/that is odd",
        function_of(violated_claim),
        "identity",
        "derived",
        r"\|w_t - w'_t\|_\infty < \unknown{x}",
        "",
        (control,),
    )
    return ClaimFinding(claim, together(bad, odd), (outcome,), 0.5)


def counterexample() -> Counterexample:
    """One whose measured value is not finite, claimed at some steps only."""
    return Counterexample(
        problem=problem("anisotropic_quadratic", dim=9, start=[1.0, -2.0, *[0.5] * 7]),
        algorithm=algorithm("average", of=algorithm("adagrad", lr="0.71*D_inf_0", eps=0.0)),
        steps=3,
        run=2,
        seed=5,
        of="gap",
        bound="2*L_infnorm*D_inf**2/T + eps",
        where={"D_inf": "max_distance:inf", "eps": 0.0},
        slack=1e-9,
        claimed=(1, 3, 10),
        measured=INF,
        limit=4.00007,
        ratio=INF,
        history=("problem: anisotropic_quadratic(dim=1000) to anisotropic_quadratic(dim=9)", "steps: 10 to 3"),
        tried=99,
        minimal=True,
    )


def function_of(source: Any) -> Any:
    def function(lab: Any) -> Finding:
        raise AssertionError

    function.__doc__ = source.__doc__
    return function


def sample_report() -> PaperReport:
    environment = {"theorysim": "0.1.0", "device": "CPU, 2 cores", "command": "theorysim check toy_paper --out <here>"}
    environment |= {"seeds": "as the claims say"}
    violated = replace(violated_claim(), counterexample=counterexample())
    return PaperReport(PAPER, (dimension_claim(), bound_claim(), violated), "quick", 0, environment)


def data_of(claim: ClaimFinding) -> dict[str, Any]:
    found: dict[str, Any] = report_data(PaperReport(PAPER, (claim,), "quick", 0))["claims"][0]
    return found
