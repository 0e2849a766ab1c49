"""What can be recorded of an expectation, by name, and a cell that records it."""

from __future__ import annotations

from collections.abc import Callable

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from theorysim.backend import Backend, namespace, one_blas_thread, to_host
from theorysim.build import variants
from theorysim.model import Array, Cell, TheorysimError
from theorysim.moments.growth import Noise, decay, growth, stationary
from theorysim.moments.pooled import pooled_values
from theorysim.moments.setting import Setting, arranged, built, is_pooled
from theorysim.moments.stage import log_radius
from theorysim.moments.walk import Moments, moments
from theorysim.run import record_steps, require_steps
from theorysim.trace import OK, Trace, varying
from theorysim.validation import unknown

Floats = NDArray[np.float64]

AT_STEPS: dict[str, Callable[[Setting, Moments], Array]] = {
    "gap": lambda case, m: _sum(case, loss(case, m.output_bias, m.output_variance)),
    "gap_bias": lambda case, m: _sum(case, loss(case, m.output_bias, None)),
    "gap_variance": lambda case, m: _sum(case, loss(case, None, m.output_variance)),
    "square_distance": lambda case, m: _sum(case, _known(case, m.output_bias, m.output_variance)),
}
AT_LAST: dict[str, Callable[[Setting, float], Floats]] = {
    "decay": lambda case, factor: one_minus_radius(case, factor),
    "floor": lambda case, factor: floor(case, factor),
}
_MOMENTS = {"ww": "ee", "wz": "ez", "zz": "zz"}
EXPECTATIONS = (*AT_STEPS, *AT_LAST, *(f"{name}:POWER" for name in _MOMENTS))


def run_exact(cell: Cell, backend: Backend) -> Trace:
    """The expectations of a cell, one row for each variant; measures by name:

    ``gap``: E f - f* of what is put out; ``gap_bias``, ``gap_variance``: the part that the start has left and the part that the
    additive noise has added. ``square_distance``: E‖output - w*‖^2. ``ww:p``, ``wz:p``, ``zz:p``: sum_j lam_j^p of the second
    moments of w - w* and the momentum z, over the lam_j > 0. And of the last step size, the same at every record: ``decay``, 1 -
    the spectral radius of the second moments; ``floor``, lim E f - f* (inf where it diverges).

    Variance-reduced methods on a finite sum have measures of their own, and ``until``: moments/pooled.py.

    Raises TheorysimError where no expectation can be computed (moments/setting.py) and for another measure.
    """
    require_steps(cell)
    steps = record_steps(cell)
    with one_blas_thread(), np.errstate(all="ignore"):
        instance, made = built(cell.problem, cell.algorithm, backend, cell.seed, cell.first_run)
        pooled = is_pooled(instance, made)
        if cell.runs != 1 or (cell.until is not None and not pooled):
            raise TheorysimError(
                f"an expectation takes no runs and no until; here runs={cell.runs}, until={cell.until}; leave them out"
            )
        if pooled:
            steps, values = pooled_values(cell, steps, instance, made.pooled, variants(cell.algorithm))
        else:
            values = _values(arranged(cell.problem, instance, cell.algorithm, made, backend), cell, steps.tolist())
    ended = cell.until is not None  # then a missing value is no divergence
    broken = np.any([np.isinf(each) if ended else ~np.isfinite(each) for each in values.values()], axis=0)
    count = len(broken)
    none = np.zeros(len(steps), dtype=np.int64)
    return Trace(
        cell=cell,
        steps=steps,
        values=values,
        oracle_calls={"gradient": none, "sample": none},
        communications=none,
        status=np.where(broken.any(axis=1), steps[broken.argmax(axis=1)], OK),
        runs=np.full(count, cell.first_run),
        parameters={name: np.array(each) for name, each in varying(cell.algorithm).items()},
        constants=dict(instance.constants),
        environment=backend.describe(),
    )


def _values(case: Setting, cell: Cell, steps: list[int]) -> dict[str, Floats]:
    """``(rows, records)`` of each measure."""
    at_steps = {name: _at_steps(name) for name in cell.measure if name not in AT_LAST}
    last = [factor for factor, _ in case.method.stages(steps[-1])][-1] if len(at_steps) < len(cell.measure) else 1.0
    found = {name: np.repeat(AT_LAST[name](case, last)[:, None], len(steps), axis=1) for name in cell.measure if name in AT_LAST}
    if at_steps:
        xp = namespace(case.error)
        columns = [xp.stack([of(case, each) for of in at_steps.values()]) for each in moments(case, steps)]
        table = to_host(xp.stack(columns, axis=-1))
        found |= {name: np.ascontiguousarray(table[i]) for i, name in enumerate(at_steps)}
    return found


def _at_steps(name: str) -> Callable[[Setting, Moments], Array]:
    word, _, exponent = name.partition(":")
    if word in _MOMENTS and exponent:
        try:
            power = float(exponent)
        except ValueError:
            raise TheorysimError(f"measure {name!r} cannot be read; write {word}:POWER, for instance {word}:-1") from None
        part = _MOMENTS[word]
        return lambda case, m: _powers(case, getattr(m.bias, part) + getattr(m.variance, part), power)
    if name not in AT_STEPS:
        raise unknown("measure of an expectation", name, EXPECTATIONS)
    return AT_STEPS[name]


# ------------------------------------------------------------------------------------------------ sums over directions
def loss(case: Setting, bias: Array, variance: Array) -> Array:
    """lam/2 times the second moment of each direction, ``(rows, dim)``; None for a part that is left out."""
    known = _known(case, bias, variance)
    return namespace(known).where(case.eigenvalues == 0, 0.0, case.eigenvalues / 2 * known)


def _known(case: Setting, bias: Array, variance: Array) -> Array:
    """The sum of the parts. What overflowed may be NaN by now and is inf, but 0 where its source is 0: nothing moved there."""
    xp, (_, error, noise, _) = namespace(case.error), case
    total = xp.zeros_like(error)
    for part, source in ((bias, error), (variance, xp.zeros_like(error) + noise.additive)):
        if part is not None:
            still = (source == 0) if noise.spread is None else (source != source)
            total = total + xp.where(still, 0.0, xp.where(xp.isnan(part), xp.inf, part))
    return total


def _powers(case: Setting, second: Array, power: float) -> Array:
    xp, curved = namespace(second), case.eigenvalues > 0
    factor = xp.where(curved, xp.where(curved, case.eigenvalues, 1.0) ** power, 0.0)
    return xp.sum(xp.where(curved, factor * second, 0.0), axis=-1)


def _sum(case: Setting, by_direction: Array) -> Array:
    return namespace(case.error).sum(by_direction, axis=-1)


# ------------------------------------------------------------------------------------------------ of one step size
def one_minus_radius(case: Setting, factor: float = 1.0) -> Floats:
    """1 - the spectral radius of the second moments over the directions of positive curvature, ``(rows,)`` on the host."""
    case = _curved(case)
    if case.noise.spread is None and not to_host(case.noise.own).any():
        log_r = to_host(log_radius(case.step(factor)))
        return np.asarray(-np.expm1(2 * log_r.max(axis=-1)))
    return decay(growth(case.step(factor), case.noise, averaged=False), case.noise)


def floor(case: Setting, factor: float = 1.0) -> Floats:
    """lim E f - f* under a constant step size, ``(rows,)`` on the host: inf where it diverges; of the last iterate, also where an
    average is put out."""
    case, diverges = _curved(case), one_minus_radius(case, factor) <= 0
    step = case.step(factor)
    y, unit = stationary(growth(step, case.noise, averaged=False), case.noise), step.friction * case.method.output
    second = y[..., 0] + 2 * unit * y[..., 1] + unit * unit * y[..., 2]
    return np.where(diverges, np.inf, to_host(_sum(case, case.eigenvalues * second / 2)))


def _curved(case: Setting) -> Setting:
    """The same without the directions of no curvature, which carry no loss and never decay."""
    kept = np.flatnonzero(to_host(case.eigenvalues) > 0)
    if len(kept) == case.eigenvalues.shape[0]:
        return case
    xp, place = namespace(case.error), namespace(case.error).asarray(kept, device=array_api_compat.device(case.error))
    noise = Noise(*(None if each is None else xp.take(each, place, axis=0) for each in case.noise))
    return Setting(xp.take(case.eigenvalues, place, axis=0), xp.take(case.error, place, axis=-1), noise, case.method)
