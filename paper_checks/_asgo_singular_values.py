"""What ASGO does to singular values (C4's known-D family, C7): the first step is Muon's, and aligned runs are AdaGrad's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from theorysim.analyses.band import band
from theorysim.backend import CPU
from theorysim.findings import Finding, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Draw
from theorysim.noise import Draws, Stream
from theorysim.paper_checks._asgo_iteration import entries, iterates
from theorysim.paper_checks._asgo_paper import PAPER, says_nothing, stands_still
from theorysim.registry import algorithm, claim, problem

Floats = NDArray[np.float64]

_FIRST_STEPS = ((32, 32, 1.0), (32, 32, 2.0), (32, 32, 3.0), (32, 32, 4.0), (24, 60, 1.0), (60, 24, 1.0))


@claim(
    PAPER,
    source="C7 and 1.1 (derived; the link of ASGO with Muon is the paper's, source: reviews)",
    kind="identity",
    statement=r"\varepsilon=0:\quad W_2=W_1-\eta\,UZ^\top,\qquad G_1=U\,\mathrm{diag}(s)\,Z^\top",
    assumptions="Gaussian X_1, a_i = i^-p: 32 x 32 with p = 1..4, 24 x 60 and 60 x 24 with p = 1; eta = .7.",
    controls=[
        Control({"method": "asgo", "eps": 0.01}, "with a regulariser small singular values move less"),
        Control({"method": "dasgo"}, "one accumulator per row turns no row"),
    ],
)
def first_step_is_muons(lab: Lab, method: str = "asgo", eps: float = 0.0) -> Finding:
    """Without a regulariser ASGO's first step goes along the polar factor of the gradient, also where that is ill-conditioned."""
    parts = []
    for m, n, decay in _FIRST_STEPS:
        instance = problem("matrix_quadratic", m=m, n=n, decay=decay)
        mine, polar = (
            iterates(lab.run(Cell(instance, spec, 1, 1, entries(m, n), "all")), m, n)[0]
            for spec in (algorithm(method, lr=0.7, eps=eps), algorithm("muon", lr=0.7))
        )
        label = f"{m} x {n}, p={decay:g}"
        if method != "asgo" and np.array_equal(mine[0], mine[1]):
            return says_nothing(label)
        lengths = np.linalg.svd(polar[0] - polar[1], compute_uv=False)
        parts += [
            band(np.abs(mine[1] - polar[1]), high=1e-8, label=f"{label}: distance from the polar step", predicted=0.0),
            band(lengths, 0.7 - 1e-8, 0.7 + 1e-8, label=f"{label}: singular values of the step", predicted=0.7),
        ]
    return together(*parts, label="first step")


@claim(
    PAPER,
    source="Known-D subfamily of S1 (derived)",
    kind="identity",
    statement=r"W_1-W^*=U\,\mathrm{diag}(x_1)Q^\top:\quad x_{t+1}=x_t-\eta\,x_t\Big/\Big(\sum_{s\le t}x_s^2\Big)^{1/2},\quad "
    r"D_{\mathrm{op}}=\max(\sigma_{\max},\eta-\sigma_{\min})",
    assumptions="No noise, eps = 0; random profiles of singular values, 6 x 9 and 9 x 4, random U; eta = .3, .7, 1, 1.5 and 3; "
    "and a_i = (1, 1e-8) with X_1 = I, whose second row an eigendecomposition of V_t would leave at 1.",
    controls=[
        Control({"start": "profile"}, "in a start that does not commute with A the singular values mix"),
        Control({"method": "muon"}, "without accumulation all singular values take steps of the same length"),
    ],
)
def aligned_runs_are_adagrad_on_singular_values(lab: Lab, start: str = "aligned", method: str = "asgo") -> Finding:
    """Where X_1 X_1' commutes with A, ASGO is AdaGrad on the singular values, A drops out, and D_op is known beforehand."""
    parts = []
    profiles = _profiles(lab, lab.pick(quick=6, full=100))
    for (m, n), each in (((6, 9), profiles), ((9, 4), [profile[:4] for profile in profiles])):
        off, distances = zip(*(_off(lab, m, n, profile, start, method) for profile in each), strict=True)
        parts.append(band(off, high=1e-8, label=f"{m} x {n}: distance of the singular values from AdaGrad's", predicted=0.0))
        parts.append(band(distances, high=1e-8, label=f"{m} x {n}: D_op against its formula", predicted=0.0))
    stiff = problem("matrix_quadratic", m=2, n=2, spectrum=[1.0, 1e-8], start="identity")
    trace = lab.run(Cell(stiff, algorithm(method, lr=0.7), 40, record="last", measure=("distance:op",)))
    if method != "asgo" and stands_still([trace], "distance:op"):
        return says_nothing("singular values")
    left = band(trace["distance:op"][0, -1], 1e-20, 1e-19, label="a = (1, 1e-8): |X_41|_op", predicted=7e-20)
    return together(*parts, left, label="singular values")


def _profiles(lab: Lab, count: int) -> list[list[float]]:
    """Random lists of 6 singular values between .05 and 1, the largest first."""
    draws = Draws(CPU, lab.seed, np.arange(1))
    drawn = [np.asarray(draws.shared_uniform(Stream.INSTANCE, Draw(100 + k), (6,))) for k in range(count)]
    return [sorted((0.05 + 0.95 * each).tolist(), reverse=True) for each in drawn]


def _off(lab: Lab, m: int, n: int, profile: list[float], start: str, method: str) -> tuple[float, float]:
    """How far the norms of X_t are from those of AdaGrad's vector, over all steps and step sizes; likewise D_op."""
    etas = [0.3, 0.7, 1.0, 1.5, 3.0]
    instance = problem("matrix_quadratic", m=m, n=n, rotation="random", start=start, profile=profile)
    orders = ("distance:op", "distance:2", "distance:nuclear", "max_distance:op")
    matrix = lab.run(Cell(instance, algorithm(method, lr=etas), 30, 1, orders, "all"))
    line = problem("anisotropic_quadratic", dim=len(profile), start=profile)
    vector = lab.run(Cell(line, algorithm("adagrad", lr=etas), 30, 1, ("distance:inf", "distance:2", "distance:1"), "all"))
    pairs = zip(orders, vector.values.values(), strict=False)
    off = max(float(np.abs(matrix[name] - theirs).max()) for name, theirs in pairs)
    known = np.maximum(max(profile), np.array(etas) - min(profile))
    return off, float(np.abs(matrix["max_distance:op"][:, -1] - known).max())
