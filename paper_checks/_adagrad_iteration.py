"""The iteration itself: exact trajectories (K11) and the invariance behind AdaGrad's independence of L (B9, K10)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal, localcontext
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray

from theorysim.analyses.band import band
from theorysim.analyses.invariance import invariance
from theorysim.backend import CPU
from theorysim.findings import Finding, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Draw, Spec
from theorysim.noise import Draws, Stream
from theorysim.paper_checks._adagrad_paper import PAPER
from theorysim.registry import algorithm, claim, problem

Floats = NDArray[np.float64]
Gradient = Callable[[Floats, int], Floats]

# A small quadratic, f = 1/2 w'Hw with H = Q diag(spectrum) Q', and a start that no formula prefers.
_H = ((2, 1, 0), (1, 2, 1), (0, 1, 2))
_Q = np.array([[0.5, 1 / sqrt(2), 0.5], [1 / sqrt(2), 0.0, -1 / sqrt(2)], [0.5, -1 / sqrt(2), 0.5]])
_W1, _ETA = ("1", "-0.4", "1.7"), "0.5"
_COORDINATES = tuple(f"coordinate:{j}" for j in range(3))


@claim(
    PAPER,
    source="K11 (the algorithm of the paper; recomputed here in 40-digit arithmetic)",
    kind="identity",
    statement=r"v_t=v_{t-1}+g_t^2,\qquad w_{t+1}=w_t-\eta\,\frac{g_t}{\sqrt{v_t}+\varepsilon}",
    assumptions="H = [[2,1,0],[1,2,1],[0,1,2]], w_1 = (1,-.4,1.7), eta = .5, eps in {0, .1}, no box; no step exceeds eta.",
    controls=[
        Control(
            {"method": algorithm("faulty_adagrad", fault="lagged", lr=0.5, eps=0.1), "tolerance": 1e-4}, "v_{t-1} in place of v_t"
        ),
        Control(
            {"method": algorithm("faulty_adagrad", fault="moving_average", decay=0.9, lr=0.5, eps=0.1), "tolerance": 1e-4},
            "a moving average .9/.1 of g^2",
        ),
        Control(
            {"method": algorithm("faulty_adagrad", fault="no_root", lr=0.5, eps=0.1), "tolerance": 1e-4}, "v without its root"
        ),
        Control(
            {"method": algorithm("faulty_adagrad", fault="eps_inside", lr=0.5, eps=0.1), "tolerance": 1e-4}, "eps inside the root"
        ),
        Control({"method": algorithm("adagrad_norm", lr=0.5, eps=0.1), "tolerance": 1e-4}, "one accumulator for all coordinates"),
    ],
)
def exact_trajectory(lab: Lab, method: Spec | None = None, tolerance: float = 1e-12) -> Finding:
    """The implementation follows AdaGrad's recursion to rounding, and no look-alike does; the compared methods follow theirs."""
    methods = {"0.1": method} if method else {eps: algorithm("adagrad", lr=0.5, eps=float(eps)) for eps in ("0", "0.1")}
    start = (np.array(_W1, dtype=float) @ _Q).tolist()
    instance = problem("anisotropic_quadratic", dim=3, spectrum=[2 + sqrt(2), 2.0, 2 - sqrt(2)], rotation=_Q, start=start)
    parts = []
    for eps, each in methods.items():
        trace = lab.run(Cell(instance, each, 4, 1, _COORDINATES, "all"))
        path = np.stack([trace[name][0] for name in _COORDINATES], axis=1)
        off = float(np.abs(path - _forty_digits(eps, 4)).max())
        parts.append(band(off, high=tolerance, label=f"eps={eps}: distance from the 40-digit trajectory", predicted=0.0))
        if method is None:
            parts.append(
                band(float(np.abs(np.diff(path, axis=0)).max()), high=0.5 * (1 + 1e-12), label=f"eps={eps}: largest step")
            )
    return together(*parts, *([] if method else _compared(lab)), label="trajectory")


def _forty_digits(eps: str, steps: int) -> Floats:
    """AdaGrad written down a second time, in decimal arithmetic: ``(steps + 1, 3)``."""
    with localcontext() as context:
        context.prec = 40
        w, v = [Decimal(x) for x in _W1], [Decimal(0)] * 3
        path = [list(w)]
        for _ in range(steps):
            g = [sum((Decimal(h) * x for h, x in zip(row, w, strict=True)), Decimal(0)) for row in _H]
            v = [a + b * b for a, b in zip(v, g, strict=True)]
            w = [x - Decimal(_ETA) * b / (a.sqrt() + Decimal(eps)) for x, a, b in zip(w, v, g, strict=True)]
            path.append(list(w))
        return np.array(path, dtype=float)


_METHODS: dict[str, dict[str, float]] = {
    "gradient_descent": {"lr": 0.3},
    "sgd": {"lr": 0.3},
    "adagrad": {"lr": 0.3, "eps": 0.05, "v0": 0.01, "box": 0.5},
    "adagrad_norm": {"lr": 0.6, "eps": 0.05, "v0": 0.01, "box": 0.5},
    "full_matrix_adagrad": {"lr": 0.3, "eps": 0.05},
}


def _compared(lab: Lab) -> list[Finding]:
    """Every method of the paper, with noise, and the gap of its average: distance from what is computed here once more."""
    dim, steps, sigma, batch = 5, 12, 0.2, 4
    instance = problem(
        "anisotropic_quadratic", dim=dim, rotation="random", start="uniform", origin="start", noise=sigma, batch=batch
    )
    built = replace(lab, backend=CPU).build(instance)
    hessian, draws = np.asarray(built.capabilities["hessian"]()), Draws(CPU, lab.seed, np.arange(1))
    minimizer: Floats = np.asarray(built.minimizer)[0]
    measures, parts = ("gap", *(f"coordinate:{j}" for j in range(dim))), []

    def exact(w: Floats, t: int) -> Floats:
        return np.asarray(hessian @ (w - minimizer))

    def noisy(w: Floats, t: int) -> Floats:
        return np.asarray(exact(w, t) + sigma / sqrt(batch) * draws.normal(Stream.GRADIENT, Draw(t), (dim,))[0])

    for name, settings in _METHODS.items():
        trace = lab.run(Cell(instance, algorithm("average", of=algorithm(name, **settings)), steps, 1, measures, "all"))
        path = _recursion(name, exact if name == "gradient_descent" else noisy, built.start[0], steps, **settings)
        means = np.stack([path[0], *(path[:t].mean(axis=0) for t in range(1, steps + 1))]) - minimizer
        expected = np.column_stack([0.5 * ((means @ hessian) * means).sum(axis=1), path])
        off = np.abs(np.column_stack([trace[measure][0] for measure in measures]) - expected)
        parts.append(band(off, high=1e-10, label=f"{name}: distance from its recursion and average", predicted=0.0))
    return parts


def _recursion(
    name: str, gradient: Gradient, start: Floats, steps: int, lr: float, eps: float = 0.0, v0: float = 0.0, box: float = inf
) -> Floats:
    """The iterates ``(steps + 1, dim)`` of x - lr (V^{1/2} + eps)^+ g, V the sum of the method's squares of g; or of x - lr g."""
    path = [start]
    V = v0 * np.eye(len(start))
    for t in range(1, steps + 1):
        g = gradient(path[-1], t)
        if name in ("gradient_descent", "sgd"):
            path.append(path[-1] - lr * g)
            continue
        squares = {"adagrad": np.diag(g * g), "adagrad_norm": (g @ g) * np.eye(len(g)), "full_matrix_adagrad": np.outer(g, g)}
        V = V + squares[name]
        values, vectors = np.linalg.eigh(V)
        kept = values > 1e-13 * values[-1]
        direction = vectors[:, kept] @ ((vectors[:, kept].T @ g) / (np.sqrt(values[kept]) + eps))
        path.append(np.clip(path[-1] - lr * direction, -box, box))
    return np.stack(path)


@claim(
    PAPER,
    source="B4 and B9 (derived): with eps = 0 the iteration on a separable quadratic does not contain L at all",
    kind="invariance",
    statement=r"f_j\to c_jf_j\ \text{for every coordinate leaves all iterates unchanged}",
    assumptions="d = 20, L_j = 1/j, c = exp(1.5 N(0,1)), x_1 ~ U(-1,1), eta = .5, eps = 0, no box, 100 steps.",
    controls=[
        Control({"eps": 1e-2, "tolerance": 0.1}, "eps compares the gradient with a fixed scale"),
        Control({"method": "adagrad_norm", "tolerance": 0.1}, "one step size for all coordinates feels their scales"),
    ],
)
def rescaling_invariance(lab: Lab, method: str = "adagrad", eps: float = 0.0, tolerance: float = 1e-10) -> Finding:
    """Rescaling the coordinates' functions one by one does not change AdaGrad's iterates."""
    dim = 20
    factors = np.exp(1.5 * Draws(CPU, lab.seed, np.arange(1)).shared_normal(Stream.INSTANCE, Draw(7), (dim,)))
    plain = 1.0 / np.arange(1, dim + 1)
    coordinates = tuple(f"coordinate:{j}" for j in range(dim))
    one, other = lab.run_all(
        Cell(
            problem("anisotropic_quadratic", dim=dim, spectrum=spectrum, start="uniform"),
            algorithm(method, lr=0.5, eps=eps),
            100,
            lab.runs(5),
            coordinates,
            "all",
        )
        for spectrum in (plain, factors * plain)
    )
    same = invariance(one, other, measures=coordinates, tolerance=tolerance, label="largest coordinate difference over 100 steps")
    if method != "adagrad":
        return same  # the control must fail by its scales
    travelled = float(np.max([np.abs(one[name] - one[name][:, :1]) for name in coordinates]))
    moves = band(travelled, low=0.1, label="largest distance travelled in a coordinate (standing still is invariant too)")
    return together(same, moves, label="rescaling invariance", panels=same.panels)
