"""Least squares in expectation, f(w) = 1/2 E (x'w - y)^2 with y = x'w* + xi, and gradients on fresh minibatches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from theorysim.backend import to_host
from theorysim.laws import spectrum as spectrum_law
from theorysim.laws import start_error
from theorysim.model import Array, Draw, GradientNoise, Problem, TheorysimError
from theorysim.noise import Draws
from theorysim.problems._constants import distances, norms
from theorysim.problems._covariates import (
    REAL,
    Covariates,
    decoupled,
    equicorrelated,
    equicorrelated_rows,
    gaussian,
    normalized,
    real,
)
from theorysim.problems._eigenbasis import turns
from theorysim.problems._linear import times
from theorysim.problems._minibatches import BLOCK, Floats, of_decoupled, of_gaussian, of_rows
from theorysim.problems._rotation import rotation as orthogonal
from theorysim.registry import register_problem
from theorysim.validation import non_negative, one_of, positive_integer

DATA = ("gaussian", "decoupled", "equicorrelated", "equicorrelated_rows", "normalized", *REAL)

_FINITE = ("equicorrelated_rows", "normalized", *REAL)
_ONLY = {
    "rotation": ("gaussian", "decoupled", "normalized"),
    "samples": _FINITE,
    "kurtosis": ("decoupled",),
    "target": ("digits",),
}

Function = Callable[[Array], Array]


@register_problem
def least_squares(
    draws: Draws,
    data: str = "gaussian",
    dim: int = 10,
    spectrum: str | Sequence[float] = "log",
    decay: float = 1.0,
    kappa: float = 10.0,
    head: int = 1,
    scale: float = 1.0,
    rotation: str | Sequence[Sequence[float]] | None = None,
    kurtosis: float | None = None,
    correlation: float = 0.5,
    samples: int | None = None,
    target: int | None = None,
    labels: str = "interpolated",
    label_noise: float = 0.0,
    batch: int = 1,
    start: str | Sequence[float] = "ones",
    low: float = 0.0,
    high: float = 1.0,
    start_decay: float = 1.0,
    support: int = 1,
    normalize: str | None = None,
    distance: float = 1.0,
) -> Problem:
    """Least squares whose gradient noise shrinks with the error: at w* only the noise of the labels is left.

    ``data``, the law of x: ``"gaussian"`` N(0, H); ``"decoupled"`` sqrt(dim lam_j) z q_j, one eigenvector drawn uniformly, z
    standard normal or, for a ``kurtosis`` other than None and 3, +-sqrt(kurtosis) with probability 1/kurtosis and else 0;
    ``"equicorrelated"`` N(0, scale ((1 - r) I + r 11')), r = ``correlation``. Finite sets, drawn from with replacement:
    ``"equicorrelated_rows"`` sqrt(1 - c) e_i + sqrt(c) e_{n+1}, i = 1..n = ``samples`` = dim - 1, c = ``correlation``;
    ``"normalized"`` ``samples`` (None: 2 dim) of N(0, H), each over its length; ``"diabetes"`` (dim 10) and ``"digits"`` (dim 64)
    of scikit-learn, see _covariates.real; ``target``: the digit told from the others, None: the number itself.
    ``spectrum``, ``decay``, ``kappa``, ``head``, ``scale``: eigenvalues of H, see laws.spectrum. ``rotation``: its eigenvectors,
    see anisotropic_quadratic. ``labels``: of real data, ``"interpolated"`` (x'w*, w* the least-squares solution) or ``"real"``.
    ``label_noise``: standard deviation of a normal xi. ``batch``: samples M of a gradient.
    ``start`` ... ``distance``: the error w_1 - w*, see laws.start_error, in the eigenbasis, but of finite sets in the coordinates
    of x; then projected onto range(H). ``"zeros"``: w_1 = 0, for real data. w* is 0 for other data.

    Constants: lambda_max, lambda_min (smallest non-zero eigenvalue), rank (how many there are), trace_H, L_1norm, L_infnorm, dim,
    M, samples of finite sets, and per row D_inf_0, D_2_0, Delta_0; label_noise (root of E xi^2). On range(H), after Liu and
    Belkin (ICLR 2020): the smallest L1 with E |x|^2 xx' <= L1 H and kappa_tilde with E (x'H^-1 x) xx' <= kappa_tilde H,
    kappa = L1/lambda_min; for minibatches L_m = (L1 + (M - 1) lambda_max)/M (of finite sets an upper bound of the smallest one),
    kappa_tilde_m = (kappa_tilde + M - 1)/M, kappa_m = L_m/lambda_min. Vectors: L, as in anisotropic_quadratic.
    Capabilities: hessian, spectrum, eigenbasis; noise_at_minimizer (() -> covariance of a stochastic gradient at w*, host
    ``(dim, dim)``); gradient_noise, but not of finite sets. Raises TheorysimError for parameters that the data do not know.
    """
    dim, batch = positive_integer("dim", dim), positive_integer("batch", batch)
    _require_fitting(data, labels, label_noise, rotation=rotation, samples=samples, kurtosis=kurtosis, target=target)
    eigenvalues = spectrum_law(spectrum, dim, draws, decay=decay, kappa=kappa, head=head, scale=scale)
    if not eigenvalues.any():
        raise TheorysimError(f"spectrum={spectrum!r} is 0 throughout; give at least one positive eigenvalue")
    q = orthogonal(rotation, dim, draws)
    makers: dict[str, Callable[[], Covariates]] = {
        "gaussian": lambda: gaussian(eigenvalues, q),
        "decoupled": lambda: decoupled(eigenvalues, q, kurtosis),
        "equicorrelated": lambda: equicorrelated(dim, correlation, scale),
        "equicorrelated_rows": lambda: equicorrelated_rows(dim - 1 if samples is None else samples, correlation),
        "normalized": lambda: normalized(eigenvalues, q, 2 * dim if samples is None else samples, draws),
    }
    x = makers[data]() if data in makers else real(data, samples, target)
    best, labelling = draws.backend.asarray(x.minimizer), _Labelling(label_noise, x.residuals if labels == "real" else None)
    error = _error(
        x, draws, start, data, low=low, high=high, decay=start_decay, support=support, normalize=normalize, distance=distance
    )
    gap, gradient = _functions(x, draws)
    size, smooth = len(x.eigenvalues), x.smoothness
    return Problem(
        shape=(size,),
        start=best + error,
        minimizer=best,
        constants={
            **norms("L", smooth, "1", "inf"),
            **_constants(x, batch),
            **distances(error),
            "label_noise": labelling.spread,
            "Delta_0": to_host(gap(best + error)),
        },
        gap=gap,
        gradient=gradient,
        sample=_sample(x, labelling, batch, draws),
        vectors={"L": draws.backend.asarray(smooth)},
        capabilities={**_capabilities(x, labelling, batch), "eigenbasis": turns(x.basis, draws.backend)[0]},
        row_elements=size + 2 * batch if x.shared is not None else min(batch * size, max(BLOCK, size)),
    )


class _Labelling(NamedTuple):
    """Where xi = y - x'w* comes from: the ``residuals`` of the rows, if not None, else N(0, noise^2)."""

    noise: float
    residuals: Floats | None

    @property
    def spread(self) -> float:
        """The root of E xi^2."""
        return self.noise if self.residuals is None else float(np.sqrt((self.residuals**2).mean()))


def _require_fitting(data: str, labels: str, label_noise: float, **given: Any) -> None:
    """TheorysimError for parameters that this law of x does not know, and for labels that are noisy twice."""
    one_of("data", data, DATA)
    for name, value in given.items():
        if value is not None and data not in _ONLY[name]:
            raise TheorysimError(f"{name}={value!r} has no meaning for data={data!r}; it belongs to {', '.join(_ONLY[name])}")
    if non_negative("label_noise", label_noise) and labels == "real":
        raise TheorysimError(f"label_noise={label_noise} with labels='real': these have residuals; give label_noise=0")
    if one_of("labels", labels, ("interpolated", "real")) == "real" and data not in REAL:
        raise TheorysimError(f"labels='real' needs real data, not data={data!r}; choose {' or '.join(REAL)}")


def _error(x: Covariates, draws: Draws, start: str | Sequence[float], data: str, **law: Any) -> Array:
    """w_1 - w*: drawn in the eigenbasis but of a finite set in coordinates, without what lies outside range(H)."""
    size = len(x.eigenvalues)
    if start == "zeros":
        if x.labels is None:
            raise TheorysimError(f"start='zeros' is the minimizer w* for data={data!r}; give another start, such as 'ones'")
        return draws.backend.xp.broadcast_to(-draws.backend.asarray(x.minimizer), (len(draws.runs), size))
    y, (turn, back) = start_error(start, size, draws, **law), turns(x.basis, draws.backend)
    inside = draws.backend.asarray((x.eigenvalues > 0).astype(np.float64))
    if x.rows is None:
        return back(inside * y)
    return y if x.eigenvalues.all() else back(inside * turn(y))


def _functions(x: Covariates, draws: Draws) -> tuple[Function, Function]:
    """The gap, from the eigenbasis so that no term is negative, and the gradient."""
    xp, asarray, (turn, back) = draws.backend.xp, draws.backend.asarray, turns(x.basis, draws.backend)
    curvature, best = asarray(x.eigenvalues), asarray(x.minimizer)
    product = None if x.rows is None else asarray(x.hessian)

    def gap(w: Array) -> Array:
        e = turn(w - best)
        return 0.5 * xp.sum(curvature * e * e, axis=1)

    def gradient(w: Array) -> Array:
        return back(curvature * turn(w - best)) if product is None else times(w - best, product)

    return gap, gradient


def _sample(x: Covariates, labelling: _Labelling, batch: int, draws: Draws) -> Callable[[Array, Draw], Array]:
    """The stochastic gradient at w."""
    best, (turn, back) = draws.backend.asarray(x.minimizer), turns(x.basis, draws.backend)
    if x.rows is not None:
        of_error = of_rows(x.rows, labelling.residuals, labelling.noise, batch, draws)
        return lambda w, draw: of_error(w - best, draw)
    if x.kurtosis is not None:
        of_turned = of_decoupled(x.eigenvalues, x.kurtosis, labelling.noise, batch, draws)
    else:
        of_turned = of_gaussian(x.eigenvalues, labelling.noise, batch, draws)
    return lambda w, draw: back(of_turned(turn(w - best), draw))


def _constants(x: Covariates, batch: int) -> dict[str, float]:
    top, low = float(x.eigenvalues.max()), float(x.eigenvalues[x.eigenvalues > 0].min())
    L_m = (x.L1 + (batch - 1) * top) / batch
    return {
        "lambda_max": top,
        "lambda_min": low,
        "rank": int(np.count_nonzero(x.eigenvalues)),
        "trace_H": float(x.eigenvalues.sum()),
        "L1": x.L1,
        "kappa_tilde": x.kappa_tilde,
        "kappa": x.L1 / low,
        "L_m": L_m,
        "kappa_tilde_m": (x.kappa_tilde + batch - 1) / batch,
        "kappa_m": L_m / low,
        "M": batch,
        "dim": len(x.eigenvalues),
        **({} if x.rows is None else {"samples": len(x.rows)}),
    }


def _capabilities(x: Covariates, labelling: _Labelling, batch: int) -> dict[str, Any]:
    variance = labelling.noise**2

    def noise_at_minimizer() -> Floats:
        if x.rows is None or labelling.residuals is None:
            return variance * x.hessian / batch
        wrong = x.rows * labelling.residuals[:, None]
        return wrong.T @ wrong / (len(wrong) * batch)

    known = {
        "hessian": lambda: x.hessian,
        "spectrum": x.eigenvalues,
        "noise_at_minimizer": noise_at_minimizer,
    }
    if x.own is None:
        return known
    shared = None if x.shared is None else x.shared / np.sqrt(batch)
    return {**known, "gradient_noise": GradientNoise(variance * x.eigenvalues / batch, x.own / batch, shared)}
