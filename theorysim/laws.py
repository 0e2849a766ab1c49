"""Laws of spectra and of starting errors, shared by the problem generators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import CPU
from theorysim.model import Array, Draw, TheorysimError
from theorysim.noise import Draws, Stream
from theorysim.validation import finite, non_negative, one_of, positive, positive_integer

SPECTRA = ("power", "head_bulk", "log", "two_value", "linear")
STARTS = ("ones", "signs", "uniform", "lognormal", "power", "sparse")

_COPIES = 8  # arrays of the batch's size that any run holds, at least

_BULK = Draw(0)
_SIGNS, _SIZES = Draw(0), Draw(1)


def spectrum(
    law: str | Sequence[float],
    dim: int,
    draws: Draws,
    *,
    decay: float = 1.0,
    kappa: float = 10.0,
    head: int = 8,
    scale: float = 1.0,
) -> NDArray[np.float64]:
    """A vector of ``dim`` curvatures, non-negative, on the host.

    ``power``: j^-decay. ``head_bulk``: ``head`` values from 1 down to 0.3, evenly spaced, then a bulk of total about 4,
    4/(dim-head) * U(.5, 1.5): the trace stays while the dimension grows. ``log``: from 1 down to 1/kappa, evenly spaced in the
    logarithm. ``two_value``: ``head`` ones, then 1/kappa. ``linear``: from 1 down to 1/kappa, evenly spaced. A list is taken
    as it is. All are multiplied by ``scale``. Raises TheorysimError for other laws and impossible sizes.
    """
    positive(f"scale of {law!r}", scale)
    _require_memory(dim, draws)
    j = np.arange(1, dim + 1, dtype=float)
    if not isinstance(law, str):
        return scale * vector("spectrum", law, dim)
    one_of("spectrum", law, SPECTRA)
    if law == "power":
        return scale * np.asarray(j ** -finite("decay", decay))
    if law in ("log", "linear"):
        low = 1.0 / positive("kappa", kappa)
        return scale * (np.geomspace(1.0, low, dim) if law == "log" else np.linspace(1.0, low, dim))
    head = positive_integer("head", head)
    if head >= dim and law == "head_bulk":
        raise TheorysimError(f"head={head} leaves no bulk in dim={dim}; give head below dim")
    if law == "two_value":
        return scale * np.where(j <= head, 1.0, 1.0 / positive("kappa", kappa))
    bulk = 0.5 + replace(draws, backend=CPU).shared_uniform(Stream.INSTANCE, _BULK, (dim - head,))
    return scale * np.concatenate([np.linspace(1.0, 0.3, head), 4.0 / (dim - head) * bulk])


def vector(name: str, values: Sequence[float], dim: int) -> NDArray[np.float64]:
    """A user's list as a vector of ``dim`` non-negative numbers; TheorysimError otherwise."""
    if len(values) != dim:
        raise TheorysimError(f"{name} holds {len(values)} values but dim={dim}; give one value per coordinate")
    return np.array([non_negative(f"{name}[{j}]", value) for j, value in enumerate(values)])


def start_error(
    law: str | Sequence[float],
    dim: int,
    draws: Draws,
    *,
    low: float = 0.0,
    high: float = 1.0,
    decay: float = 1.0,
    support: int = 1,
    normalize: str | None = None,
    distance: float = 1.0,
) -> Array:
    """The starting error w_1 - w*, ``(rows, dim)`` on the backend, drawn from each row's own run.

    ``ones``: +1. ``signs``: +-1. ``uniform``: magnitudes U(low, high) with random signs. ``lognormal``: exp(N(0,1)) with random
    signs. ``power``: j^-decay with random signs. ``sparse``: 1 in the first ``support`` coordinates, else 0. A list is taken as
    it is. ``normalize="inf"`` or ``"2"`` rescales each row to that norm; then everything is multiplied by ``distance``.
    """
    _require_memory(dim, draws)
    xp, asarray = draws.backend.xp, draws.backend.asarray
    rows = len(draws.runs)
    if not isinstance(law, str):
        error = xp.broadcast_to(asarray(signed_vector("start", law, dim)), (rows, dim))
    else:
        error = _magnitudes(one_of("start", law, STARTS), dim, draws, low, high, decay, support)
    if law in ("signs", "uniform", "lognormal", "power"):
        error = xp.where(draws.uniform(Stream.START, _SIGNS, (dim,)) < 0.5, -error, error)
    if one_of("normalize", normalize, (None, "inf", "2")) is not None:
        size = xp.max(xp.abs(error), axis=1) if normalize == "inf" else xp.sqrt(xp.sum(error * error, axis=1))
        error = error / size[:, None]
    return positive("distance", distance) * error


def _require_memory(dim: int, draws: Draws) -> None:
    """Refuse a batch whose iterates alone would fill the memory, before an allocation kills the process."""
    need, free = 8 * _COPIES * len(draws.runs) * dim, draws.backend.free_memory()
    if need > free:
        size = f"{need / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
        raise TheorysimError(f"dim={dim} with {len(draws.runs)} rows needs about {size}; take a smaller dim or fewer runs")


def _magnitudes(law: str, dim: int, draws: Draws, low: float, high: float, decay: float, support: int) -> Array:
    xp, asarray = draws.backend.xp, draws.backend.asarray
    if law == "uniform":
        return non_negative("low", low) + (positive("high", high) - low) * draws.uniform(Stream.START, _SIZES, (dim,))
    if law == "lognormal":
        return xp.exp(draws.normal(Stream.START, _SIZES, (dim,)))
    j = np.arange(1, dim + 1, dtype=float)
    if law == "power":
        values = j ** -finite("decay", decay)
    else:
        values = np.where(j <= positive_integer("support", support), 1.0, 0.0) if law == "sparse" else np.ones(dim)
    return xp.broadcast_to(asarray(values), (len(draws.runs), dim))


def signed_vector(name: str, values: Sequence[float], dim: int) -> NDArray[Any]:
    """A user's list as a vector of ``dim`` finite numbers; TheorysimError otherwise."""
    if len(values) != dim:
        raise TheorysimError(f"{name} holds {len(values)} values but dim={dim}; give one value per coordinate")
    return np.array([finite(f"{name}[{j}]", value) for j, value in enumerate(values)])
