"""How much a larger batch helps MaSS: a linear, a diminishing and a saturated regime (M4)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from theorysim.analyses.band import band
from theorysim.bounds import Bound
from theorysim.findings import Finding, Panel, Series, Table, together
from theorysim.lab import Lab
from theorysim.model import Control, Spec
from theorysim.paper_checks._mass_paper import PAPER, SGD, SLACK, Floats, decays, gaussian, local_slopes, mass, rates, scales
from theorysim.registry import claim, problem

_BATCHES = tuple(2**i for i in range(20))
_KAPPA = 1e6
_SAVED = "sqrt((1 + (m - 1)*lambda_max/L1)*(1 + (m - 1)/kappa_tilde))/m"


class Data(NamedTuple):
    """``head`` eigenvalues 1 and dim - head 1e-6; the critical batch sizes m1* <= m2* are L1/L and kappa~ in order."""

    dim: int
    head: int

    @property
    def critical(self) -> tuple[float, float]:
        one, other = 2 + self.head + (self.dim - self.head) / _KAPPA, self.dim + 2.0
        return min(one, other), max(one, other)

    @property
    def label(self) -> str:
        return f"d={self.dim}, r={self.head}"

    def spec(self, law: str, batch: int) -> Spec:
        """For the decoupled law one with m1* = m2* = kappa~ of the Gaussian one."""
        if law == "gaussian":
            return gaussian(self.dim, _KAPPA, self.head, batch=batch)
        common = {"dim": 2, "spectrum": "two_value", "kappa": _KAPPA, "kurtosis": (self.dim + 2) / 2}
        return problem("least_squares", data=law, batch=batch, **common)


class Curve(NamedTuple):
    """Over the batch sizes: 1 - rho of MaSS and of SGD, S_m, and S_m/S_1 from its formula."""

    mass: Floats
    sgd: Floats
    s: Floats
    saved: Floats


def _curve(lab: Lab, data: Data, law: str, batches: tuple[int, ...]) -> Curve:
    instances = [data.spec(law, batch) for batch in batches]
    found = rates(lab, instances, mass())
    saved = [float(Bound(_SAVED)({**trace.constants, "m": m})) for trace, m in zip(found, batches, strict=True)]
    return Curve(decays(found), decays(rates(lab, instances, SGD)), scales(found), np.array(saved))


@claim(
    PAPER,
    source="three regimes of the batch size (recalled names and critical sizes; derived; bands measured)",
    kind="rate",
    statement=r"\frac1{S_m}=\frac m{S_1}\Bigl[\bigl(1+\tfrac{(m-1)L}{L_1}\bigr)\bigl(1+\tfrac{m-1}{\tilde\kappa}\bigr)"
    r"\Bigr]^{-1/2}:\quad 1-\rho\sim m,\ m^{1/2},\ 1\text{ below, between and above }m_1^*=\min(\tfrac{L_1}L,\tilde\kappa),"
    r"\ m_2^*=\max(\tfrac{L_1}L,\tilde\kappa)",
    bound=_SAVED,
    assumptions="Gaussian data, r eigenvalues 1 and d - r eigenvalues 1e-6, (d, r) = (2000, 1), (128, 40), (64, 1); m = 2^i, i "
    "< 20. Slopes between m/2 and m: in [.9, 1.02] for m <= m1*/5; in [.45, .56] around sqrt(m1* m2*) where m2* >= 50 m1*; "
    "below .06 for m/2 >= 8 m2*.",
    controls=[Control({"law": "decoupled"}, "component-decoupled data have m1* = m2* and no diminishing regime")],
)
def three_batch_regimes(lab: Lab, law: str = "gaussian") -> Finding:
    """MaSS gains linearly from larger batches, then by the root, then nothing; SGD knows only linear and saturated."""
    parts, panels, rows = [], [], []
    batches = np.array(_BATCHES, dtype=float)
    for data in (Data(2000, 1), Data(128, 40), Data(64, 1)):
        curve, (first, second) = _curve(lab, data, law, _BATCHES), data.critical
        slopes, middle, low, high = (
            local_slopes(batches, curve.mass),
            np.sqrt(batches[1:] * batches[:-1]),
            batches[:-1],
            batches[1:],
        )
        between = (middle >= np.sqrt(first * second) / 2) & (middle <= 2 * np.sqrt(first * second)) & (second >= 50 * first)
        windows = {"linear": (high <= first / 5, 0.9, 1.02, 1.0), "diminishing": (between, 0.45, 0.56, 0.5)}
        windows["saturated"] = (low >= 8 * second, -0.01, 0.06, 0.0)
        for name, (inside, least, most, claimed) in windows.items():
            if inside.any():
                parts.append(
                    band(slopes[inside], least, most, label=f"{data.label}: {name} regime, slopes in m", predicted=claimed)
                )
        parts.append(band(curve.mass * curve.s, *SLACK, label=f"{data.label}: (1 - rho) S_m", predicted=2.0))
        parts += _formula(curve, data, first) if law == "gaussian" else []
        panels.append(_panel(curve, data))
        rows += [
            (data.label, int(m), *each) for m, *each in zip(batches, curve.mass, curve.sgd, curve.mass * curve.s, strict=True)
        ]
    table = Table("Rates", ("data", "m", "1 - rho of MaSS", "1 - rho of SGD", "(1 - rho) S_m"), tuple(rows))
    return together(*parts, label="batch regimes", panels=tuple(panels), tables=(table,))


def _formula(curve: Curve, data: Data, first: float) -> list[Finding]:
    """The law of S_m, the gain of at least m/2 up to m1*, and the two regimes of SGD with critical size L1/L."""
    batches, ratio = np.array(_BATCHES, dtype=float), 2 + data.head
    steep = local_slopes(batches, curve.sgd)
    small, large = batches[1:] <= ratio / 5, batches[:-1] >= 16 * ratio
    gain = (curve.s[0] / curve.s / batches)[batches <= first]
    return [
        band(
            curve.s / curve.s[0] / curve.saved, 1 - 1e-9, 1 + 1e-9, label=f"{data.label}: S_m/S_1 by its formula", predicted=1.0
        ),
        band(gain, 0.5, 1 + 1e-9, label=f"{data.label}: gain of 1/S_m over batches of one, per sample, m <= m1*"),
        *([band(steep[small], 0.75, 1.02, label=f"{data.label}: SGD, linear", predicted=1.0)] if small.any() else []),
        band(steep[large], -0.01, 0.1, label=f"{data.label}: SGD, saturated from L1/L on", predicted=0.0),
    ]


def _panel(curve: Curve, data: Data) -> Panel:
    """The three regimes with guides of slope 1, 1/2 and 0 through 2/S_m of the first, middle and last batch."""
    batches, (first, second) = tuple(map(float, _BATCHES)), data.critical
    bottom, top = float(min(curve.mass.min(), curve.sgd.min())) / 2, 4 * float(curve.mass.max())
    marks = [
        Series(f"{name} = {size:.4g}", (size, size), (bottom, top), "limit") for name, size in (("m1*", first), ("m2*", second))
    ]
    edges = (1.0, first, second, batches[-1])
    heights = np.interp(np.log(edges), np.log(batches), np.log(2 / curve.s))
    guides = [
        Series(f"slope {power:g}", edges[i : i + 2], _guide(edges[i : i + 2], heights[i : i + 2], power), "predicted")
        for i, power in enumerate((1.0, 0.5, 0.0))
    ]
    curves = [Series("MaSS", batches, tuple(curve.mass)), Series("SGD", batches, tuple(curve.sgd))]
    bound = Series("1/S_m", batches, tuple(1 / curve.s), "bound")
    return Panel(f"Three batch regimes, {data.label}", "batch size m", "1 - rho", (*curves, bound, *guides, *marks))


def _guide(ends: tuple[float, ...], heights: Floats, power: float) -> tuple[float, ...]:
    """A line of slope ``power`` over ``ends``, level with the mean of ``heights`` in its middle."""
    middle = float(np.sqrt(ends[0] * ends[1]))
    return tuple(float(np.exp(heights.mean())) * (end / middle) ** power for end in ends)
