"""Muon beside ASGO (C8), and ASGO on nonconvex functions (C9)."""

from __future__ import annotations

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.bounds import Bound
from theorysim.findings import Finding, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Search, Spec
from theorysim.paper_checks._asgo_paper import PAPER, says_nothing, stands_still
from theorysim.registry import algorithm, claim, problem

_SHAPES = ((16, 16), (12, 30), (30, 12))
_GAP = "2*{L}*D**2/(T + 4)"
_DESCENT = "Max(f - g**2/(2*{L}), 0)"
_DESCENT_OR_ROUNDING = 1e-9


def _quadratics() -> list[Spec]:
    return [
        problem("matrix_quadratic", m=m, n=n, decay=decay, rotation="random", start=start)
        for m, n in _SHAPES
        for decay in (0.0, 1.0)
        for start in ("gaussian", "profile")
    ]


@claim(
    PAPER,
    source="C8 (derived)",
    kind="upper",
    statement=r"W_{t+1}=W_t-\frac{\|\nabla f(W_t)\|_*}{\|L\|_*}UZ^\top:"
    r"\quad f(W_{T+1})-f^*\le\frac{2\|L\|_*D_{\mathrm{op}}^2}{T+4},"
    r"\quad f(W_{t+1})\le f(W_t)-\frac{\|\nabla f(W_t)\|_*^2}{2\|L\|_*}",
    bound=_GAP.format(L="L_nuclearnorm"),
    assumptions="Matrix-smooth convex functions without noise; D_op is measured up to W_T. T updates from W_1 lead to W_{T+1}.",
    controls=[
        Control({"lr": "1/L_opnorm"}, "steps for the operator norm of L are too long by the effective rank of L"),
        Control({"constant": "L_opnorm"}, "with the operator norm in the bound a flat spectrum exceeds it"),
        Control({"length": "constant"}, "steps of a constant length do not shrink near the minimiser"),
    ],
    search=Search(
        problem("matrix_quadratic", m=8, n=8, rotation="random"),
        algorithm("muon", length="nuclear", lr="1/L_nuclearnorm"),
        over={"m": (1, 16), "n": (1, 16), "decay": (0.0, 3.0), "start": ["gaussian", "profile", "identity", "signs"]},
        steps=50,
        of="gap",
        bound=_GAP.format(L="L_nuclearnorm"),
        where={"D": "max_distance:op"},
    ),
)
def muon_with_nuclear_steps(
    lab: Lab, lr: str = "1/L_nuclearnorm", constant: str = "L_nuclearnorm", length: str = "nuclear"
) -> Finding:
    """Muon with steps as long as the nuclear norm of the gradient has ASGO's rate, with the same nuclear norm of L."""
    method = algorithm("muon", length=length, lr=lr)
    cells = [
        Cell(each, method, 100, lab.runs(lab.pick(quick=2, full=30)), ("gap", "max_distance:op", "gradient_norm:nuclear"), "all")
        for each in _quadratics()
    ]
    traces = lab.run_all(cells)
    rate = bound_ratio(
        traces, of="gap", bound=_GAP.format(L=constant), where={"D": "max_distance:op"}, label="f(W_{T+1}) / bound"
    )
    excess = []
    for trace in traces:
        gap, norm = trace["gap"], trace["gradient_norm:nuclear"]
        known = {name: trace.constant(name)[:, None] for name in trace.constants} | {"f": gap[:, :-1], "g": norm[:, :-1]}
        with np.errstate(all="ignore"):
            excess.append(np.max((gap[:, 1:] - Bound(_DESCENT.format(L=constant))(known)) / gap[:, :1]))
    descent = band(excess, high=_DESCENT_OR_ROUNDING, label="decrease of every step: shortfall over f(W_1)", predicted=0.0)
    left = [float(np.max(trace["gap"][:, -1] / trace["gap"][:, 0])) for trace in traces]
    arrives = band(left, high=0.05, label="share of the first gap that is left after 100 steps")
    return together(rate, descent, arrives, label="Muon with nuclear steps", panels=rate.panels)


_MEAN = "Delta_0/(eta*T) + eta*L_nuclearnorm/2"


@claim(
    PAPER,
    source="C8 (derived; the minimum of the card is at most the mean here)",
    kind="upper",
    statement=r"\frac1T\sum_{t\le T}\|\nabla f(W_t)\|_*\le\frac{f(W_1)-f^*}{\eta T}+\frac{\eta\|L\|_*}2",
    bound=_MEAN,
    assumptions="Matrix-smooth functions, convex or not, without noise, steps of constant length eta along the polar factor; "
    "eta = sqrt(2 Delta/(‖L‖_* T)) for T = 100, and a third and three times that.",
    controls=[
        Control({"bound": "Delta_0/(eta*T)"}, "without the term of the step size: the mean stays above 0"),
        Control({"bound": "Delta_0/(eta*T) + eta*L_opnorm/2"}, "with the operator norm of L in its place"),
    ],
)
def muon_with_constant_steps(lab: Lab, bound: str = _MEAN) -> Finding:
    """Muon with steps of a constant length finds gradients whose nuclear norm is of the order sqrt(Delta ‖L‖_*/T)."""
    horizon, best = 100, "sqrt(2*Delta_0/(L_nuclearnorm*{T}))"
    rates = [f"{factor}*{best.format(T=horizon)}" for factor in (1 / 3, 1.0, 3.0)]
    instances = _quadratics() + [
        problem("matrix_nonconvex", m=m, n=n, rotation="random", start="gaussian", distance=3.0) for m, n in _SHAPES
    ]
    runs = lab.runs(lab.pick(quick=1, full=20))
    traces = lab.run_all(
        Cell(each, algorithm("muon", lr=rates), 200, runs, ("mean_gradient_norm:nuclear", "gap")) for each in instances
    )
    ratio = bound_ratio(
        traces,
        of="mean_gradient_norm:nuclear",
        bound=bound,
        where={"eta": "lr"},
        label="mean nuclear norm of the gradient / bound",
    )
    left = [float(np.max(trace["gap"][:, -1] / trace["gap"][:, 0])) for trace in traces]
    arrives = band(left, high=0.9, label="share of the first gap that is left after 200 steps")
    return together(ratio, arrives, label="Muon with constant steps", panels=ratio.panels)


_NONCONVEX = "(Delta_0/eta + eta/2*L_opnorm*G + q*m)/sqrt(T)"


@claim(
    PAPER,
    source="C9 (derived; not a claim of the paper, whose nonconvex statements are inferred from Muon, source: reviews)",
    kind="upper",
    statement=r"\frac1T\sum_{t\le T}\|\nabla f(W_t)\|_*\le\frac1{\sqrt T}\Big[\frac{f(W_1)-f^*}\eta+\frac\eta2\|L\|_{\mathrm{op}}"
    r"\ln\det\frac{V_T}{q^2}+qm\Big],\quad V_0=q^2I",
    bound=_NONCONVEX,
    assumptions="f = 1/2 sum a_i r_i/(1 + r_i), r_i = |u_i'X|^2, matrix-smooth with exact L, without noise; q = .01 and .3; "
    "shapes 16 x 16, 12 x 30, 30 x 12 and 1 x 1; eta = .3, 1, 3 times sqrt(2 Delta/‖L‖_*). G is the logarithm.",
    controls=[
        Control({"method": "muon"}, "without accumulation steps of a constant length never settle"),
        Control({"power": 1.5}, "a rate of T^-3/2 is more than any method here has"),
    ],
)
def nonconvex_asgo(lab: Lab, method: str = "one_sided_shampoo", power: float = 0.5) -> Finding:
    """ASGO with a regulariser in the root finds small gradients of nonconvex functions at the rate T^-1/2."""
    rates = [f"{factor}*sqrt(2*Delta_0/L_nuclearnorm)" for factor in (0.3, 1.0, 3.0)]
    parts = []
    for q in (0.01, 0.3):
        spec = algorithm(method, lr=rates, **({"eps": q} if method == "one_sided_shampoo" else {}))
        measures = ("mean_gradient_norm:nuclear", f"log_determinant:{q}", "gap")
        traces = lab.run_all(
            Cell(
                problem("matrix_nonconvex", m=m, n=n, rotation="random", start="gaussian", distance=distance),
                spec,
                lab.pick(quick=200, full=1000),
                lab.runs(lab.pick(quick=2, full=20)),
                measures,
            )
            for m, n, distance in (*((m, n, 3.0) for m, n in _SHAPES), (1, 1, 4.0))
        )
        if method != "one_sided_shampoo" and stands_still(traces):
            return says_nothing(method)
        where = {"eta": "lr", "G": f"log_determinant:{q}", "q": q}
        text = _NONCONVEX.replace("sqrt(T)", f"T**{power}")
        label = f"q={q}: mean nuclear norm of the gradient / bound"
        parts.append(bound_ratio(traces, of="mean_gradient_norm:nuclear", bound=text, where=where, label=label))
        left = [float(np.max(trace["gap"][:, -1] / trace["gap"][:, 0])) for trace in traces]
        parts.append(band(left, high=0.9, label=f"q={q}: share of the first gap that is left"))
    return together(*parts, label="nonconvex functions", panels=parts[0].panels)
