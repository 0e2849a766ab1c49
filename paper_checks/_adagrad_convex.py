"""Convex problems: the pathwise regret bound (B1), the convex theorem (B2), the batch size (B3)."""

from __future__ import annotations

from math import sqrt

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.bound_in_expectation import bound_in_expectation
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.analyses.invariance import invariance
from theorysim.analyses.slope import slope
from theorysim.bounds import Bound
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.laws import STARTS
from theorysim.model import Cell, Control, Search, Spec
from theorysim.paper_checks._adagrad_paper import CONVEX, CONVEX_TERMS, PAPER
from theorysim.registry import algorithm, claim, problem
from theorysim.trace import Trace

# The sweep of K1 and K2: step sizes theta * |w_1 - w*|_inf, with and without eps.
_THETA, _EPS = (0.2, 0.71, 1.0, 5.0), (0.0, 1e-2)
_VARIANTS = {"lr": [f"{theta}*D_inf_0" for theta in _THETA for _ in _EPS], "eps": list(_EPS) * len(_THETA)}
_STARTS = {"signs": {"start": "signs"}, "uniform": {"start": "uniform"}, "lognormal": {"start": "lognormal"}}
_MEASURES = ("gap", "regret", "root_sum", "max_distance:inf")


# Where hard instances of B1 and B2 are looked for; the start has |w_1 - w*|_inf = 1 in the eigenbasis, so that lr is theta.
_INSTANCES = {
    "dim": (1, 200),
    "decay": (0.0, 3.0),
    "start": list(STARTS),
    "rotation": [None, "random"],
    "lr": (0.1, 10.0),
    "eps": (1e-3, 100.0),
}


def _sweep(lab: Lab, start: str, noises: tuple[float, ...]) -> list[Trace]:
    method = algorithm("average", of=algorithm("adagrad", **_VARIANTS))
    return lab.run_all(
        Cell(
            problem("anisotropic_quadratic", dim=dim, decay=decay, noise=noise, noise_law="spectrum", **_STARTS[start]),
            method,
            steps=200,
            runs=lab.runs(lab.pick(quick=2, full=10)),
            measure=_MEASURES,
            record="all",
        )
        for decay in (0.0, 0.5, 1.0, 2.0)
        for dim in (100, 1000)
        for noise in noises
    )


def _one_step(lab: Lab) -> list[Trace]:
    """One step from equal magnitudes at theta = 1/sqrt(2), where both bounds can be computed by hand."""
    method = algorithm("average", of=algorithm("adagrad", lr="D_inf_0/sqrt(2)", eps=0.0))
    return lab.run_all(
        [Cell(problem("anisotropic_quadratic", dim=100, start="signs"), method, 1, measure=_MEASURES, record="last")]
    )


@claim(
    PAPER,
    source="B1, derived (the form of every AdaGrad regret bound)",
    kind="upper",
    statement=r"\sum_{t\le T}\langle g_t,w_t-w^*\rangle\le\Big(\frac{D_\infty^2}{2\eta}+\eta\Big)\sum_j\sqrt{v_{T,j}}"
    r"+\frac{\varepsilon d D_\infty^2}{2\eta}",
    bound="(D_inf**2/(2*eta) + eta)*V + eps*dim*D_inf**2/(2*eta)",
    assumptions="Any gradients, v_0 = 0; D_inf is measured on the run. V is the sum of sqrt(v_T) over coordinates.",
    controls=[Control({"factor": 0.5}, "half of the bound's first term is below what some runs reach")],
    search=Search(
        problem("anisotropic_quadratic", dim=100, start="signs", normalize="inf", noise=0.0, noise_law="spectrum"),
        algorithm("average", of=algorithm("adagrad", lr=1 / sqrt(2), eps=0.0)),
        over={**_INSTANCES, "noise": (0.0, 10.0)},
        steps=200,
        of="regret",
        bound="(D_inf**2/(2*eta) + eta)*V + eps*dim*D_inf**2/(2*eta)",
        where={"D_inf": "max_distance:inf", "V": "root_sum", "eta": "lr", "eps": "eps"},
    ),
)
def pathwise_regret(lab: Lab, factor: float = 1.0) -> Finding:
    """On every run the regret stays below the AdaGrad regret bound, and the bound is not vacuous."""
    bound = f"{factor}*(D_inf**2/(2*eta) + eta)*V + eps*dim*D_inf**2/(2*eta)"
    where = {"D_inf": "max_distance:inf", "V": "root_sum", "eta": "lr", "eps": "eps"}
    parts = []
    for start in _STARTS:
        traces = _sweep(lab, start, (0.0, 1.0))
        part = bound_ratio(traces, of="regret", bound=bound, where=where, label=f"regret / bound, start {start}")
        parts += [part, band(part.measured or 0.0, low=0.5, label=f"not vacuous, start {start}")]
    first = bound_ratio(_one_step(lab), of="regret", bound=bound, where=where, label="T=1")
    parts.append(
        band(first.measured or 0.0, 1 / sqrt(2) - 1e-12, 1 / sqrt(2) + 1e-12, label="T=1, equal errors", predicted=1 / sqrt(2))
    )
    return together(*parts, label="pathwise regret", panels=parts[0].panels)


@claim(
    PAPER,
    source="B2 deterministic (Theorem 4.1, form recalled; constants derived)",
    kind="upper",
    statement=r"f(\bar w_T)-f^*\le\frac{2c^2\|L\|_1D_\infty^2}{T}+\frac{\varepsilon dD_\infty}{\theta T},\quad "
    r"c=\tfrac1{2\theta}+\theta,\ \theta=\eta/D_\infty",
    bound=CONVEX,
    assumptions="Convex, anisotropically smooth with vector L, exact gradients; D_inf is measured up to T.",
    controls=[
        Control({"norm": "L_infnorm"}, "with max_j L_j in place of the sum a flat spectrum exceeds the bound d/8 times at T=1")
    ],
    search=Search(
        problem("anisotropic_quadratic", dim=100, start="signs", normalize="inf"),
        algorithm("average", of=algorithm("adagrad", lr=1 / sqrt(2), eps=0.0)),
        over=_INSTANCES,
        steps=200,
        of="gap",
        bound=CONVEX,
        where={**CONVEX_TERMS, "eps": "eps"},
    ),
)
def convex_theorem(lab: Lab, norm: str = "L_1norm") -> Finding:
    """Without noise the average iterate stays below the convex theorem's bound at every T, and meets 1/8 of it at T=1."""
    bound, where = CONVEX.replace("L_1norm", norm), {**CONVEX_TERMS, "eps": "eps"}
    parts = [
        bound_ratio(_sweep(lab, start, (0.0,)), of="gap", bound=bound, where=where, label=f"f(wbar) / bound, start {start}")
        for start in _STARTS
    ]
    first = bound_ratio(_one_step(lab), of="gap", bound=bound, where=where, label="T=1")
    parts.append(band(first.measured or 0.0, 0.125 - 1e-12, 0.125 + 1e-12, label="T=1, equal errors", predicted=0.125))
    return together(*parts, label="convex theorem", panels=parts[0].panels)


@claim(
    PAPER,
    source="B2, the term linear in eps, d and 1/T (derived)",
    kind="upper",
    statement=r"f(\bar w_T)-f^*\le\frac{4\|L\|_1D_\infty^2}{T}+\frac{\sqrt2\,\varepsilon dD_\infty}{T}",
    bound="4*L_1norm*D_inf_0**2/T + sqrt(2)*eps*dim*D_inf_0/T",
    assumptions="Start at distance 1 in every coordinate, L_j = 1/j, eta = 1/sqrt(2), no box; f(wbar) at T = 500.",
    controls=[
        Control({"eps_term": False}, "without the eps term the bound fails at eps = 0.3 and 1 for d = 1000"),
        Control({"eps_term": False, "eps": (0.1, 0.01)}, "at eps <= 0.1 the smooth term alone still covers it", fires=False),
        Control(
            {"eps_term": False, "dim": 100, "eps": (1.0,)},
            "at d = 100 the smooth term alone still covers it at T = 500",
            fires=False,
        ),
    ],
)
def eps_term_is_needed(lab: Lab, eps_term: bool = True, dim: int = 1000, eps: tuple[float, ...] = (0.3, 1.0)) -> Finding:
    """A large eps slows AdaGrad by a term that grows with eps and d: the bound has it, and fails without it."""
    bound = "4*L_1norm*D_inf_0**2/T" + (" + sqrt(2)*eps*dim*D_inf_0/T" if eps_term else "")
    method = algorithm("average", of=algorithm("adagrad", lr=[1 / sqrt(2)] * len(eps), eps=eps))
    trace = lab.run(Cell(problem("anisotropic_quadratic", dim=dim, start="ones"), method, 500, record="last"))
    return bound_ratio([trace], of="gap", bound=bound, where={"eps": "eps"}, label=f"f(wbar_500) / bound, d={dim}")


# B3: a box of half-width 1, the minimiser inside it at |w*|_inf = .9, start at 0: D_inf = 1.9 is known before the run.
_D_BATCH, _T_BATCH = 1.9, 200
_STOCHASTIC = "4*L_1norm*D_inf**2/T + 2*sqrt(2)*sigma_1norm*D_inf/sqrt(M*T)"


def _batch_problem(batch: int) -> Spec:
    return problem(
        "anisotropic_quadratic",
        dim=200,
        noise=0.5,
        noise_law="spectrum",
        batch=batch,
        start="uniform",
        normalize="inf",
        distance=0.9,
        origin="start",
    )


@claim(
    PAPER,
    source="B2 stochastic and B3 (Theorem 4.1, form recalled; constants derived)",
    kind="upper",
    statement=r"\mathbb E f(\bar w_T)-f^*\le\frac{4\|L\|_1D_\infty^2}{T}+\frac{2\sqrt2\,\|\sigma\|_1D_\infty}{\sqrt{MT}}",
    bound=_STOCHASTIC,
    assumptions="Box |w_j| <= 1, d = 200, L_j = 1/j, sigma_j = .5/j, T = 200; D_inf = 1.9, eta = D_inf/sqrt(2), fixed before.",
    controls=[Control({"shrink": False}, "if the noise does not shrink with M the error does not fall (slope 0)")],
)
def batch_size(lab: Lab, shrink: bool = True) -> Finding:
    """A larger batch lowers the error down to the smoothness term; the bound in expectation holds for every M."""
    batches = sorted({4**k for k in range(7)} | {1, 2, 4, 8, 16})
    method = algorithm("average", of=algorithm("adagrad", lr=_D_BATCH / sqrt(2), box=1.0))
    traces = lab.run_all(Cell(_batch_problem(m if shrink else 1), method, _T_BATCH, lab.runs(10), record="last") for m in batches)
    errors = np.stack([trace["gap"][:, -1] for trace in traces], axis=1)
    constants = traces[0].constants
    bound = Bound(_STOCHASTIC)({**constants, "D_inf": _D_BATCH, "T": _T_BATCH, "M": np.array(batches)})
    mean, error = errors.mean(axis=0), errors.std(axis=0, ddof=1) / np.sqrt(len(errors))
    rise = np.diff(errors, axis=1)
    excess = rise.mean(axis=0) - 3 * rise.std(axis=0, ddof=1) / np.sqrt(len(errors))
    small = [batches.index(m) for m in (1, 2, 4, 8, 16)]
    knee = constants["sigma_1norm"] ** 2 * _T_BATCH / (2 * constants["L_1norm"] ** 2 * _D_BATCH**2)
    rows = tuple(zip(batches, mean.tolist(), bound.tolist(), (mean / bound).tolist(), strict=True))
    parts = [
        band((mean + 3 * error) / bound, high=1.0, label="(mean + 3 se) / bound, worst M"),
        bound_in_expectation(np.array(batches, float), errors, bound, label="bound in expectation", variable="M"),
        band(excess, high=0.0, label="rise of the mean error from one M to the next, less 3 se"),
        slope(
            [batches[i] for i in small],
            mean[small],
            low=-1.2,
            high=-0.8,
            label="slope in M over 1..16",
            predicted=-1.0,
            variable="M",
        ),
    ]
    table = Table(
        f"Error and bound against batch size; the bound's two terms meet at M* = {knee:.1f}",
        ("M", "mean error", "bound", "ratio"),
        rows,
    )
    return together(*parts, label="batch size", tables=(table,))


@claim(
    PAPER,
    source="B2, level test K4 (derived)",
    kind="band",
    statement=r"L_j=\frac{\kappa\sigma_j}{D\sqrt{MT}}:\ \rho=\frac{\mathbb Ef(\bar w_T)-f^*}{f(w_1)-f^*}\ \text{same for all }T",
    assumptions="d = 60, kappa = 8, sigma_j = 1/d, w_1 - w* = +-D with D = 1, eps = 0, no box, eta = D/sqrt(2), M = 1.",
    controls=[
        Control({"fault": "frozen"}, "an optimizer that never moves has rho = 1"),
        Control({"fault": "no_root"}, "dividing by v instead of its root blows up"),
        Control({"fault": "moving_average"}, "a moving average of g^2 with step eta/sqrt(T) drifts with T"),
        Control({"fault": "moving_average_corrected"}, "with bias correction it is outside everywhere"),
        Control({"shrink": False}, "noise that does not shrink with M breaks the identity between M = 9 and M = 1"),
    ],
)
def noise_level(lab: Lab, fault: str | None = None, shrink: bool = True) -> Finding:
    """When curvature and noise fall together like 1/sqrt(T), AdaGrad's relative error stays at one level, about .018."""

    def cell(horizon: int, batch: int, measures: tuple[str, ...] = ("gap",), record: str = "last") -> Cell:
        instance = problem(
            "anisotropic_quadratic",
            dim=60,
            decay=0.0,
            scale=8 / 60 / sqrt(batch * horizon),
            start="signs",
            noise=1 / 60,
            batch=batch if shrink else 1,
        )
        return Cell(instance, _level_method(fault, horizon), horizon, lab.runs(20), measures, record)

    horizons = (150, 300, 600, 1200, 2400)
    levels = [float((t["gap"][:, -1] / t["gap"][:, 0]).mean()) for t in lab.run_all(cell(T, 1) for T in horizons)]
    parts = [band(level, 0.014, 0.022, label=f"rho at T={T}") for T, level in zip(horizons, levels, strict=True)]
    trajectory = tuple(f"coordinate:{j}" for j in range(60))
    one, nine = lab.run_all(cell(150, batch, trajectory, "all") for batch in (1, 9))
    parts.append(invariance(one, nine, measures=trajectory, label="trajectory at M=9 equals M=1"))
    return together(*parts, label="noise level")


def _level_method(fault: str | None, horizon: int) -> Spec:
    if fault is None:
        return algorithm("average", of=algorithm("adagrad", lr=1 / sqrt(2)))
    lr = 1 / sqrt(2 * horizon) if fault.startswith("moving_average") else 1 / sqrt(2)
    return algorithm("average", of=algorithm("faulty_adagrad", fault=fault, lr=lr))
