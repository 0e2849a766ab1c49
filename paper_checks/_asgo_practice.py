"""The practical code of ASGO's authors: steps of fixed length (A9) and the root by ten quintics (A10)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from theorysim.analyses.band import band
from theorysim.analyses.slope import slope
from theorysim.backend import to_host
from theorysim.findings import Finding, Panel, Series, together
from theorysim.lab import Lab
from theorysim.matrix_functions import frobenius, inverse_root_by_eigh, transposed
from theorysim.matrix_iterations import POLAR_EXPRESS, coupled, inverse_root
from theorysim.model import Cell, Control, Draw
from theorysim.noise import Draws, Stream
from theorysim.paper_checks._asgo_paper import PAPER
from theorysim.registry import algorithm, claim, problem

Floats = NDArray[np.float64]

_LRS, _FLOORS = (0.1, 0.03, 0.01), (0.24, 0.0218, 0.0024)
_PROBLEM = problem("matrix_quadratic", m=32, n=32, rotation="random")
_WINDOW = 0.3  # the last part of a run with a constant step, over which f is averaged: there it wanders around its floor
_CODE = 0.02  # where the cosine of the authors' code ends


@claim(
    PAPER,
    source="A9, section 5 N-d (the authors' code: source; the floors: measured)",
    kind="rate",
    statement=r"W_{t+1}=W_t-\eta\,0.2\sqrt{mn}\,\frac{P_t^{-1/2}M_t}{\|P_t^{-1/2}M_t\|_F}:\quad f(W_T)-f^*\asymp\eta^2"
    r"\ \text{for every large }T",
    assumptions="f = 1/2 |A^{1/2} X|_F^2, m = n = 32, a_i = 1/i, rotated, X_1 Gaussian/(2 sqrt m), no noise, no weight decay, no "
    "clipping; eta in {.1, .03, .01}, f averaged over the last 30% of 500 and of 2000 steps and over the starts.",
    controls=[
        Control({"end": 0.0, "horizons": (100, 400)}, "a cosine that ends at zero, read at its end: there is no floor"),
        Control({"method": "asgo", "horizons": (50, 200)}, "the theory's method keeps the size of the gradient: no floor"),
    ],
)
def constant_steps_have_a_floor(
    lab: Lab, method: str = "asgo_practical", end: float | None = None, horizons: tuple[int, int] = (500, 2000)
) -> Finding:
    """With a constant step the practical code stops at a floor of order lr^2, against the 1/T of the theory; decay removes it."""
    early, late = _ends(lab, method, end, horizons)
    law = slope(_LRS, late.mean(axis=1), low=1.7, high=2.3, label="floor: exponent of lr", predicted=2.0, variable="lr")
    ratio = float((late / early).mean())
    flat = band(ratio, 0.99, 1.01, label=f"f at T={horizons[1]} over f at T={horizons[0]}", predicted=1.0)
    if end is not None or method != "asgo_practical":  # by the flatness alone: standing still has no law in lr either
        return flat
    known = band(late.mean(axis=1) / _FLOORS, 0.95, 1.05, label="floors over .24, .0218, .0024, worst", predicted=1.0)
    # In a tail of steps eta_T the floor is that of a constant eta_T: the square of .02 is left of it.
    lowered = _ends(lab, method, _CODE, (horizons[0],))[0]
    left = float(np.exp(np.log(lowered / late.mean(axis=1, keepdims=True)).mean()))
    code = band(left, _CODE**2 / 2, _CODE**2 * 2, label="end of the code's cosine over the constant floor", predicted=_CODE**2)
    return together(law, flat, known, code, label="floor", panels=law.panels)


def _ends(lab: Lab, method: str, end: float | None, horizons: tuple[int, ...]) -> list[Floats]:
    """What f comes to, ``(lrs, runs)`` for each horizon: its mean over the last steps, or its last value under a schedule."""
    runs = lab.runs(lab.pick(quick=4, full=8))
    if end is None:
        steps = [tuple(range(round((1 - _WINDOW) * T) + 1, T + 1)) for T in horizons]
        cell = Cell(_PROBLEM, algorithm(method, lr=_LRS), max(horizons), runs, record=tuple(t for part in steps for t in part))
        trace = lab.run(cell)
        return [np.stack([trace.at(t) for t in part]).mean(axis=0) for part in steps]
    names = {T: f"cosine:{T},0.1,{end}" for T in horizons}
    cells = [Cell(_PROBLEM, algorithm(method, lr=_LRS, schedule=name), T, runs, record="last") for T, name in names.items()]
    return [trace.split(trace["gap"][:, -1]) for trace in lab.run_all(cells)]


@claim(
    PAPER,
    source="A10, section 1.4 (the table: source, the authors' code; its values: measured)",
    kind="identity",
    statement=r"\|X-P^{-1/2}\|_F\le10^{-4}\,\|P^{-1/2}\|_F\ \text{at}\ \kappa(P)\le10^4\ \text{in float32};\quad "
    r"z(y)\sqrt y=1\ (y\ge10^{-7}),\quad z(0)=22371.3",
    assumptions="Log-spaced eigenvalues in random bases, k = 16, 32, 64; y is an eigenvalue over 1.01 |P|_F.",
    controls=[
        Control({"condition": 1e10, "precision": "float64"}, "at condition 1e10 ten quintics give no root: the error is .72"),
    ],
)
def polar_express_root(lab: Lab, condition: float = 1e4, precision: str = "float32") -> Finding:
    """The ten quintics of the code give the inverse root to float32's rounding, and a bounded stand-in for tiny eigenvalues."""
    errors = [float(np.max(_errors(lab, k, condition, precision))) for k in (16, 32, 64)]
    root = band(errors, high=1e-4, label=f"relative error at condition {condition:g} in {precision}, worst", predicted=0.0)
    if (condition, precision) != (1e4, "float32"):
        return root
    y = np.concatenate([np.geomspace(1e-7, 1 / 1.01, 200), [1e-8, 1e-9, 1e-10, 0.0]])
    z = _scalars(lab, y)
    share = z * np.sqrt(y)
    exact = band(np.abs(share[:-4] - 1), high=1e-14, label="distance of z(y) sqrt(y) from 1 for y >= 1e-7", predicted=0.0)
    small = [
        band(value, known - 5e-5, known + 5e-5, label=f"z(y) sqrt(y) at y={at:g}", predicted=known)
        for value, at, known in zip(share[-4:-1], y[-4:-1], (0.9943, 0.6240, 0.2208), strict=True)
    ]
    cap = band(z[-1], 22371.25, 22371.35, label="z(0)", predicted=22371.3)
    many = np.geomspace(1e-12, 1.0, 100)
    values = tuple((_scalars(lab, many) * np.sqrt(many)).tolist())
    curve = Series("z(y) sqrt(y)", tuple(many.tolist()), values)
    exactly = Series("a root", (1e-12, 1.0), (1.0, 1.0), "predicted")
    panel = Panel("Ten quintics on an eigenvalue y", "y", "z(y) sqrt(y)", (curve, exactly))
    return together(root, exact, *small, cap, label="root by quintics", panels=(panel,))


def _errors(lab: Lab, k: int, condition: float, precision: str) -> Floats:
    """Relative Frobenius errors of the root, ``(runs,)``, against the eigendecomposition in float64 of the same numbers."""
    draws = Draws(lab.backend, lab.seed, np.arange(4))
    xp, values = lab.backend.xp, lab.backend.asarray(np.geomspace(1.0, 1 / condition, k))
    q, _ = xp.linalg.qr(draws.normal(Stream.INSTANCE, Draw(k), (k, k)))
    p = xp.astype((q * values) @ transposed(q), getattr(xp, precision))
    reference = inverse_root_by_eigh(xp.astype(p, xp.float64))
    error = frobenius(xp.astype(inverse_root(p, 2, "polar_express"), xp.float64) - reference) / frobenius(reference)
    return np.asarray(to_host(error))[:, 0, 0]


def _scalars(lab: Lab, y: Floats) -> Floats:
    """z(y), by matrices with one entry."""
    return np.asarray(to_host(coupled(lab.backend.asarray(y[:, None, None]), POLAR_EXPRESS)))[:, 0, 0]
