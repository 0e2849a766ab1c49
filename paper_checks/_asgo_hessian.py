"""What L is (C6): block-diagonal Hessians cost no dimension, a dense one does, and a wrong L shows in a certificate only."""

from __future__ import annotations

from math import inf, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from theorysim.analyses.band import band
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.analyses.certificate import certificate
from theorysim.backend import to_host
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Problem, Spec, TheorysimError
from theorysim.paper_checks._asgo_paper import ASGO, PAPER
from theorysim.registry import algorithm, claim, problem
from theorysim.trace import Trace

Floats = NDArray[np.float64]

_T, _EXACT = 100, 1e-12
_COMMUTING = problem("block_diagonal_hessian", m=16, n=24, rotation="random")
_SMALL = {"m": 6, "n": 5, "low": 0.2}


def _ramp(n: int) -> Spec:
    """H_j = diag(1/i) j/n, X_1 with entries +-1."""
    return problem("block_diagonal_hessian", m=16, n=n, blocks="ramp", start="signs")


def _average(built: Problem) -> Floats:
    """The mean of the blocks: it looks like an L, and is none."""
    return np.asarray(built.capabilities["blocks"]().mean(axis=0))


def _shares(built: Problem, left: Floats) -> Floats:
    """tr(grad' L^-1 grad) / 2 gap at the starts: at most 1 if L is one."""
    gradient = to_host(built.gradient(built.start))
    return np.asarray((gradient * np.linalg.solve(left, gradient)).sum(axis=(1, 2)) / (2 * to_host(built.gap(built.start))))


# ------------------------------------------------------------------------------------------------ block-diagonal Hessians
@claim(
    PAPER,
    source="C6 (1) and A8, derived; control N-c, derived",
    kind="upper",
    statement=r"I_n\otimes L\succeq\nabla^2f\iff L\succeq H_j\ \text{for all blocks }H_j;\qquad"
    r"\mathrm{tr}(\nabla f^\top L^+\nabla f)\le2\,(f-f^*)",
    assumptions="24 commuting blocks, 16 rows, one random basis, eigenvalues U(0,1)/i, L their largest in each direction; "
    "H_j = diag(1/i) j/n; blocks in bases of their own, L their sum. ASGO: eta = D_op/sqrt(2) at the start, eps = 0, T = 100.",
    controls=[
        Control({"left": "average"}, "the average block is no L, by a factor 2(2n+1)/(3(n+1)) on H_j = diag(1/i) j/n, n = 10")
    ],
)
def left_smoothness_of_block_hessians(lab: Lab, left: str = "largest") -> Finding:
    """The largest eigenvalue over the blocks is a matrix smoothness L; their average is none, which the rate does not show."""
    if left == "average":
        built = lab.build(_ramp(10))
        return certificate(built, left=_average(built), label="average block in place of L")
    runs = lab.runs(lab.pick(quick=4, full=20))
    sums = problem("block_diagonal_hessian", blocks="generic", smoothness="sum", **_SMALL)
    seen = [_seen(lab, spec, runs) for spec in (_COMMUTING, _ramp(10))]
    parts = [
        *lab.map(lambda spec: certificate(lab.build(spec, runs), label=str(spec)), [_COMMUTING, _ramp(10), sums]),
        band([_excess(each) for each in seen], 1 - 1e-9, 1 + 1e-9, label="largest eigenvalue of L^-1 H_j", predicted=1.0),
        band(
            _shares(seen[0].built, seen[0].left), high=1.0, label="24 commuting blocks: tr(grad' L^-1 grad) / 2 gap at the starts"
        ),
        *_wrong(lab, lab.pick(quick=(2, 10, 40), full=(2, 3, 10, 40, 160))),
        *(_converges(each) for each in seen),
    ]
    tables = _rates(seen), _traces(lab)
    return together(*parts, label="L of block-diagonal Hessians", panels=parts[-1].panels, tables=tables)


class _Seen(NamedTuple):
    """An instance, what ASGO's average does on it, its L and its average block."""

    built: Problem
    trace: Trace
    left: Floats
    average: Floats


def _seen(lab: Lab, spec: Spec, runs: int) -> _Seen:
    asgo, built = algorithm("average", of=ASGO.spec(lr="D_op_0/sqrt(2)", eps=0.0)), lab.build(spec, runs)
    trace = lab.run(Cell(spec, asgo, _T, runs, ("gap", "max_distance:op"), "all"))
    return _Seen(built, trace, built.capabilities["left_smoothness"](), _average(built))


def _excess(seen: _Seen) -> float:
    """An L that is too large would be one as well: this one is met by a block."""
    return float(np.linalg.eigvals(np.linalg.solve(seen.left, seen.built.capabilities["blocks"]())).real.max())


def _wrong(lab: Lab, columns: tuple[int, ...]) -> list[Finding]:
    """N-c: what the average block misses, in closed form."""
    parts = []
    for n in columns:
        built = lab.build(_ramp(n))
        average = _average(built)
        share, above = float(_shares(built, average)[0]), np.linalg.eigvalsh(built.capabilities["blocks"]() - average).max()
        for what, value, exact in (
            ("tr(grad' L^-1 grad) / 2 gap", share, 2 * (2 * n + 1) / (3 * (n + 1))),
            ("largest eigenvalue of H_j - L", float(above), (n - 1) / (2 * n)),
        ):
            edges = (exact - _EXACT, exact + _EXACT)
            parts.append(band(value, *edges, label=f"average block, n={n}: {what}", predicted=exact))
    return parts


def _converges(seen: _Seen, left: Floats | None = None) -> Finding:
    """f(wbar_t) against the bound, with the trace of ``left`` in place of ‖L‖_* where it is given."""
    bound = ASGO.smooth_bound()
    where: dict[str, Any] = {name: source for name, source in ASGO.where.items() if name != "S"}
    if left is not None:
        bound, where = bound.replace("L_nuclearnorm", "trace"), where | {"trace": float(np.trace(left))}
    return bound_ratio([seen.trace], of="gap", bound=bound, where=where, label=f"f(wbar) / bound on {seen.trace.cell.problem}")


def _rates(instances: list[_Seen]) -> Table:
    """The same runs against the bound with L and with the average block: both stay below."""
    rows = []
    for seen in instances:
        shares = [float(_shares(seen.built, left).max()) for left in (seen.left, seen.average)]
        ratios = [_converges(seen, left).measured for left in (seen.left, seen.average)]
        rows.append((str(seen.trace.cell.problem), float(np.trace(seen.left)), shares[0], ratios[0], shares[1], ratios[1]))
    share, rate = "tr(grad' L^-1 grad) / 2 gap", "f(wbar) / bound"
    columns = ("instance", "tr L", share, rate, f"average: {share}", f"average: {rate}")
    return Table("A wrong L shows at a point, and not in the rate (largest over starts and steps)", columns, tuple(rows))


def _traces(lab: Lab) -> Table:
    """tr L by the ways to get L; the semidefinite program where its packages are installed."""
    rows = []
    for blocks in ("commuting", "generic"):
        each: list[float | str] = []
        for smoothness in ("max", "sdp", "sum"):
            try:
                built = lab.build(problem("block_diagonal_hessian", blocks=blocks, smoothness=smoothness, **_SMALL))
                each.append(float(np.trace(built.capabilities["left_smoothness"]())))
            except TheorysimError:  # blocks that do not commute have no "max"; the program may not be installed
                each.append("none")
        rows.append((blocks, float(np.trace(built.capabilities["blocks"](), axis1=1, axis2=2).max()), *each))
    columns = ("blocks", "max tr H_j (a lower bound)", "largest in each direction", "semidefinite program", "sum")
    return Table("tr L for 5 blocks of 6 rows (none: not defined, or theorysim[pep] is not installed)", columns, tuple(rows))


# ------------------------------------------------------------------------------------------------ dense Hessians
_DENSE = {
    "16 x 10, Gaussian": problem("rank_one_hessian", m=16, n=10),
    "8 x 12, singular values 1/k": problem("rank_one_hessian", m=8, n=12, direction="values"),
    "9 x 6, equal singular values": problem("rank_one_hessian", m=9, n=6, direction="values", values_decay=0.0),
}


@claim(
    PAPER,
    source="C6 (3), derived",
    kind="identity",
    statement=r"\nabla^2f=\mathrm{vec}(U)\mathrm{vec}(U)^\top:\quad I_n\otimes L\succeq\nabla^2f\iff\mathrm{tr}(U^\top L^+U)\le1,"
    r"\qquad\min\mathrm{tr}\,L=\|U\|_*^2\text{ at }L=\|U\|_*(UU^\top)^{1/2}",
    assumptions="f = <U, X>^2 / 2; U Gaussian 16 x 10, 8 x 12 with singular values 1/k, 9 x 6 with equal ones. The least trace "
    "is compared with 200 (full: 2000) other L that touch the constraint.",
    controls=[
        Control({"scale": "trace"}, "L = U U' has the trace ‖U‖_F^2 of the Hessian, and tr(U' L^+ U) is the rank of U"),
        Control({"scale": "frobenius"}, "‖U‖_F (U U')^{1/2} is too small by ‖U‖_* / ‖U‖_F"),
    ],
)
def left_smoothness_of_a_dense_hessian(lab: Lab, scale: str = "nuclear") -> Finding:
    """A rank-one Hessian that couples all columns needs tr L = ‖U‖_*^2, up to min(m, n) times its own trace."""
    parts, rows = [], []
    for name, spec in _DENSE.items():
        built = lab.build(spec, lab.runs(2))
        gradient = to_host(built.gradient(built.start))[0]
        u = gradient / np.linalg.norm(gradient) * sqrt(float(built.constants["trace_H"]))  # up to the sign, which cancels
        left = _left(u, scale)
        constraint = float(np.trace(u.T @ np.linalg.pinv(left, rcond=1e-10, hermitian=True) @ u))
        nuclear, frobenius = np.linalg.norm(u, "nuc") ** 2, np.linalg.norm(u) ** 2
        others = _other_traces(u, lab.pick(quick=200, full=2000), lab.seed)
        parts += [
            certificate(built, left=left, label=f"{name}: L on the built instance"),
            band(constraint, 1 - _EXACT, 1 + _EXACT, label=f"{name}: tr(U' L^+ U)", predicted=1.0),
            band(np.trace(left) / nuclear, 1 - _EXACT, 1 + _EXACT, label=f"{name}: tr L / ‖U‖_*^2", predicted=1.0),
            band(built.constants["L_nuclearnorm"] / nuclear, 1 - _EXACT, 1 + _EXACT, label=f"{name}: ‖L‖_* / ‖U‖_*^2"),
            band(others / nuclear, 1 - 1e-9, inf, label=f"{name}: tr L of others / ‖U‖_*^2", predicted=1.0),
        ]
        rows.append((name, float(nuclear), float(frobenius), float(nuclear / frobenius), min(u.shape), float(others.min())))
    columns = ("U", "‖U‖_*^2 = least tr L", "‖U‖_F^2 = tr H", "ratio", "min(m, n)", "least tr L of others")
    return together(*parts, label="L of a dense Hessian", tables=(Table("The price of a dense Hessian", columns, tuple(rows)),))


def _left(u: Floats, scale: str) -> Floats:
    p, s, _ = np.linalg.svd(u, full_matrices=False)
    values = s**2 if scale == "trace" else s * (np.linalg.norm(s) if scale == "frobenius" else s.sum())
    return np.asarray((p * values) @ p.T)


def _other_traces(u: Floats, count: int, seed: int) -> Floats:
    """tr L of L = tr(U' A^-1 U) A, for A near (U U')^{1/2} and far from it: each is an L with tr(U' L^-1 U) = 1."""
    random, m = np.random.default_rng(seed), len(u)
    best, traces = _left(u, "nuclear") / np.linalg.norm(u, "nuc") ** 2, []
    for size in np.geomspace(1e-4, 10.0, count):
        noise = random.standard_normal((m, m))
        a = best + size * (noise @ noise.T / m**2 + 1e-6 * np.eye(m))
        traces.append(float(np.trace(a) * np.trace(u.T @ np.linalg.solve(a, u))))
    return np.array(traces)
