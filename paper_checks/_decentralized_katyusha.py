"""Loopless Katyusha on one pool of components, with exact averages (A3), the headline: bound, exponents, batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.analyses.slope import slope
from theorysim.bounds import Bound
from theorysim.findings import Finding, Table, Verdict, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._decentralized_paper import (
    EXPLICIT,
    KATYUSHA_RATE,
    PAPER,
    Arrival,
    Floats,
    arrival_cell,
    arrivals,
    host,
    katyusha,
    pool,
    rate,
    steps_of,
    svrg,
    with_values,
)
from theorysim.registry import claim
from theorysim.trace import Trace

EPS = 1e-8
_A = "1/(theta_1*(L_g + 2*L_s/(b*p)))"
_THETA_1 = "Min(1/2, sqrt(2/(kappa_g + 2*kappa_s/(b*p))))"
_PHI = "(1 + a*mu)*theta_1/(2*a)*z + gap + p/(2*(p - tau))*snapshot"
_ENVELOPE = "Phi_0*(1 - 1/Max(1 + sqrt(2*kappa_g + 4*kappa_s/(b*p)), 4, 2/p))**T"
_MEASURES = ("z_square_distance", "gap", "snapshot_gap", "decay")


def horizon(lab: Lab, where: Spec, batch: int, eps: float = EPS) -> int:
    """What the bound allows for Phi, and a tenth more."""
    return int(1.1 * np.log(1 / eps) / rate(where, KATYUSHA_RATE, batch, lab)) + 50


def cell(lab: Lab, where: Spec, batch: int, times: float = 1.0, **params: Any) -> Any:
    return arrival_cell(where, katyusha(batch, **params), times * horizon(lab, where, batch), EPS)


# ------------------------------------------------------------------------------------------------ the bound
def lyapunov(trace: Trace, p: float) -> Floats:
    """E Phi of an exact cell of Katyusha with the prescribed weights."""
    known: dict[str, Any] = {name: float(trace.constant(name)[0]) for name in trace.constants}
    known |= {"b": trace.hyper("batch")[0], "p": p}
    known["theta_1"] = Bound(_THETA_1)(known)
    known |= {"a": Bound(_A)(known), "tau": Bound(KATYUSHA_RATE)(known)}
    names = {"z": "z_square_distance", "gap": "gap", "snapshot": "snapshot_gap"}
    return np.asarray(Bound(_PHI)({**known, **{name: trace[measure] for name, measure in names.items()}}))


@claim(
    PAPER,
    source="loopless Katyusha recalled (Kovalev, Horvath, Richtarik); weights, bound and constants derived",
    kind="upper",
    statement=r"\mathbb E\Phi_k\le(1-\tau)^k\Phi_0,\quad\frac1\tau=\max\Big(1+\sqrt{2\kappa_g+\tfrac{4\kappa_s}{bp}},4,\tfrac2p"
    r"\Big),\quad\Phi=\tfrac{(1+a\mu)\theta_1}{2a}\|z-x^*\|^2+f(y)-f^*+\tfrac{\theta_2}{p-\tau}(f(w)-f^*)",
    bound=_ENVELOPE,
    assumptions="theta_2 = p/2; d = 8 and 16, N = 512, two-level and log spectra, kappa = 100, 1000, b = 4, 32, 256 with p = b/N "
    "and b = 1 with p = .05; exact averages.",
    controls=[
        Control({"smoothness_s": "L_g", "only": True}, "weights that take the smoothness of f for that of its components; b = 1"),
        Control({"times": 3.0}, "three times the guaranteed exponent; the measured one is twice as large"),
    ],
)
def bound_on_pooled_katyusha(lab: Lab, smoothness_s: str = "L_s", only: bool = False, times: float = 1.0) -> Finding:
    """The Lyapunov function of loopless Katyusha on the pool falls by the guaranteed, accelerated factor."""
    cases: list[tuple[int, float, str, int, float]] = [(16, 1000.0, "two", 1, 0.05)]
    cases += [] if only else [(8, k, s, b, b / 512) for k in (100.0, 1000.0) for s in ("two", "log") for b in (4, 32, 256)]
    traces, rates = [], []
    for dim, kappa, spectrum, b, p in cases:
        where, method = pool(dim, kappa, spectrum), katyusha(b, chance=p, smoothness_s=smoothness_s)
        trace = lab.run(Cell(where, method, lab.pick(quick=2000, full=10_000), 1, _MEASURES, "all", exact=True))
        phi = lyapunov(trace, p)
        traces.append(with_values(trace, Phi=phi, Phi_0=np.broadcast_to(phi[:, :1], phi.shape)))
        decay, tau = trace["decay"][0, 0], rate(where, KATYUSHA_RATE, b, lab, p=p)
        rates.append(np.log1p(-decay) / np.log1p(-tau) if decay < 1 else np.nan)
    names = {"Phi_0": "Phi_0", "b": "batch", "p": "chance"}
    text = _ENVELOPE.replace("**T", f"**({times}*T)")
    kept = bound_ratio(traces, of="Phi", bound=text, where=names, label="E Phi_k / bound")
    ratio = band(rates, 1.0, 2.1, label="rate in the long run / guaranteed rate", predicted=2.0)
    return together(kept, ratio, label="pooled Katyusha", panels=kept.panels)


# ------------------------------------------------------------------------------------------------ exponents
@claim(
    PAPER,
    source=f"abstract: better dependence on condition numbers (source); exponent derived, {EXPLICIT}",
    kind="rate",
    statement=r"T(\varepsilon)=O\Big(\sqrt{\kappa_g}+\frac{\sqrt{N\kappa_s}}b+\frac Nb\Big)\ln\tfrac1\varepsilon",
    bound=KATYUSHA_RATE,
    assumptions="N = 512, d = 8, p = b/N, kappa = 100, 400, 1600, 6400, eps = 1e-8; two-level spectrum with b = 4, 32, 64, log "
    "spectrum with b = 32.",
    controls=[
        Control({"accelerated": False}, "L-SVRG grows linearly in the condition number"),
        Control(
            {"theta_2": 0.5}, "theta_2 = 1/2 has the same exponent of kappa: only the sweep over batches sees it", fires=False
        ),
    ],
)
def pooled_katyusha_grows_with_the_root(lab: Lab, accelerated: bool = True, theta_2: float | None = None) -> Finding:
    """The steps of Katyusha on the pool grow as the square root of the global condition number."""
    kappas, parts = (100.0, 400.0, 1600.0, 6400.0), []
    cases = [("two", 32), ("two", 64)] if theta_2 or not accelerated else [("two", 4), ("two", 32), ("two", 64), ("log", 32)]
    for spectrum, b in cases:
        places = [pool(8, kappa, spectrum) for kappa in kappas]
        if accelerated:
            cells = [cell(lab, where, b, 4.0 if theta_2 else 1.0, theta_2=theta_2) for where in places]
        else:
            cells = [arrival_cell(where, svrg(b), 30 * kappa, EPS) for where, kappa in zip(places, kappas, strict=True)]
        found = steps_of(arrivals(lab, cells))
        if not accelerated and not np.isfinite(found).all():  # a control has to fail for its own reason
            return Finding("L-SVRG", Verdict.UNDECIDED, "L-SVRG did not arrive, so its exponent says nothing")
        label = f"{spectrum}, b={b}: exponent of kappa"
        limits: dict[str, Any] = {"low": 0.45, "high": 0.55, "predicted": 0.5}
        parts.append(slope(kappas, found, **limits, label=label, variable="kappa", quantity="T"))
        scaled = [t * rate(where, KATYUSHA_RATE, b, lab) for t, where in zip(found, places, strict=True)]
        label = f"{spectrum}, b={b}: exponent of kappa in T tau"
        limits = {"low": -0.05, "high": 0.05, "predicted": 0.0}
        parts.append(slope(kappas, scaled, **limits, label=label, variable="kappa", quantity="T tau"))
    return together(*parts, label="exponent of kappa", panels=(parts[0].panels[0],))


_BATCHES = (4, 8, 16, 32, 64, 128, 256)


@claim(
    PAPER,
    source=f"abstract: fewer component calls and less computation time (source); exponents and b* derived, {EXPLICIT}",
    kind="rate",
    statement=r"T\sim b^{-1},\ \mathrm{LIFO}=T(2b+pN)\ \text{flat for}\ b\le b^*=\max\Big(\sqrt{N\kappa_s/\kappa_g},"
    r"\tfrac N{\sqrt{\kappa_g}}\Big);\qquad T\tau=\text{const}",
    bound=KATYUSHA_RATE,
    assumptions="N = 512 on 16 agents, d = 8, kappa = 1000, two-level spectrum, p = b/N, eps = 1e-8: b* = 64; b = 4 ... 256.",
    controls=[
        Control({"theta_2": 0.5}, "the usual constant 1/2 in the place of p/2: too slow for large pools and small batches"),
        Control({"lr": "1/(Min(1/2, sqrt(2/(kappa_g + 1024*kappa_s)))*(L_g + 1024*L_s))"}, "the step of one sample for all b"),
    ],
)
def batches_up_to_a_size_are_free(lab: Lab, theta_2: float | None = None, lr: str | None = None) -> Finding:
    """Larger batches save steps in proportion at no more component gradients, up to the batch b*, the fastest one."""
    where, batches = pool(8, 1000.0, m=16, n=32), _BATCHES if theta_2 is None and lr is None else _BATCHES[1:]
    slower = 1.0 if theta_2 is None and lr is None else 12.0
    found = arrivals(lab, [cell(lab, where, b, slower, theta_2=theta_2, lr=lr) for b in batches])
    return _judged_batches(lab, where, batches, found)


def _judged_batches(lab: Lab, where: Spec, batches: Sequence[int], found: Sequence[Arrival]) -> Finding:
    steps, known = steps_of(found), host(lab, where)
    best = float(np.sqrt(known["N"] * known["kappa_s"] / known["kappa_g"]))
    small = [i for i, b in enumerate(batches) if b <= best / 4 * (1 + 1e-9)]
    limits: dict[str, Any] = {"low": -1.05, "high": -0.95, "predicted": -1.0, "variable": "b", "quantity": "T"}
    first = slope([batches[i] for i in small], steps[small], **limits, label="exponent of b in T, b <= b*/4")
    scaled = steps * [rate(where, KATYUSHA_RATE, b, lab) for b in batches] / np.log(1 / EPS)
    limits = {"low": -0.05, "high": 0.05, "predicted": 0.0, "variable": "b", "quantity": "T tau / ln(1/eps)"}
    flat = slope(batches, scaled, **limits, label="exponent of b in T tau")
    calls = np.array([each.calls for each in found])
    upto = {cap: calls[[i for i, b in enumerate(batches) if b <= cap * best * (1 + 1e-9)]] for cap in (0.5, 1.0)}
    lower, whole = (float(np.max(each) / each[0]) for each in upto.values())
    fastest = [batches[i] for i in np.argsort([each.time for each in found])[:1] if np.isfinite(steps).all()]
    rows = tuple((b, *each) for b, each in zip(batches, found, strict=True))
    return together(
        first,
        flat,
        band(lower, high=1.08, label="component gradients at b*/2 / at the smallest b", predicted=1.0),
        band(whole, high=1.25, label="component gradients at b* / at the smallest b", predicted=1.0),
        band(fastest[0] / best if fastest else np.nan, 0.5, 2.0, label="b of the least computation time / b*", predicted=1.0),
        label="batches",
        panels=(first.panels[0], flat.panels[0]),
        tables=(Table("Until 1e-8", ("b", "T", "component gradients", "computation time", "rounds"), rows),),
    )


@claim(
    PAPER,
    source=f"abstract: computation time by the global condition number (source); formulas derived, {EXPLICIT}",
    kind="rate",
    statement=r"b=b^*:\quad\mathrm{time}=O\big(n+\sqrt{\kappa_g}+\sqrt{n\kappa_s/m}\big)\ln\tfrac1\varepsilon,\quad"
    r"\mathrm{LIFO}=O\big(N+\sqrt{N\kappa_s}\big)\ln\tfrac1\varepsilon",
    bound="(n + sqrt(kappa_g) + sqrt(n*kappa_s/m))*log(1/eps)",
    assumptions="16 agents, d = 8, kappa = 1000, two-level spectrum, eps = 1e-8; n = 16, 64 (full: to 1024), b = b*.",
    controls=[Control({"factor": 6.0}, "batches far beyond b*"), Control({"factor": 0.02}, "batches of 1 to 4")],
)
def time_at_the_best_batch(lab: Lab, factor: float = 1.0) -> Finding:
    """At the batch b* computation time and component gradients stay within a constant of the predicted laws as data grow."""
    sizes, parts = lab.pick(quick=(16, 64), full=(16, 64, 256, 1024)), []
    times, calls = [], []
    for n in sizes:
        where = pool(8, 1000.0, m=16, n=n)
        known = host(lab, where) | {"eps": EPS}
        b = max(1, round(factor * np.sqrt(known["N"] * known["kappa_s"] / known["kappa_g"])))
        found = arrivals(lab, [cell(lab, where, b)])[0]
        times.append(found.time / Bound("(n + sqrt(kappa_g) + sqrt(n*kappa_s/m))*log(1/eps)")(known))
        calls.append(found.calls / Bound("(N + sqrt(N*kappa_s))*log(1/eps)")(known))
    parts.append(band(times, 2.0, 6.0, label="computation time / law"))
    parts.append(band(calls, 1.5, 4.5, label="component gradients / law"))
    return together(*parts, label="at the best batch")


@claim(
    PAPER,
    source=f"derived, {EXPLICIT}; that the paper samples by smoothness is not known",
    kind="separation",
    statement=r"q_{ij}\propto L_{ij}:\quad\kappa_s=\tfrac1{N\mu}\sum L_{ij}\ \text{in the place of}\ \max L_{ij}/\mu",
    bound=KATYUSHA_RATE,
    assumptions="Log spectrum, kappa = 1000, N = 512, b = 16, d = 8 and 16, eps = 1e-8.",
    controls=[Control({"importance": False}, "uniform sampling in both places wins nothing")],
)
def sampling_by_smoothness_is_faster(lab: Lab, importance: bool = True) -> Finding:
    """Sampling from the pool by smoothness saves about the factor by which the guarantees differ."""
    parts = []
    for dim in (8, 16):
        where = pool(dim, 1000.0, "log")
        given: dict[str, Any] = {"importance": True, "smoothness_s": "L_s_importance"} if importance else {}
        uniform, weighted = steps_of(arrivals(lab, [cell(lab, where, 16), cell(lab, where, 16, **given)]))
        wiser = rate(where, KATYUSHA_RATE, 16, lab, kappa_s=host(lab, where)["kappa_s_importance"])
        claimed = wiser / rate(where, KATYUSHA_RATE, 16, lab)
        limits: dict[str, Any] = {"low": 0.8 * claimed, "high": 1.05 * claimed, "predicted": claimed}
        parts.append(band(uniform / weighted, **limits, label=f"d={dim}: T, uniform / by smoothness"))
    return together(*parts, label="sampling by smoothness")
