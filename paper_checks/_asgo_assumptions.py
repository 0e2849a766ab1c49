"""Every kind of instance is what it says: its assumptions and constants, measured again on the instance itself."""

from __future__ import annotations

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.certificate import certificate
from theorysim.findings import Finding, together
from theorysim.lab import Lab
from theorysim.model import Control
from theorysim.paper_checks._asgo_data import softmax, squared
from theorysim.paper_checks._asgo_paper import PAPER
from theorysim.registry import claim, problem

_ROTATED = problem("matrix_quadratic", m=16, n=12, spectrum="head_bulk", rotation="random", noise=0.3, batch=4)
_INSTANCES = (
    _ROTATED,
    problem("matrix_quadratic", m=9, n=9, noise=0.5, noise_law="spectrum", batch=4),
    problem("matrix_quadratic", m=3, n=60, right="groups", start="groups", rotation="random"),
    problem("matrix_quadratic", m=12, n=5, noise=0.5, noise_law="spectrum", turned="both"),
    problem("matrix_nonconvex", m=12, n=8, noise=0.1, noise_law="spectrum"),
    problem("block_diagonal_hessian", m=8, n=6),
    problem("rank_one_hessian"),
    problem("anisotropic_quadratic", dim=6, start=[0.9, 0.8, 0.6, 0.5, 0.3, 0.1]),
    problem("huber", dim=1),
    squared(2),
    problem("rotated_group_norm", m=12, n=12, noise=0.3, spectrum="power"),
    problem("spectral_norm_distance", m=6, n=9, noise=0.3),
    problem("frobenius_norm_distance", kept=0.5),
    problem("adversarial_gradients", law="random"),
    problem("two_layer_network", pool=2),
)
_LEFT, _VARIANCE = "E N N' / V^2, mean over all directions", "variance / bound, over all coordinates"


@claim(
    PAPER,
    source="assumptions of C2, C3, C4 and C9 (derived; the paper's own form is recalled)",
    kind="identity",
    statement=r"f(Y)\le f(X)+\langle\nabla f(X),Y-X\rangle+\tfrac12\|Y-X\|_L^2,\qquad\mathbb E[NN^\top]\preceq V^2/M,"
    r"\qquad\mathrm{tr}(B^{-1}\,\mathbb E[GG^\top])\le\mathrm{tr}\,B",
    assumptions="Instances of the kinds that the other claims use; L, V, B, their norms, distances and gaps are measured again. "
    "Constants that are too large would hold as well and make every bound look loose, so they must also be attained.",
    controls=[Control({"unrotated": True}, "diag(a) is no L once the Hessian is rotated")],
)
def assumptions_hold(lab: Lab, unrotated: bool = False) -> Finding:
    """Every kind of instance satisfies the matrix smoothness, noise and gradient assumptions with what it declares."""
    if unrotated:
        built = lab.build(_ROTATED)
        values = np.sort(np.linalg.eigvalsh(built.capabilities["left_smoothness"]()))[::-1]
        return certificate(built, left=np.diag(values), label="unrotated L on a rotated Hessian")
    audited = lab.map(lambda spec: certificate(lab.build(spec), label=str(spec)), _INSTANCES)
    sampled = certificate(lab.build(softmax(2, batch=256)), label="softmax regression on digits")
    return together(*audited, sampled, *_attained(audited), *_on_digits(sampled), label="assumptions")


def _attained(audited: list[Finding]) -> list[Finding]:
    """By some pair of points, or by the noise."""
    leaves = [leaf for found in audited for leaf in found.leaves()]

    def met(name: str) -> list[float]:
        return [leaf.measured or 0.0 for leaf in leaves if leaf.label.startswith(f"{name} on pairs")]

    def noise(key: str) -> list[float]:
        return [leaf.details[key] for leaf in leaves if key in leaf.details]

    return [
        band(met("left smoothness"), low=0.99, label="L is attained on every instance", predicted=1.0),
        band(met("lambda_max"), low=0.99, label="lambda_max is attained on every instance", predicted=1.0),
        band(met("anisotropic smoothness"), low=0.7, label="the vector L is nearly attained, turned or not", predicted=1.0),
        band(noise(_LEFT), 0.9, 1.1, label="E N N' / (V^2 / M)", predicted=1.0),
        band(noise(_VARIANCE), 0.8, 1.25, label="variance of the noise / (sigma^2 / M)", predicted=1.0),
        band(noise("used"), 0.9, 1.1, label="deviations of the rows / sigma_row_1norm", predicted=1.0),
    ]


def _on_digits(sampled: Finding) -> list[Finding]:
    """At W = 0 all classes are as likely: |p - y|^2 = .9 where the bound V allows 2, and L is met to a few percent."""
    details = {key: value for leaf in sampled.leaves() for key, value in leaf.details.items()}
    met = [leaf.measured or 0.0 for leaf in sampled.leaves() if leaf.label.startswith("left smoothness on pairs")]
    return [
        band(met, low=0.9, label="softmax: L is nearly attained", predicted=1.0),
        band(details[_LEFT], 0.35, 0.55, label="softmax: E N N' / (V^2 / M)", predicted=0.45),
        band(details[_VARIANCE], 0.06, 0.12, label="softmax: variance of the noise / (sigma^2 / M)", predicted=0.09),
    ]
