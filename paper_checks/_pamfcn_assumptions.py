"""Every kind of instance is what it says: constants and gradients, measured again on the instance itself."""

from __future__ import annotations

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.certificate import certificate
from theorysim.findings import Finding, together
from theorysim.lab import Lab
from theorysim.model import Control
from theorysim.paper_checks._pamfcn_paper import PAPER, geometric, single
from theorysim.registry import claim, problem

_ROTATED = problem("anisotropic_quadratic", dim=12, spectrum="log", kappa=1e3, rotation="random")
_INSTANCES = (
    _ROTATED,
    geometric(1e4, 60),
    single(1e-3),
    problem("anisotropic_quadratic", dim=31, spectrum=[*(np.arange(1, 31.0) ** -2).tolist(), 0.0]),
    problem(
        "anisotropic_quadratic", dim=5, spectrum=[1.0, 0.83, 0.31, 0.05, 2e-3], start=[0.7, -1.2, 0.4, 2.0, -1.5], origin="start"
    ),
)


@claim(
    PAPER,
    source="assumptions (source: the abstract's setting)",
    kind="identity",
    statement=r"f(x)=\tfrac12(x-x^*)^\top H(x-x^*),\qquad\mu I\preceq H\preceq LI",
    assumptions="Instances of the kinds that the other claims use, and one turned at random.",
    controls=[Control({"unrotated": True}, "the spectrum is no anisotropic smoothness once the Hessian is turned")],
)
def assumptions_hold(lab: Lab, unrotated: bool = False) -> Finding:
    """Every kind of instance has the curvatures, the start and the minimum that it declares."""
    if unrotated:
        turned = lab.build(_ROTATED)
        return certificate(turned, L=turned.capabilities["spectrum"], label="the spectrum as L of a turned Hessian")
    built = [lab.build(spec) for spec in _INSTANCES]
    audited = [certificate(each, label=str(spec)) for each, spec in zip(built, _INSTANCES, strict=True)]
    off = [np.abs(np.sort(each.capabilities["spectrum"]) - np.linalg.eigvalsh(each.capabilities["hessian"]())) for each in built]
    spectra = band(np.concatenate(off), high=1e-12, label="declared spectra against the eigenvalues of H", predicted=0.0)
    return together(*audited, spectra, *_attained(audited), label="assumptions")


def _attained(audited: list[Finding]) -> list[Finding]:
    """Constants that are too large would hold as well."""
    leaves = [leaf for found in audited for leaf in found.leaves()]

    def met(name: str) -> list[float]:
        return [leaf.measured or 0.0 for leaf in leaves if leaf.label.startswith(f"{name} on pairs")]

    return [
        band(met("lambda_max"), low=0.99, label="lambda_max is attained on every instance", predicted=1.0),
        band(met("anisotropic smoothness"), low=0.7, label="the vector L is nearly attained, turned or not", predicted=1.0),
    ]
