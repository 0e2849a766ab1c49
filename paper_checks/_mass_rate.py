"""The linear rate of MaSS on quadratics that interpolate, against that of SGD: exponents in kappa and kappa~ (M1)."""

from __future__ import annotations

import numpy as np

from theorysim.analyses.band import band
from theorysim.findings import Finding, Panel, Series, Table, together
from theorysim.lab import Lab
from theorysim.model import Control, Spec
from theorysim.paper_checks._mass_paper import (
    METHODS,
    PAPER,
    SGD,
    SLACK,
    Floats,
    decays,
    decoupled,
    gaussian,
    local_slopes,
    mass,
    rates,
    says_nothing,
    scales,
)
from theorysim.registry import claim

_RATE = r"\rho\le 1-\frac1S,\qquad S=\sqrt{\kappa_m\tilde\kappa_m}"
_SLOPE = (-0.52, -0.44)  # of 1 - rho over one decade of kappa_inf
_QUICK, _FULL = (1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e8, 1e10), tuple(10.0**k for k in range(1, 11))


@claim(
    PAPER,
    source="linear rate of MaSS (recalled; derived again with constants; limit 2 and bands measured)",
    kind="tight",
    statement=_RATE + r",\qquad 1-\rho\sim\kappa^{-1/2}",
    assumptions="Interpolation; eigenvalues L once and mu = L/kappa_inf; component-decoupled data with c = 6 and Gaussian data "
    "with d = 4, 64, 1000, m = 1. Slopes over one decade of kappa_inf >= 1e3, for Gaussian data where kappa_inf >= 50 d at "
    "both ends.",
    controls=[
        Control({"method": "without eta_2"}, "without the compensation the same momentum diverges"),
        Control({"method": "-eta_2"}, "the compensation has the sign of a step uphill"),
        Control({"method": "L1 halved"}, "a step size beyond 1/L1 diverges"),
        Control({"method": "kappa~ halved", "data": ("decoupled",)}, "too much momentum for the noise diverges"),
        Control({"method": "SGD"}, "SGD decays like 1/kappa"),
    ],
)
def accelerated_rate(lab: Lab, method: str = "MaSS", data: tuple[str, ...] = ("decoupled", "gaussian")) -> Finding:
    """MaSS contracts by 1 - 1/S or better a step, by 1 - 2/S at most: a root of the condition number of SGD."""
    kappas = lab.pick(quick=_QUICK, full=_FULL)
    parts, curves, rows = [], [], []
    for label, instances, least in _cases(lab, kappas, data):
        found = rates(lab, instances, METHODS[method])
        y, s, chosen = decays(found), scales(found), np.array(kappas) >= least
        if method != "MaSS" and not y.any():
            return says_nothing("rate of MaSS")
        parts += [_inside(y * s, label), _slopes(np.array(kappas)[chosen], y[chosen], label)]
        curves.append(Series(label, kappas, tuple(y * s)))
        rows += [(label, kappa, decay, decay * each) for kappa, decay, each in zip(kappas, y, s, strict=True)]
    ends = (kappas[0], kappas[-1])
    limits = (Series("the bound, 1", ends, (1.0, 1.0), "bound"), Series("its limit, 2", ends, (2.0, 2.0), "predicted"))
    panel = Panel("(1 - rho) S of MaSS", "kappa_inf", "(1 - rho) S", (*curves, *limits), log_y=False)
    table = Table("Rate of MaSS", ("data", "kappa_inf", "1 - rho", "(1 - rho) S"), tuple(rows))
    return together(*parts, label="rate of MaSS", panels=(panel,), tables=(table,))


def _cases(lab: Lab, kappas: tuple[float, ...], data: tuple[str, ...]) -> list[tuple[str, list[Spec], float]]:
    """Label, instances over kappa_inf, and from which kappa_inf on slopes are judged."""
    cs = lab.pick(quick=(6.0,), full=(2.0, 4.0, 6.0, 12.0, 48.0)) if "decoupled" in data else ()
    dims = (4, 64, 1000) if "gaussian" in data else ()
    return [
        *((f"decoupled, c={c:g}", [decoupled(c, kappa) for kappa in kappas], 1e3) for c in cs),
        *((f"Gaussian, d={d}", [gaussian(d, kappa) for kappa in kappas], max(1e3, 50 * d)) for d in dims),
    ]


def _inside(values: Floats, label: str) -> Finding:
    return band(values, *SLACK, label=f"{label}: (1 - rho) S", predicted=2.0)


def _slopes(kappas: Floats, decay: Floats, label: str) -> Finding:
    """A slope over more than one decade is the mean of those of its decades, so the same band holds."""
    return band(local_slopes(kappas, decay), *_SLOPE, label=f"{label}: slope of 1 - rho in kappa_inf", predicted=-0.5)


@claim(
    PAPER,
    source="acceleration by sqrt(kappa/kappa~) (recalled; derived)",
    kind="separation",
    statement=r"\frac{1-\rho_{\rm MaSS}}{1-\rho_{\rm SGD}}\approx\sqrt{\kappa/\tilde\kappa},\qquad"
    r"1-\rho_{\rm SGD}\sim\kappa^{-1},\qquad 1-\rho_{\rm MaSS}\sim\tilde\kappa^{-1/2}\text{ at fixed }\kappa",
    assumptions="Component-decoupled data, c = 2, 6, 48, m = 1, kappa_inf = 1e3..1e6, eta = 1/L1 for SGD; for the exponent of "
    "kappa~ kappa = c kappa_inf = 1e8, c = 2..512.",
    controls=[
        Control({"method": "SGD"}, "SGD in the place of MaSS"),
        Control({"method": "without eta_2"}, "Nesterov's momentum in the place of MaSS"),
    ],
)
def acceleration_over_sgd(lab: Lab, method: str = "MaSS") -> Finding:
    """MaSS is faster than SGD by the root of kappa/kappa~, between half of that and all of it."""
    kappas, parts = (1e3, 1e4, 1e5, 1e6), []
    for c in (2.0, 6.0, 48.0):
        instances = [decoupled(c, kappa) for kappa in kappas]
        plain, fast = decays(rates(lab, instances, SGD)), decays(rates(lab, instances, METHODS[method]))
        gain = fast / plain / np.sqrt(kappas)
        parts += [
            band(local_slopes(kappas, plain), -1.02, -0.98, label=f"c={c:g}: slope of SGD's 1 - rho", predicted=-1.0),
            band(plain * c * np.array(kappas), 1.98, 2.0, label=f"c={c:g}: SGD's (1 - rho) kappa", predicted=2.0),
            band(gain, 0.5, 1.03, label=f"c={c:g}: gain over SGD / sqrt(kappa/kappa~)", predicted=1.0),
        ]
    cs = (2.0, 8.0, 32.0, 128.0, 512.0)
    steep = local_slopes(cs, decays(rates(lab, [decoupled(c, 1e8 / c) for c in cs], METHODS[method])))
    parts.append(band(steep, -0.55, -0.45, label="slope of 1 - rho in kappa~ at fixed kappa", predicted=-0.5))
    return together(*parts, label="gain over SGD")


@claim(
    PAPER,
    source="section 4 of the derivation: what wrong constants do (measured)",
    kind="threshold",
    statement=r"\text{underestimating }L_1\text{ or }\tilde\kappa\Rightarrow\rho>1,\qquad\text{overestimating}\Rightarrow"
    r"\rho_{\rm healthy}<\rho<1",
    assumptions="Component-decoupled data, eigenvalues 1 and 1e-4, m = 1; a wrong constant replaces the true one everywhere. c "
    "= 6, and for kappa~ halved c = 4, 5, 6, 12, 48; on Gaussian data d = 2, 4, 16, 64 for L1 halved and eta_2 = 0.",
    controls=[
        Control({"data": "gaussian"}, "on Gaussian data in d = 16 MaSS with half of kappa~ still converges"),
        Control({"mild": 0.9}, "with .9 kappa~ it still converges for c <= 6"),
    ],
)
def wrong_constants(lab: Lab, data: str = "decoupled", mild: float = 0.5) -> Finding:
    """MaSS needs its constants: too small ones make it diverge, too large ones cost a little speed, no eta_2 makes it diverge."""
    cs = (4.0, 5.0, 6.0, 12.0, 48.0)
    halved = [decoupled(c, 1e4) for c in cs] if data == "decoupled" else [gaussian(16, 1e4)]
    diverging = {"kappa~ underestimated": decays(rates(lab, halved, mass(kappa_tilde=mild)))}
    if mild == 0.5 and data == "decoupled":
        one, normal = [decoupled(6.0, 1e4)], [gaussian(d, 1e4) for d in (2, 4, 16, 64)]
        diverging |= {
            f"{name}, {law}": decays(rates(lab, instances, METHODS[name]))
            for law, instances in (("decoupled", one), ("Gaussian", normal))
            for name in ("without eta_2", "-eta_2", "L1 halved")
        }
        diverging["L1 and kappa~ quartered, decoupled"] = decays(
            rates(lab, one * 2, mass(L1=0.25)) + rates(lab, one, mass(1, 0.25))
        )
    parts = [band(-decay, low=1e-3, label=f"{name}: rho - 1") for name, decay in diverging.items()]
    if mild != 0.5 or data != "decoupled":
        return together(*parts, label="wrong constants")
    healthy = float(decays(rates(lab, one, mass()))[0])
    over = [(2.0, 1.0), (4.0, 1.0), (1.0, 2.0), (1.0, 4.0)]
    slower = np.array([decays(rates(lab, one, mass(*factors)))[0] for factors in over])
    expected = np.array([0.5**0.5, 0.5, 0.5**0.5, 0.5])
    slowed = band(
        slower / healthy / expected, 0.95, 1.1, label="decay of overestimated constants / sqrt of the factor", predicted=1
    )
    rows = tuple((name, *(1 - decay).tolist()[:1]) for name, decay in diverging.items())
    table = Table("Spectral radius (first instance)", ("weights", "rho"), (("MaSS", 1 - healthy), *rows))
    return together(*parts, slowed, label="wrong constants", tables=(table,))
