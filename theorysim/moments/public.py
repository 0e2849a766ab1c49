"""Exact expectations for users: the gap alone, or the moments by direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import Backend, one_blas_thread, select, to_host
from theorysim.model import Spec
from theorysim.moments.expectations import floor, loss, one_minus_radius
from theorysim.moments.setting import asked_steps, setting
from theorysim.moments.walk import moments
from theorysim.trace import varying
from theorysim.validation import non_negative, one_of

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Second moments of a linear method by direction, on the host; without the axis of variants where there are none.

    ``steps``: ``(records,)``. ``eigenvalues``: ``(dim,)``; under Gaussian data equal eigenvalues share one direction, with the
    sum of their moments. ``contributions``: lam/2 E (output - w*)^2, ``(records, variants, dim)``, split into ``bias`` (what the
    start has left) and ``variance`` (what the additive noise has added). ``covariance``: of w - w* and the momentum z of
    model.LinearMethod, ``(records, variants, dim, 2, 2)``: second moments around w* and 0. ``decay``: 1 - the spectral radius of
    the second moments with the last step size, ``(variants,)``. ``floor``: lim E f - f* with it, ``(variants,)``.
    """

    steps: tuple[int, ...]
    eigenvalues: Floats
    bias: Floats
    variance: Floats
    covariance: Floats
    decay: Floats
    floor: Floats

    @property
    def contributions(self) -> Floats:
        return self.bias + self.variance

    @property
    def gap(self) -> Floats:
        """E f - f*, ``(records, variants)``."""
        total: Floats = self.contributions.sum(axis=-1)
        return total


def expected_gap(
    problem: Spec, algorithm: Spec, steps: int | Sequence[int], *, device: str | Backend = "auto", seed: int = 0
) -> Floats:
    """E f - f* of the output after t = ``steps`` steps, exact but for rounding: what the mean of ``run`` over its runs tends to.

    ``(records,)``, in the order of ``steps``; ``(variants, records)`` where the algorithm holds lists. The expectation is over
    the gradient noise; the instance and its start are those of run 0 of ``seed``. A method that diverges gives large numbers
    and in the end inf. Costs O((stages of constant step + records) log steps), whatever the horizon.

    Raises TheorysimError unless the problem is a quadratic that declares ``spectrum``, ``eigenbasis`` and ``gradient_noise``
    (model.GradientNoise), and the algorithm its transition (model.LinearMethod), with 0 <= lr < inf and -1 < momentum < 1.
    """
    asked = _asked(problem, algorithm, steps)
    with one_blas_thread(), np.errstate(all="ignore"):
        case, _ = setting(problem, algorithm, select(device), int(non_negative("seed", seed)))
        gaps = [to_host(loss(case, m.output_bias, m.output_variance)).sum(axis=-1) for m in moments(case, sorted(set(asked)))]
    return np.ascontiguousarray(_in_order(gaps, asked).T if varying(algorithm) else _in_order(gaps, asked)[:, 0])


def exact_moments(
    problem: Spec, algorithm: Spec, steps: int | Sequence[int], *, device: str | Backend = "auto", seed: int = 0
) -> Moments:
    """The second moments behind ``expected_gap``, under its conditions; records in the order of ``steps``."""
    asked = _asked(problem, algorithm, steps)
    keep = slice(None) if varying(algorithm) else 0
    with one_blas_thread(), np.errstate(all="ignore"):
        case, _ = setting(problem, algorithm, select(device), int(non_negative("seed", seed)))
        bias, variance, covariance = [], [], []
        for each in moments(case, sorted(set(asked))):
            bias.append(to_host(loss(case, each.output_bias, None))[keep])
            variance.append(to_host(loss(case, None, each.output_variance))[keep])
            ee, ez, zz = (to_host(one + other)[keep] for one, other in zip(each.bias, each.variance, strict=True))
            covariance.append(np.stack([np.stack([ee, ez], axis=-1), np.stack([ez, zz], axis=-1)], axis=-1))
        last = [factor for factor, _ in case.method.stages(max(asked))][-1:] or [1.0]
        rates = [of(case, last[0])[keep] for of in (one_minus_radius, floor)]
    tables = [_in_order(each, asked) for each in (bias, variance, covariance)]
    return Moments(tuple(asked), to_host(case.eigenvalues), *tables, *rates)


def _asked(problem: Spec, algorithm: Spec, steps: int | Sequence[int]) -> list[int]:
    one_of("kind of the first Spec", problem.kind, ("problem",))
    one_of("kind of the second Spec", algorithm.kind, ("algorithm",))
    return asked_steps(steps)


def _in_order(ascending: list[Floats], asked: list[int]) -> Floats:
    """The records in the order asked for, from those of the ascending distinct steps."""
    place = {step: n for n, step in enumerate(sorted(set(asked)))}
    return np.stack(ascending)[[place[step] for step in asked]]
