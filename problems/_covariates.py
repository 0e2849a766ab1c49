"""The law of x in least squares with y = x'w* + xi: H = E xx', and how far the fourth moments of x reach beyond it."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import CPU
from theorysim.model import Draw, TheorysimError
from theorysim.noise import Draws, Stream
from theorysim.problems._datasets import digits
from theorysim.problems._row_sums import row_sums
from theorysim.validation import at_least, finite, one_of, positive_integer

Floats = NDArray[np.float64]

REAL = ("diabetes", "digits")

_ROWS = Draw(2)
_CLASSES = 10


class Covariates(NamedTuple):
    """What is known of x, on the host.

    ``eigenvalues``: of H, ``(dim,)``. ``basis``: Q with H = Q diag(eigenvalues) Q'; None for I. ``L1``, ``kappa_tilde``: the
    smallest with E |x|^2 xx' <= L1 H and E (x'H^-1 x) xx' <= kappa_tilde H, on range(H). ``own``, ``shared``: of the gradient of
    one sample, see model.GradientNoise; None where its variances do not close. ``kurtosis``: of z, see decoupled.
    ``rows``, ``labels``: a finite set of samples, each as likely as any, ``(samples, dim)`` and ``(samples,)``, or None.
    ``minimizer``: w*, ``(dim,)``; of labelled rows the least-squares solution next to 0.
    """

    eigenvalues: Floats
    basis: Floats | None
    L1: float
    kappa_tilde: float
    minimizer: Floats
    own: Floats | None = None
    shared: Floats | None = None
    kurtosis: float | None = None
    rows: Floats | None = None
    labels: Floats | None = None

    @property
    def hessian(self) -> Floats:
        """H, ``(dim, dim)``; of rows with exact zeros where they have them."""
        if self.rows is not None:
            return np.asarray(self.rows.T @ self.rows / len(self.rows))
        return np.diag(self.eigenvalues) if self.basis is None else (self.basis * self.eigenvalues) @ self.basis.T

    @property
    def smoothness(self) -> Floats:
        """L with diag(L) >= H: the eigenvalues of a diagonal H, else see row_sums."""
        largest = float(self.eigenvalues.max())
        return self.eigenvalues if self.basis is None else row_sums(self.hessian[None], largest)[0]

    @property
    def residuals(self) -> Floats | None:
        """y_i - x_i'w* of the labels, ``(samples,)``."""
        return None if self.rows is None or self.labels is None else self.labels - self.rows @ self.minimizer


def gaussian(eigenvalues: Floats, basis: Floats | None) -> Covariates:
    """x ~ N(0, H), for which E xx'Axx' = 2 HAH + tr(HA) H."""
    top, rank = float(2 * eigenvalues.max() + eigenvalues.sum()), int(np.count_nonzero(eigenvalues))
    return Covariates(eigenvalues, basis, top, rank + 2.0, np.zeros(len(eigenvalues)), eigenvalues**2, eigenvalues)


def decoupled(eigenvalues: Floats, basis: Floats | None, kurtosis: float | None) -> Covariates:
    """x = sqrt(dim lam_j) z q_j in a direction j drawn uniformly, E z^2 = 1, E z^4 = kurtosis (None: 3): c = dim kurtosis."""
    dim, kurtosis = len(eigenvalues), 3.0 if kurtosis is None else finite("kurtosis", kurtosis)
    if kurtosis < 1:
        raise TheorysimError(f"kurtosis={kurtosis} is not allowed: E z^4 >= (E z^2)^2 = 1; give a number of at least 1")
    c, own = dim * kurtosis, (dim * kurtosis - 1) * eigenvalues**2
    return Covariates(eigenvalues, basis, float(c * eigenvalues.max()), c, np.zeros(dim), own, kurtosis=kurtosis)


def equicorrelated(dim: int, correlation: float, scale: float) -> Covariates:
    """x ~ N(0, scale ((1 - r) I + r 11')): the eigenvalue of the constant vector comes first."""
    least = -1 / (dim - 1) if dim > 1 else -1.0
    if not least < finite("correlation", correlation) < 1:
        raise TheorysimError(
            f"correlation={correlation} is not allowed in dim={dim}; give a number above {least:.4g} and below 1"
        )
    eigenvalues = np.full(dim, scale * (1 - correlation))
    eigenvalues[0] = scale * (1 + (dim - 1) * correlation)
    return gaussian(eigenvalues, helmert(dim))


def equicorrelated_rows(samples: int, correlation: float) -> Covariates:
    """x_i = sqrt(1 - c) e_i + sqrt(c) e_{n+1}, n = samples: |x_i| = 1, x_i'x_k = c; closed forms, with exact multiplicities."""
    if not 0 <= finite("correlation", correlation) < 1:
        raise TheorysimError(f"correlation={correlation} is not allowed for rows; give a number of at least 0 and below 1")
    samples, own, common = positive_integer("samples", samples), np.sqrt(1 - correlation), np.sqrt(correlation)
    rows = np.hstack([own * np.eye(samples), np.full((samples, 1), common)])
    eigenvalues = np.full(samples + 1, (1 - correlation) / samples)
    eigenvalues[0] += correlation
    eigenvalues[-1] = 0.0
    basis, turned = np.zeros((samples + 1, samples + 1)), helmert(samples)
    length = np.sqrt(1 - correlation + correlation * samples)
    basis[:-1, :-1] = turned
    basis[:-1, 0] *= own / length
    basis[:-1, -1] = -turned[:, 0] * common * np.sqrt(samples) / length
    basis[-1, [0, -1]] = common * np.sqrt(samples) / length, own / length
    return Covariates(eigenvalues, basis, 1.0, float(samples), np.zeros(samples + 1), rows=rows)


def normalized(eigenvalues: Floats, basis: Floats | None, samples: int, draws: Draws) -> Covariates:
    """``samples`` draws from N(0, diag(eigenvalues)), turned by the basis, each divided by its length; shared by all runs."""
    shape = (positive_integer("samples", samples), len(eigenvalues))
    numbers = replace(draws, backend=CPU).shared_normal(Stream.INSTANCE, _ROWS, shape)
    rows = np.sqrt(eigenvalues) * numbers
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return finite_set(rows if basis is None else rows @ basis.T)._replace(L1=1.0)


@functools.lru_cache(maxsize=8)
def real(data: str, samples: int | None, target: int | None) -> Covariates:
    """The first ``samples`` of a data set of scikit-learn (None: all), shared by all who ask.

    ``digits``: pixels / 16 and the number shown / 9, or with ``target`` 1 for that number and 0 for others. ``diabetes``:
    features and answers, each with mean 0 and variance 1 over the samples taken. Raises TheorysimError for more samples than
    there are, and for a single one of ``diabetes``.
    """
    features, answers = digits() if data == "digits" else _diabetes()
    least, why = (2, "one sample has no variance") if data == "diabetes" else (1, "there is nothing to fit")
    count = len(answers) if samples is None else at_least("samples", samples, least, why)
    if count > len(answers):
        raise TheorysimError(f"samples={samples}, but {data} holds {len(answers)}; give at most {len(answers)}")
    features, answers = features[:count], answers[:count]
    if data == "diabetes":
        return finite_set(_standardized(features), _standardized(answers))
    if target is None:
        return finite_set(features, answers / (_CLASSES - 1))
    return finite_set(features, np.where(answers == one_of("target", target, range(_CLASSES)), 1.0, 0.0))


def finite_set(rows: Floats, labels: Floats | None = None) -> Covariates:
    """Samples drawn from ``rows`` (samples, dim) with replacement; everything from their singular value decomposition.

    With rows = U S Q', H^{-1/2} x_i = sqrt(samples) Q u_i, so no inverse of a small eigenvalue is formed.
    """
    count, dim = rows.shape
    # rows of zeros change no moment but make Q square
    filled = np.vstack([rows, np.zeros((max(dim - count, 0), dim))])
    left, sizes, basis = np.linalg.svd(filled, full_matrices=False)
    sizes = np.where(sizes > sizes[0] * max(count, dim) * np.finfo(float).eps, sizes, 0.0)
    left = left[:count, sizes > 0]
    minimizer = np.zeros(dim) if labels is None else (left.T @ labels / sizes[sizes > 0]) @ basis[sizes > 0]
    return Covariates(
        sizes**2 / count,
        basis.T.copy(),
        _largest(left, (rows**2).sum(axis=1)),
        _largest(left, count * (left**2).sum(axis=1)),
        minimizer,
        rows=rows,
        labels=labels,
    )


def _largest(left: Floats, weights: Floats) -> float:
    return float(np.linalg.eigvalsh((left.T * weights) @ left)[-1]) if left.size else 0.0


def helmert(dim: int) -> Floats:
    """An orthogonal matrix whose first column is constant, ``(dim, dim)``."""
    basis = np.tril(np.ones((dim, dim)), -1).T
    k = np.arange(1, dim)
    basis[k, k] = -k
    basis[:, 0] = 1.0
    return np.asarray(basis / np.linalg.norm(basis, axis=0))


def _standardized(values: Floats) -> Floats:
    """Mean 0 and variance 1 in each column; a constant column becomes 0."""
    centred, spread = values - values.mean(axis=0), values.std(axis=0)
    return np.asarray(np.where(spread > 0, centred / np.where(spread > 0, spread, 1.0), 0.0))


def _diabetes() -> tuple[Floats, Floats]:
    from sklearn.datasets import load_diabetes

    features, answers = load_diabetes(return_X_y=True)
    return features, answers.astype(np.float64)
