"""A kernel machine on images of digits: least squares over the functions that a Gaussian kernel spans, on minibatches."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import to_host
from theorysim.laws import start_error
from theorysim.model import Array, Problem, TheorysimError
from theorysim.noise import Draws
from theorysim.problems._constants import distances, norms
from theorysim.problems._datasets import digits
from theorysim.problems._minibatches import of_rows
from theorysim.registry import register_problem
from theorysim.validation import one_of, positive, positive_integer

Floats = NDArray[np.float64]

_CLASSES = 10
_ROUNDING = 1e-13  # of the largest eigenvalue: below it an eigenvalue of the kernel matrix is not known


@register_problem
def kernel_machine(
    draws: Draws,
    samples: int = 100,
    width: float = 3.0,
    target: int | None = None,
    batch: int = 1,
    start: str | Sequence[float] = "zeros",
    normalize: str | None = None,
    distance: float = 1.0,
) -> Problem:
    """f(w) = 1/(2n) sum_i (h(x_i) - y_i)^2 for the function h = sum_j w_j h_j, h_j the orthonormal eigenfunctions of the kernel.

    K(x, x') = exp(-|x - x'|^2 / (2 width^2)) on the first n = ``samples`` digits of scikit-learn (8 x 8 pixels / 16); y_i is the
    number shown / 9, or with ``target`` 1 for that number and 0 for others. K is invertible, so the machine interpolates its
    labels. A stochastic gradient is the functional gradient on ``batch`` samples drawn with replacement, in the coordinates w.
    ``start``: ``"zeros"``, the function 0, or a law of the error w_1 - w*, see laws.start_error, with ``normalize`` and
    ``distance``.

    With K = U diag(s) U' the features are U diag(s)^{1/2} and H = diag(s)/n. Constants as in least_squares: lambda_max,
    lambda_min, rank, trace_H = 1, L_1norm, L_infnorm, dim = samples, M = batch; exactly L1 = 1, because K(x, x) = 1, and
    kappa_tilde = n, because K is invertible; kappa = 1/lambda_min, and L_m (an upper bound), kappa_tilde_m, kappa_m of
    minibatches; D_inf_0, D_2_0 and Delta_0 per row. Vectors: L. Capabilities: hessian, spectrum, eigenbasis. Raises
    TheorysimError where two images are so close, or ``width`` is so large, that K is singular to rounding.
    """
    known, batch = (
        _machine(positive_integer("samples", samples), positive("width", width), target),
        positive_integer("batch", batch),
    )
    xp, asarray, count = draws.backend.xp, draws.backend.asarray, len(known.eigenvalues)
    curvature, best = asarray(known.eigenvalues), asarray(known.minimizer)
    if start == "zeros":
        w1 = xp.zeros((len(draws.runs), count), dtype=xp.float64, device=draws.backend.device)
    else:
        w1 = best + start_error(start, count, draws, normalize=normalize, distance=distance)
    of_error = of_rows(known.rows, None, 0.0, batch, draws)

    def gap(w: Array) -> Array:
        e = w - best
        return 0.5 * xp.sum(curvature * e * e, axis=1)

    return Problem(
        shape=(count,),
        start=w1,
        minimizer=best,
        constants={**_constants(known.eigenvalues, batch), **distances(w1 - best), "Delta_0": to_host(gap(w1))},
        gap=gap,
        gradient=lambda w: curvature * (w - best),
        sample=lambda w, draw: of_error(w - best, draw),
        vectors={"L": curvature},
        capabilities={
            "hessian": lambda: np.diag(known.eigenvalues),
            "spectrum": known.eigenvalues,
            "eigenbasis": lambda w: w,
        },
        row_elements=batch * count,
    )


class _Machine(NamedTuple):
    """On the host. ``rows``: features, ``(samples, samples)``. ``eigenvalues``: of H, descending. ``minimizer``: w*."""

    rows: Floats
    eigenvalues: Floats
    minimizer: Floats


@functools.lru_cache(maxsize=8)
def _machine(samples: int, width: float, target: int | None) -> _Machine:
    images, shown = digits()
    if samples > len(images):
        raise TheorysimError(f"samples={samples}, but digits holds {len(images)}; give at most {len(images)}")
    x = images[:samples]
    labels = shown / (_CLASSES - 1) if target is None else np.where(shown == one_of("target", target, range(_CLASSES)), 1.0, 0.0)
    squares = np.sum(x * x, axis=1)
    apart = np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0.0)
    np.fill_diagonal(apart, 0.0)
    values, basis = np.linalg.eigh(np.exp(-apart / (2 * width**2)))
    if values[0] < _ROUNDING * values[-1] * samples:
        raise TheorysimError(
            f"the kernel matrix of {samples} digits at width={width:g} is singular to rounding; "
            "give a smaller width or fewer samples"
        )
    values, basis = values[::-1], basis[:, ::-1]
    root = np.sqrt(values)
    return _Machine(basis * root, values / samples, basis.T @ labels[:samples] / root)


def _constants(eigenvalues: Floats, batch: int) -> dict[str, float]:
    top, low, count = float(eigenvalues[0]), float(eigenvalues[-1]), len(eigenvalues)
    L_m = (1 + (batch - 1) * top) / batch
    return {
        **norms("L", eigenvalues, "1", "inf"),
        "lambda_max": top,
        "lambda_min": low,
        "rank": count,
        "trace_H": float(eigenvalues.sum()),
        "L1": 1.0,
        "kappa_tilde": float(count),
        "kappa": 1 / low,
        "L_m": L_m,
        "kappa_tilde_m": (count + batch - 1) / batch,
        "kappa_m": L_m / low,
        "M": batch,
        "dim": count,
    }
