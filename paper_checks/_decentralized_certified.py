"""Decentralized L-SVRG with a certified number of rounds (A2): its envelope, and how the rounds grow with the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.analyses.slope import slope
from theorysim.bounds import Bound
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._decentralized_paper import (
    EXPLICIT,
    PAPER,
    Floats,
    arrival_cell,
    arrivals,
    dec_svrg,
    host,
    network,
    rounds_to,
    steps_of,
    with_values,
)
from theorysim.registry import claim
from theorysim.trace import Trace

STEP = "1/(4*L_g + 24*L_s/b)"
_FORMULAS = {
    "eta": STEP,
    "theta": "Min(eta*mu/2, p/2)",
    "C_1": "eta*L_loc + eta**2*(2*L_loc**2 + 12*L_max**2/b)",
    "C_a": "8*eta**2*(1 + m/b)*L_max**2",
    "C_p": "Max(8*eta**2*(1 + m/b)*L_s*L_g, (6 + 4*m/b)*b*p/4)",
    "rho": "sqrt(Min(1/8, 1/(4*(1 + 4*C_a + 8*C_p*C_1/theta))))",
    "e_1": "theta/(2*C_1)",
}
_ENVELOPE = "start*(1 - theta/2)**T"
_STEPS = "2/theta*log(1/eps)"
_MEASURES = ("mean_square_distance", "snapshot_variance", "square_disagreement", "tracker_disagreement", "estimator_error")


def certificate(known: Mapping[str, float], b: int, p: float) -> dict[str, float]:
    """The constants of the theorem on an instance, and K, the smallest number of rounds that it certifies."""
    found = {**known, "b": float(b), "p": p}
    for name, text in _FORMULAS.items():
        found[name] = float(Bound(text)(found))
    return found | {"K": float(rounds_to(found["rho"], found["lambda_2"]))}


def potentials(trace: Trace, known: Mapping[str, float]) -> tuple[Floats, Floats]:
    """E Psi and Y of an exact cell."""
    m, eta = known["m"], known["eta"]
    distance, variance, apart, tracker, estimator = (trace[name] for name in _MEASURES)
    psi = distance + 4 * eta**2 / (known["b"] * known["p"]) * variance
    a, beta, q = apart / m, eta**2 * tracker / m, eta**2 * estimator / m
    parts = [psi, a / known["e_1"], beta / known["e_1"], q / (known["C_a"] * known["e_1"] + known["C_p"])]
    return psi, np.max(np.stack(parts), axis=0)


_CHANCE, _BATCH = 0.1, 32


@claim(
    PAPER,
    source=f"derived, explicit and loose; {EXPLICIT}, for the method without acceleration",
    kind="upper",
    statement=r"\mathbb E\Psi_t\le Y_t\le(1-\tfrac\theta2)^tY_0,\quad Y=\max\big(\Psi,\tfrac a{e_1},\tfrac\beta{e_1},"
    r"\tfrac q{C_ae_1+C_p}\big),\quad\eta=\frac1{4L_g+24L_s/b},\quad\theta=\min(\tfrac{\eta\mu}2,\tfrac p2)",
    bound=_ENVELOPE,
    assumptions="Ring of 16, n = 32, d = 8, log spectrum, kappa = 10, sorted, b = 32, p = .1, K_cert = 35 rounds. a, beta, q: "
    "mean squared disagreement of X and eta S, and error of eta V; starts: 0, at x*, and 1e-6 from it.",
    controls=[
        Control(
            {"initial": "Psi", "start": "minimizer"}, "at x* the agents' gradients differ, which Psi does not see: Psi_0 = 0"
        ),
        Control({"initial": "Psi", "start": "near"}, "1e-6 from x*: the envelope of Psi_0 alone is exceeded"),
        Control({"rounds": 2}, "two rounds, far fewer than certified: diverges"),
        Control({"start": "minimizer"}, "the envelope of Y_0 holds there", fires=False),
    ],
)
def certified_envelope(lab: Lab, initial: str = "Y", start: str = "zeros", rounds: int | None = None) -> Finding:
    """With the certified rounds decentralized L-SVRG falls by a factor that knows the global condition number only."""
    law: Any = [1e-6] * 8 if start == "near" else start
    where = network(kappa=10.0, spectrum="log", start=law)
    known = certificate(host(lab, where), _BATCH, _CHANCE)
    method = dec_svrg(rounds or int(known["K"]), _BATCH, chance=_CHANCE, lr=STEP.replace("b", str(_BATCH)))
    trace = lab.run(Cell(where, method, lab.pick(quick=800, full=4000), 1, _MEASURES, "all", exact=True))
    psi, y = potentials(trace, known)
    first = float((y if initial == "Y" else psi)[0, 0])
    trace = with_values(trace, Psi=psi, Y=y)
    names = {"start": first, "theta": known["theta"]}
    kept = [bound_ratio([trace], of=of, bound=_ENVELOPE, where=names, label=f"{of} / envelope") for of in ("Psi", "Y")]
    known |= {"Psi_0": float(psi[0, 0]), "Y_0": float(y[0, 0])}
    rows = tuple((name, known[name]) for name in (*_FORMULAS, "K", "Psi_0", "Y_0"))
    tables = (Table("Constants of the theorem", ("name", "value"), rows),)
    if start != "zeros":
        return together(*(kept if initial == "Y" else kept[:1]), label="envelope", panels=kept[0].panels, tables=tables)
    with np.errstate(invalid="ignore"):
        fall = -np.log(psi[0, -1] / psi[0, len(psi[0]) // 2]) / (len(psi[0]) - 1 - len(psi[0]) // 2)
    ratio = band(fall / -np.log1p(-known["theta"] / 2), 1.0, 10.0, label="rate in the long run / guaranteed rate")
    return together(*kept, ratio, label="envelope", panels=kept[0].panels, tables=tables)


# ------------------------------------------------------------------------------------------------ rounds
def _plain_rounds(known: Mapping[str, float]) -> float:
    """The same contraction by gossip without a memory."""
    return float(np.ceil(np.log(known["rho"]) / np.log(known["lambda_2"])))


@claim(
    PAPER,
    source=f"abstract: comparable communication (source); certified rounds derived, {EXPLICIT}",
    kind="rate",
    statement=r"K_{\mathrm{cert}}=O\Big(\gamma^{-1/2}\ln\big((1+\tfrac mb)\tfrac{L_{\max}}\mu\big)\Big)",
    bound=_FORMULAS["rho"],
    assumptions="Lazy rings of 8, 16, 32, 64 agents, n = 32, d = 4, kappa = 100, b = 32, p = .1; and 16 agents on five graphs, "
    "d = 8, kappa = 10, on which T until 1e-8 is the same.",
    controls=[
        Control({"plain": True}, "gossip without a memory needs 1/gamma rounds"),
        Control({"rounds": 2}, "two rounds for every variable: on slow graphs the method diverges"),
    ],
)
def certified_rounds(lab: Lab, plain: bool = False, rounds: int | None = None) -> Finding:
    """The certified rounds grow as 1/sqrt(gamma), and with them the steps are the same on every graph."""
    rings = [certificate(host(lab, network(m=m, dim=4)), _BATCH, _CHANCE) for m in (8, 16, 32, 64)]
    counts = [_plain_rounds(known) if plain else known["K"] for known in rings]
    limits: dict[str, Any] = {"low": -0.55, "high": -0.45, "predicted": -0.5, "variable": "gamma", "quantity": "K"}
    parts = [slope([known["gamma"] for known in rings], counts, **limits, label="exponent of gamma in K")]
    graphs = lab.pick(quick=("complete", "hypercube", "ring"), full=("complete", "hypercube", "torus", "star", "ring"))
    places: list[Spec] = [network(graph, kappa=10.0) for graph in graphs]
    fixed = [certificate(host(lab, where), _BATCH, _CHANCE) for where in places]
    step = STEP.replace("b", str(_BATCH))
    cells = [
        arrival_cell(where, dec_svrg(rounds or int(known["K"]), _BATCH, chance=_CHANCE, lr=step), 1500)
        for where, known in zip(places, fixed, strict=True)
    ]
    found = steps_of(arrivals(lab, cells))
    allowed = [Bound(_STEPS)({**known, "eps": 1e-8}) for known in fixed]
    parts.append(band(found / found[0], 0.999, 1.001, label="T / T on the complete graph", predicted=1.0))
    parts.append(band(found / allowed, 0.1, 1.0, label="T / (2/theta ln(1/eps))"))
    rows = [
        (f"ring of {int(known['m'])}", known["gamma"], k, k * known["gamma"] ** 0.5, "")
        for known, k in zip(rings, counts, strict=True)
    ]
    rows += [
        (g, known["gamma"], known["K"], known["K"] * known["gamma"] ** 0.5, t)
        for g, known, t in zip(graphs, fixed, found.tolist(), strict=True)
    ]
    table = Table("Certified rounds", ("graph", "gamma", "K", "K sqrt(gamma)", "T"), tuple(rows))
    return together(*parts, label="certified rounds", panels=parts[0].panels, tables=(table,))
