"""Older methods of agents with exact local gradients: a biased one, and what takes the bias out."""

from __future__ import annotations

from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.slope import slope
from theorysim.backend import to_host
from theorysim.bounds import Bound
from theorysim.findings import Finding, Table, Verdict, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._decentralized_paper import PAPER, Floats, host, network
from theorysim.registry import algorithm, claim

_BIAS = "alpha*G_star/gamma"


def parts_of(lab: Lab, where: Spec) -> tuple[Floats, Floats, Floats, Floats]:
    """W (m, m), the Hessians of the f_i (m, d, d), grad f_i(x*) (m, d) and x* (d,): from what agents hear."""
    one = lab.build(where)
    net, (d,) = one.capabilities["network"], one.shape
    local = lab.build(where, d + 1).capabilities["finite_sum"].local_gradient
    w = to_host(net.mix(lab.backend.asarray(np.eye(net.agents)[None]), 1))[0]
    centre = np.broadcast_to(to_host(one.minimizer), (1, d))[0]
    points = np.concatenate([np.zeros((1, d)), np.eye(d)])[:, None, :] + centre
    found = to_host(local(lab.backend.asarray(np.broadcast_to(points, (d + 1, net.agents, d)).copy())))
    return w, np.moveaxis(found[1:] - found[0], 0, 2), found[0], centre


def fixed_point(lab: Lab, where: Spec, alpha: float) -> tuple[Floats, Floats]:
    """X - 1 x* of DGD at rest, (m, d), and what theory says in leading order: -alpha (I - W)^+ G* plus a multiple of 1."""
    w, hessians, at, _ = parts_of(lab, where)
    m, d = at.shape
    system = np.kron(np.eye(m) - w, np.eye(d))
    for i in range(m):
        system[i * d : (i + 1) * d, i * d : (i + 1) * d] += alpha * hessians[i]
    rest = np.linalg.solve(system, -alpha * at.ravel()).reshape(m, d)
    apart = -alpha * np.linalg.pinv(np.eye(m) - w) @ at
    mean = -np.linalg.solve(hessians.mean(axis=0), np.einsum("ikl,il->k", hessians, apart) / m)
    return rest, apart + mean


@claim(
    PAPER,
    source="DGD recalled (Nedic, Ozdaglar 2009); leading order of its bias derived",
    kind="tight",
    statement=r"X_\infty-\mathbf 1\bar x=-\alpha(I-W)^+G^*+O(\alpha^2),\quad\|\cdot\|\le\frac{\alpha\|G^*\|_F}\gamma(1+o(1)),"
    r"\quad\bar x-x^*=\alpha H^{-1}\tfrac1m\sum_iH_i\big((I-W)^+G^*\big)_i+O(\alpha^2)",
    bound=_BIAS,
    assumptions="Lazy rings of 16 and 32 and a hypercube of 16, d = 8, kappa = 20, sorted; alpha = 1e-5 ... 1e-4 by a linear "
    "solve; the mean on the ring of 32; DGD itself with alpha = .02 (full: also .01, .005).",
    controls=[
        Control({"dim": 16}, "all f_i have the same minimizer: there is no bias"),
        Control({"times": 5.0}, "judged with a fifth of the step"),
    ],
)
def gradient_descent_of_agents_is_biased(lab: Lab, dim: int = 8, times: float = 1.0) -> Finding:
    """Decentralized gradient descent comes to rest away from the minimizer, by its step times the heterogeneity of the agents."""
    places = {"ring of 16": network(kappa=20.0, dim=dim), "hypercube": network("hypercube", kappa=20.0, dim=dim)}
    if dim == 8:
        places["ring of 32"] = network(kappa=20.0, m=32, n=16)
    alphas, parts = np.array([1e-5, 2e-5, 5e-5, 1e-4]), []
    for name, where in places.items():
        known = host(lab, where)
        pairs = [fixed_point(lab, where, float(alpha)) for alpha in alphas]
        apart = np.array([[np.linalg.norm(x - x.mean(axis=0)) for x in pair] for pair in pairs])
        limit = np.array([float(Bound(_BIAS)({**known, "alpha": alpha / times})) for alpha in alphas])
        with np.errstate(all="ignore"):
            ratio = apart[0, 0] / (apart[0, 1] / times)
            parts.append(band(ratio, 0.997, 1.003, label=f"{name}: disagreement / leading order", predicted=1.0))
            parts.append(band(apart[:, 0] / limit, high=1.0, label=f"{name}: disagreement / bound"))
        limits: dict[str, Any] = {"low": 0.95, "high": 1.05, "predicted": 1.0, "variable": "alpha", "quantity": "disagreement"}
        parts.append(slope(alphas.tolist(), apart[:, 0], **limits, label=f"{name}: exponent of alpha"))
        if name == "ring of 32":
            means = [float(np.linalg.norm(x.mean(axis=0))) for x in pairs[0]]
            parts.append(band(means[0] / means[1] * times, 0.99, 1.01, label=f"{name}: mean / leading order", predicted=1.0))
    parts.append(_at_rest(lab, places["ring of 16"], times))
    return together(*parts, label="bias", panels=parts[2].panels)


def _at_rest(lab: Lab, where: Spec, times: float) -> Finding:
    """DGD run until it rests, against the solution of the linear system."""
    ratios = []
    for alpha in lab.pick(quick=(0.02,), full=(0.02, 0.01, 0.005)):
        steps = int(400 / alpha)
        trace = lab.run(Cell(where, algorithm("dgd", lr=alpha), steps, 1, ("agents_distance",), (0, steps)))
        with np.errstate(all="ignore"):
            ratios.append(float(trace["agents_distance"][0, 1] / np.linalg.norm(fixed_point(lab, where, alpha / times)[0])))
    return band(ratios, 0.999, 1.001, label="distance of DGD at rest / its fixed point", predicted=1.0)


# ------------------------------------------------------------------------------------------------ exact methods
_EXACT: dict[str, tuple[str, dict[str, Any]]] = {
    "DIGing": ("gradient_tracking", {"form": "diging"}),
    "ATC": ("gradient_tracking", {"form": "atc"}),
    "EXTRA": ("extra", {}),
    "NIDS": ("nids", {}),
    "exact diffusion": ("exact_diffusion", {}),
}


@claim(
    PAPER,
    source="DIGing, ATC, EXTRA, NIDS, exact diffusion: recalled",
    kind="separation",
    statement=r"X_t\to\mathbf 1x^*\ \text{linearly (tracking, EXTRA, NIDS)};\qquad\text{DGD: a floor}",
    assumptions="Lazy ring of 16, n = 32, d = 8, kappa = 20, sorted, steps of .02: squared distance 1e-8 (full: 1e-13) of the "
    "start within 11000 (full: 16000) steps.",
    controls=[Control({"plain": True}, "gradient descent of agents in their place stops at 1.2e-3")],
)
def bias_is_taken_out(lab: Lab, plain: bool = False) -> Finding:
    """Tracking the mean gradient, or a second memory, takes the bias of decentralized gradient descent out."""
    target, steps = lab.pick(quick=(1e-8, 11_000), full=(1e-13, 16_000))
    methods = {"DGD": ("dgd", {})} if plain else _EXACT
    parts, rows, where = [], [], network(kappa=20.0)
    for label, (name, params) in methods.items():
        trace = lab.run(Cell(where, algorithm(name, lr=0.02, **params), steps, 1, ("agents_distance",), "all"))
        ratio = (trace["agents_distance"][0] / trace["agents_distance"][0, 0]) ** 2
        if plain and not ratio[-1] < 0.5:  # a control has to fail for its own reason
            return Finding("DGD", Verdict.UNDECIDED, "gradient descent of agents did not come closer, so it says nothing")
        hits = np.flatnonzero(ratio <= target)
        rows.append((label, int(hits[0]) if len(hits) else "never", float(ratio[-1])))
        parts.append(band(ratio[-1], high=target, label=f"{label}: relative squared distance at the end", predicted=0.0))
        if label in ("DIGing", "ATC"):
            law = np.log(1 / target) / (2 * 0.02 * host(lab, where)["mu"])
            first = float(hits[0]) if len(hits) else np.nan
            parts.append(band(first / law, 0.9, 1.1, label=f"{label}: T / (ln(1/eps)/(2 alpha mu))", predicted=1.0))
    return together(
        *parts, label="exact methods", tables=(Table(f"Steps until {target:g}", ("method", "T", "at the end"), tuple(rows)),)
    )


def _literal(lab: Lab, where: Spec, label: str, alpha: float, steps: int) -> Floats:
    """‖X_t - 1 x*‖_F, t = 0 ... ``steps``, from the recursions as they are written in two steps; U = X - 1 x*, U_0 = -1 x*."""
    w, hessians, at, centre = parts_of(lab, where)
    half = (np.eye(len(w)) + w) / 2

    def g(u: Floats) -> Floats:
        return np.asarray(np.einsum("ikl,il->ik", hessians, u) + at)

    first = np.tile(-centre, (len(w), 1))
    s = g(first)
    adapted = first - alpha * s
    starts = {"ATC": w @ adapted, "NIDS": adapted, "exact diffusion": half @ adapted}
    path = [first, starts.get(label, w @ first - alpha * s)]
    for _ in range(steps - 1):
        a, b = path[-2:]
        change = g(b) - g(a)
        if label == "DGD":
            new = w @ b - alpha * g(b)
        elif label == "EXTRA":
            new = 2 * half @ b - half @ a - alpha * change
        elif label in ("NIDS", "exact diffusion"):
            new = half @ (2 * b - a - alpha * change)
        else:
            s = w @ s + change if label == "DIGing" else w @ (s + change)
            new = w @ b - alpha * s if label == "DIGing" else w @ (b - alpha * s)
        path.append(new)
    return np.array([np.linalg.norm(u) for u in path])


@claim(
    PAPER,
    source="DGD, DIGing, ATC, EXTRA, NIDS, exact diffusion: recalled",
    kind="identity",
    statement=r"X_{t+2}=(I+W)X_{t+1}-\tfrac{I+W}2X_t-\alpha(G_{t+1}-G_t)\ \text{(EXTRA)},\quad X_{t+2}=\tfrac{I+W}2\big(2X_{t+1}"
    r"-X_t-\alpha(G_{t+1}-G_t)\big)\ \text{(NIDS)},\ \dots",
    assumptions="Lazy ring of 16, n = 32, d = 8, kappa = 20, sorted, steps of .1; distances of all agents in the first 12 steps.",
    controls=[
        Control({"times": 2.0}, "judged with twice the step"),
        Control({"called": "ATC"}, "every method in the place of adapt-then-combine"),
    ],
)
def older_methods_take_their_steps(lab: Lab, times: float = 1.0, called: str | None = None) -> Finding:
    """The older methods follow the recursions that their names stand for, step by step."""
    parts, where, steps = [], network(kappa=20.0), 12
    for label, (name, params) in {"DGD": ("dgd", {}), **_EXACT}.items():
        trace = lab.run(Cell(where, algorithm(name, lr=0.1, **params), steps, 1, ("agents_distance",), "all"))
        claimed = _literal(lab, where, called or label, 0.1 * times, steps)
        off = np.abs(trace["agents_distance"][0] / claimed - 1)
        parts.append(band(off, high=1e-10, label=f"{label}: relative difference of distances", predicted=0.0))
    return together(*parts, label="steps")
