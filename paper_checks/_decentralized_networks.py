"""Decentralized Katyusha and L-SVRG on networks (A3): steps of exact averaging, paid for in rounds of order 1/sqrt(gamma)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.slope import slope
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._decentralized_katyusha import horizon
from theorysim.paper_checks._decentralized_paper import (
    EXPLICIT,
    GRAPHS,
    PAPER,
    arrival_cell,
    arrivals,
    dec_katyusha,
    dec_svrg,
    enough_rounds,
    host,
    katyusha,
    network,
    rounds_to,
    steps_of,
)
from theorysim.registry import claim

_MEASURED = "computed exactly, no theorem: the consensus error of the accelerated method is not bounded here"


def exact_average(lab: Lab, where: Spec, batch: int = 64, eps: float = 1e-8) -> float:
    """T of Katyusha on the same pool, with exact averages."""
    return arrivals(lab, [arrival_cell(where, katyusha(batch), horizon(lab, where, batch, eps), eps)])[0].steps


@claim(
    PAPER,
    source=f"abstract: the bound on computation time is global (source); {_MEASURED}",
    kind="invariance",
    statement=r"T(W,K)=T(J)\quad\text{for}\quad\|P_K-J\|\le\min\big(\tfrac1{10},\tfrac{L_g}{2L_{\mathrm{loc}}}\big)",
    assumptions="Lazy Metropolis weights, 16 agents, n = 32, d = 8, sorted, kappa = 100, b = 64, p = 1/8, eps = 1e-8: six "
    "graphs; hypercube, kappa = 1000, b = 8, 64, 256 (full: 4 ... 256), K = 8.",
    controls=[
        Control({"rounds": 4}, "four rounds everywhere: too few for the star, on which the method diverges"),
        Control({"smoothness_s": "L_g"}, "agents that take the smoothness of f for that of its components, with other steps"),
    ],
)
def steps_are_those_of_exact_averages(lab: Lab, rounds: int | None = None, smoothness_s: str = "L_s") -> Finding:
    """With enough rounds decentralized Katyusha needs on every graph exactly the steps of exact averaging."""
    places = [network(graph) for graph in GRAPHS]
    counts = [rounds or enough_rounds(lab, where) for where in places]
    found = arrivals(
        lab,
        [
            arrival_cell(w, dec_katyusha(k, smoothness_s=smoothness_s), horizon(lab, w, 64))
            for w, k in zip(places, counts, strict=True)
        ],
    )
    alone = exact_average(lab, places[0])
    same: dict[str, Any] = {"low": 0.995, "high": 1.005, "predicted": 1.0}
    parts = [
        band(each.steps / alone, **same, label=f"{graph}: T / T of exact averages")
        for graph, each in zip(GRAPHS, found, strict=True)
    ]
    rows = [(graph, k, *each) for graph, k, each in zip(GRAPHS, counts, found, strict=True)]
    if rounds is None and smoothness_s == "L_s":
        where, fixed = network("hypercube", kappa=1000.0), 8
        batches = lab.pick(quick=(8, 64, 256), full=(4, 8, 16, 32, 64, 128, 256))
        cells = [arrival_cell(where, dec_katyusha(fixed, b), horizon(lab, where, b)) for b in batches]
        for b, each in zip(batches, arrivals(lab, cells), strict=True):
            label = f"hypercube, kappa=1000, b={b}: T / T of exact averages"
            parts.append(band(each.steps / exact_average(lab, where, b), **same, label=label))
            rows.append((f"hypercube, kappa=1000, b={b}", fixed, *each))
    columns = ("graph", "K", "T", "component gradients", "computation time", "rounds")
    return together(
        *parts, label="steps on every graph", tables=(Table(f"Until 1e-8; exact averages: T = {alone:g}", columns, tuple(rows)),)
    )


# ------------------------------------------------------------------------------------------------ exponents
@claim(
    PAPER,
    source=f"abstract: better dependence on condition numbers (source); exponents derived, {EXPLICIT}",
    kind="rate",
    statement=r"\text{rounds}=3KT\sim\sqrt{\kappa_g/\gamma}\ \text{(accelerated)},\qquad T\sim\kappa_g\ \text{(L-SVRG)}",
    assumptions="Lazy ring of 16, n = 32, d = 8, sorted (the f_i are not strongly convex), b = 64, p = 1/8, K = 21; "
    "kappa = 100, 400, 1600 (full: 6400), eps = 1e-10; L-SVRG: kappa = 25, 100 (full: 400).",
    controls=[
        Control({"accelerated": False}, "L-SVRG in the place of Katyusha grows linearly"),
        Control({"rounds": 2}, "two rounds: diverges"),
    ],
)
def rounds_grow_with_the_root(lab: Lab, accelerated: bool = True, rounds: int = 21) -> Finding:
    """On a network Katyusha keeps the square root of the global condition number, though the agents' own are infinite."""
    eps, kappas = 1e-10, lab.pick(quick=(100.0, 400.0, 1600.0), full=(100.0, 400.0, 1600.0, 6400.0))
    small = lab.pick(quick=(25.0, 100.0), full=(25.0, 100.0, 400.0))
    used = kappas if accelerated else small
    places = [network(kappa=kappa) for kappa in used]
    if accelerated:
        cells = [arrival_cell(where, dec_katyusha(rounds), horizon(lab, where, 64, eps), eps) for where in places]
    else:
        cells = [arrival_cell(where, dec_svrg(rounds), 25 * kappa, eps) for where, kappa in zip(places, used, strict=True)]
    found = arrivals(lab, cells)
    limits: dict[str, Any] = {"low": 0.45, "high": 0.55, "predicted": 0.5, "variable": "kappa"}
    label = "exponent of kappa in the steps"
    parts = [slope(used, steps_of(found), **limits, label=label, quantity="T")]
    label = "exponent of kappa in the rounds"
    parts.append(slope(used, [each.rounds for each in found], **limits, label=label, quantity="rounds"))
    if accelerated:
        cells = [arrival_cell(network(kappa=kappa), dec_svrg(rounds), 25 * kappa, eps) for kappa in small]
        limits = {"low": 0.95, "high": 1.05, "predicted": 1.0, "variable": "kappa", "quantity": "T"}
        parts.append(slope(small, steps_of(arrivals(lab, cells)), **limits, label="exponent of kappa in the steps of L-SVRG"))
    return together(*parts, label="exponent of kappa", panels=parts[0].panels)


@claim(
    PAPER,
    source=f"abstract: comparable communication (source); exponent derived, {EXPLICIT}",
    kind="rate",
    statement=r"\text{rounds}=3KT\sim\gamma^{-1/2},\qquad T\ \text{the same}",
    assumptions="Lazy rings of 8, 16, 32 (full: 64) agents that share N = 512 components, d = 4, kappa = 100, b = 32, p = 1/16, "
    "eps = 1e-8; K: the least with a contraction of .05.",
    controls=[
        Control({"mixing": "plain"}, "as much mixing by gossip without a memory takes 1/gamma rounds"),
        Control({"rounds": 10}, "the rounds of the smallest ring on all of them"),
    ],
)
def rounds_grow_as_the_root_of_the_gap(lab: Lab, mixing: str = "fast", rounds: int | None = None) -> Finding:
    """On larger rings the steps stay the same, and rounds grow as 1/sqrt(gamma)."""
    agents = lab.pick(quick=(8, 16, 32), full=(8, 16, 32, 64))
    places = [network(m=m, n=512 // m, dim=4) for m in agents]
    known = [host(lab, where) for where in places]
    counts = [rounds or _for_contraction(0.05, each["lambda_2"], mixing) for each in known]
    cells = [
        arrival_cell(where, dec_katyusha(k, 32, mixing=mixing), horizon(lab, where, 32))
        for where, k in zip(places, counts, strict=True)
    ]
    found = arrivals(lab, cells)
    steps, gaps = steps_of(found), [each["gamma"] for each in known]
    limits: dict[str, Any] = {"low": -0.55, "high": -0.45, "predicted": -0.5, "variable": "gamma"}
    law = slope(gaps, [each.rounds for each in found], **limits, label="exponent of gamma in the rounds", quantity="rounds")
    same = band(steps / steps[0], 0.995, 1.005, label="T / T on the smallest ring", predicted=1.0)
    time = slope(agents, [each.time for each in found], low=-1.0, high=-0.4, label="exponent of the agents in computation time")
    rows = tuple((m, g, k, *each) for m, g, k, each in zip(agents, gaps, counts, found, strict=True))
    columns = ("agents", "gamma", "K", "T", "component gradients", "computation time", "rounds")
    return together(law, same, time, label="rounds over the gap", panels=law.panels, tables=(Table("Rings", columns, rows),))


def _for_contraction(target: float, lambda_2: float, mixing: str) -> int:
    return rounds_to(target, lambda_2) if mixing == "fast" else int(np.ceil(np.log(target) / np.log(lambda_2)))


# ------------------------------------------------------------------------------------------------ what it needs
@claim(
    PAPER,
    source=f"derived; {_MEASURED}",
    kind="separation",
    statement=r"S\leftarrow P_K(S+V-V_{\mathrm{old}}):\ \text{exact};\qquad S=P_KV:\ \text{a floor that falls with }\|P_K-J\|",
    assumptions="Lazy ring of 16, n = 32, d = 8, sorted, kappa = 100, b = 64, p = 1/8; 600 steps, target 1e-12; K = 4 ... 21.",
    controls=[
        Control({"tracking": False}, "no tracking in the place of the method itself"),
        Control({"dim": 16}, "every direction lives on one agent: all f_i have the same minimizer, nothing is left to track"),
    ],
)
def tracking_is_needed(lab: Lab, tracking: bool = True, dim: int = 8) -> Finding:
    """Without tracking of the mean gradient Katyusha stops at an error that more rounds make smaller, but never zero."""
    counts, where = (4, 6, 8, 12, 16, 21), network(dim=dim)
    cells = [_deep(where, dec_katyusha(k, tracking=flag)) for flag in (tracking, False) for k in counts]
    values = [trace["square_distance"][0] for trace in lab.run_all(cells)]
    ratios = [float(value[-1] / value[0]) for value in values]
    tracked, untracked = ratios[: len(counts)], ratios[len(counts) :]
    parts = [band(tracked, high=1e-12, label="with tracking: relative error after 600 steps", predicted=0.0)]
    parts.append(band(untracked, low=1e-11, label="without: relative error after 600 steps"))
    law = slope(counts, untracked, high=-5.0, label="exponent of K in the floor", variable="K", quantity="relative error")
    rows = tuple((k, a, b) for k, a, b in zip(counts, tracked, untracked, strict=True))
    table = Table("Relative error after 600 steps", ("K", "with tracking", "without"), rows)
    return together(*parts, law, label="tracking", panels=law.panels, tables=(table,))


def _deep(where: Spec, method: Spec) -> Cell:
    return Cell(where, method, 600, 1, ("square_distance",), (0, 600), exact=True)


Instance = tuple[str, Spec, int, Sequence[int], Sequence[int]]  # with its b, the K that diverge, the K that converge


def _instances() -> list[Instance]:
    wide = network("ring", m=32, n=16)
    return [
        ("ring of 32, b=64", wide, 64, (1, 2, 3), (8, 42)),
        ("ring of 16, b=64", network("ring"), 64, (1, 2, 3), (4, 6)),
        ("torus, b=64", network("torus"), 64, (1,), (2, 6)),
        ("star, b=64", network("star"), 64, (1, 4, 5, 6), (7, 18)),
        ("path, b=64", network("path"), 64, (4, 6), (7, 39)),
        ("ring of 16, b=16", network("ring"), 16, (), (1, 2, 4)),
        ("ring of 16, d=4, b=32", network("ring", dim=4), 32, (2,), (1, 3, 4)),
        ("ring of 16, kappa=1000, b=256", network("ring", kappa=1000.0), 256, (1, 4, 8, 9), (10,)),
    ]


@claim(
    PAPER,
    source=f"derived: tracking feeds back what few rounds leave, and accelerated gossip changes signs; instances {_MEASURED}",
    kind="threshold",
    statement=r"\text{few rounds of accelerated gossip inside gradient tracking may diverge, and one more round may be worse: }"
    r"p_2(0)=-\eta_w<0",
    assumptions="Lazy Metropolis weights, sorted, kappa = 100 or 1000, p = b/N; quick: two rings and a torus; full: eight "
    "instances, each with the K that diverge and the K that converge to 1e-8 within 12 times the steps of exact averaging.",
    controls=[
        Control({"enough": True}, "as many rounds as the working rule asks for, in the place of few"),
        Control({"batch": 16}, "a smaller batch makes shorter steps, which few rounds can follow on the small graphs"),
    ],
)
def few_rounds_may_diverge(lab: Lab, enough: bool = False, batch: int | None = None) -> Finding:
    """Few rounds of accelerated gossip can make decentralized Katyusha diverge: which K do depends on graph and batch."""
    parts: list[Finding] = []
    rows: list[tuple[Any, ...]] = []
    for name, where, b, bad, good in lab.pick(quick=_instances()[:3], full=_instances()):
        alone = exact_average(lab, where, b)
        most = int(lab.pick(quick=4, full=12) * alone)
        used = [enough_rounds(lab, where)] * len(bad) if enough else bad
        method = [dec_katyusha(k, batch or b) for k in used]
        cells = [Cell(where, each, most, 1, ("square_distance", "mean_radius"), "last", exact=True) for each in method]
        for k, trace in zip(used, lab.run_all(cells), strict=True):
            grown = float(trace["square_distance"][0, -1] / trace["square_distance"][0, 0])
            parts.append(band(min(grown, 1e300), low=1e6, label=f"{name}, K={k}: growth of the error"))
            rows.append((name, k, "diverges", float(trace["mean_radius"][0, -1])))
        found = arrivals(lab, [arrival_cell(where, dec_katyusha(k, b), most) for k in good])
        for k, each in zip(good, found, strict=True):
            parts.append(band(each.steps / alone, 0.9, 12.0, label=f"{name}, K={k}: T / T of exact averages"))
            rows.append((name, k, f"T = {each.steps:g}", ""))
    table = Table("Few rounds", ("instance", "K", "outcome", "radius of the mean dynamics"), tuple(rows))
    return together(*parts, label="few rounds", tables=(table,))
