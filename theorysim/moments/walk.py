"""A linear method through its stages: second moments by direction at the recorded steps."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from theorysim.backend import in_threads, namespace, to_host
from theorysim.model import Array, TheorysimError
from theorysim.moments.accumulated import accumulated
from theorysim.moments.growth import Noise, advanced, growth
from theorysim.moments.setting import Setting
from theorysim.moments.stage import Second, Weights, folded, plus, power, through

_DIRECTIONS = 25_000  # worked on at once by one core of a CPU


class Moments(NamedTuple):
    """After some steps, ``(rows, dim)`` each: of the error w - w* and the momentum z, what the start has left (``bias``: the
    expectation without additive noise) and what the additive noise has added (``variance``); and the same of what is put out."""

    bias: Second
    variance: Second
    output_bias: Array
    output_variance: Array


def moments(case: Setting, steps: Sequence[int]) -> Iterator[Moments]:
    """The moments after each of the strictly ascending ``steps``."""
    if case.grows:
        return _growing(case, steps)
    dim = case.eigenvalues.shape[0]
    if dim <= _DIRECTIONS or not isinstance(case.error, np.ndarray):
        return _additive(case, steps)
    parts = [_some_directions(case, slice(first, first + _DIRECTIONS)) for first in range(0, dim, _DIRECTIONS)]
    return map(_side_by_side, zip(*in_threads(partial(_additive_at_once, steps=steps), parts), strict=True))


def _some_directions(case: Setting, these: slice) -> Setting:
    noise = Noise(*(None if each is None else each[these] for each in case.noise))
    return Setting(case.eigenvalues[these], case.error[:, these], noise, case.method)


def _additive_at_once(case: Setting, steps: Sequence[int]) -> list[Moments]:
    with np.errstate(all="ignore"):
        return list(_additive(case, steps))


def _side_by_side(parts: Sequence[Moments]) -> Moments:
    bias, variance = (
        Second(*map(partial(np.concatenate, axis=-1), zip(*each, strict=True))) for each in list(zip(*parts, strict=True))[:2]
    )
    outputs = (np.concatenate(each, axis=-1) for each in list(zip(*parts, strict=True))[2:])
    return Moments(bias, variance, *outputs)


def _pieces(stages: Iterable[tuple[float, int]], steps: Sequence[int]) -> Iterator[tuple[float, int, int]]:
    """The stages cut at the recorded steps: factor, length, steps done at the end of the piece."""
    done = 0
    for factor, length in stages:
        end = done + length
        for stop in (*steps[bisect_right(steps, done) : bisect_left(steps, end)], end):
            if stop > done:
                yield factor, stop - done, stop
            done = stop


def _ratio(factor: float, before: float) -> float:
    """By how much the momentum grows where the step size multiplies a buffer of raw gradients."""
    if before == 0:
        raise TheorysimError(
            "the step size comes back from 0, which loses the momentum in the form that an exact expectation keeps it; "
            "take form='polyak', or a schedule that stays above 0"
        )
    return factor / before


# ------------------------------------------------------------------------------------------------ additive noise, last iterate
class _State(NamedTuple):
    """The means of error and momentum, and the second moments of what the noise adds to them.

    ``turned``: the directions in which ``z`` stands for 2 beta e - z, and both may have the other sign, see stage.folded.
    """

    e: Array
    z: Array
    noise: Second
    turned: Array


def _additive(case: Setting, steps: Sequence[int]) -> Iterator[Moments]:
    xp, method, wanted = namespace(case.error), case.method, set(steps)
    zero = xp.zeros_like(case.error)
    state, before = _State(case.error, zero, Second(zero, zero, zero), zero > 0), None
    momentum, noisy = zero + method.momentum, bool(to_host(xp.any(case.noise.additive != 0)))
    if 0 in wanted:
        yield _moments_of(state, momentum, case)
    for factor, count, done in _pieces(method.stages(steps[-1]), steps):
        if factor != before:
            step, turned = _unfolded(case, factor)
            if method.lr_outside and before is not None:
                state = _rescaled(state, momentum, _ratio(factor, before))
            state, before = _turned(state, turned, momentum), factor
        m, noise = power(step, count), state.noise
        if noisy:
            added = Second(*(case.noise.additive * each for each in accumulated(step, m, count)))
            noise = plus(through(m, noise), added)
        state = _State(m.a * state.e + m.b * state.z, m.c * state.e + m.d * state.z, noise, turned)
        if done in wanted:
            yield _moments_of(state, momentum, case)


def _unfolded(case: Setting, factor: float) -> tuple[Weights, Array]:
    step = case.step(factor)
    if case.method.kick is None and isinstance(case.method.look_ahead, float) and case.method.look_ahead == 0:
        negative, step = folded(step)
        return step, negative
    return step, step.q < -1  # nowhere: only heavy ball has two roots near -1


def _turned(state: _State, wanted: Array, momentum: Array) -> _State:
    """The same state in the coordinates of the directions ``wanted``."""
    xp, (e, z, (ee, ez, zz), _), other, twice = namespace(state.e), state, state.turned != wanted, 2 * momentum
    if not xp.any(other):
        return state
    noise = Second(ee, xp.where(other, twice * ee - ez, ez), xp.where(other, twice * (twice * ee - 2 * ez) + zz, zz))
    return _State(e, xp.where(other, twice * e - z, z), noise, wanted)


def _rescaled(state: _State, momentum: Array, ratio: float) -> _State:
    """A buffer of raw gradients keeps its value where the step size changes, so the momentum takes the new step size."""
    e, z, (ee, ez, zz), turned = _turned(state, state.turned & ~state.turned, momentum)
    return _State(e, ratio * z, Second(ee, ratio * ez, ratio * ratio * zz), turned)


def _moments_of(state: _State, momentum: Array, case: Setting) -> Moments:
    e, z, noise, _ = _turned(state, state.turned & ~state.turned, momentum)
    bias, o = Second(e * e, e * z, z * z), case.method.output
    out = e + o * z
    return Moments(bias, noise, out * out, noise.ee + 2 * o * noise.ez + o * o * noise.zz)


# ------------------------------------------------------------------------------------------------ growing noise, averages
def _growing(case: Setting, steps: Sequence[int]) -> Iterator[Moments]:
    xp, method, wanted = namespace(case.error), case.method, set(steps)
    size = 6 if method.averaged else 3
    zero = xp.zeros_like(case.error)
    bias = xp.stack([case.error * case.error, *[zero] * (size - 1)], axis=-1)
    variance, before, unit = xp.zeros_like(bias), None, case.step(0.0).friction
    if 0 in wanted:
        yield _read(case, bias, variance, unit, 0)
    for factor, count, done in _pieces(method.stages(steps[-1]), steps):
        if factor != before:
            one = growth(case.step(factor), case.noise, method.averaged)
            if method.lr_outside and before is not None:
                ratio = _ratio(factor, before)
                scale = xp.stack([zero + ratio**power_ for power_ in (0, 1, 2, 0, 1, 0)[:size]], axis=-1)
                bias, variance = bias * scale, variance * scale
            before = factor
        bias, variance = advanced(one, case.noise, bias, variance, count)
        if done in wanted:
            yield _read(case, bias, variance, unit, done)


def _read(case: Setting, bias: Array, variance: Array, unit: Array, done: int) -> Moments:
    parts, outputs, o = [], [], case.method.output
    for y in (bias, variance):
        second = Second(y[..., 0], unit * y[..., 1], unit * unit * y[..., 2])
        last = second.ee + 2 * o * second.ez + o * o * second.zz
        outputs.append(y[..., 5] / done**2 if case.method.averaged and done else last)
        parts.append(second)
    return Moments(*parts, *outputs)
