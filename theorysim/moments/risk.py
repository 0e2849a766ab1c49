"""Exact expected gaps with no Monte Carlo, for linear methods on quadratics with additive noise."""

from __future__ import annotations

import operator
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import Backend, namespace, one_blas_thread, select, to_host
from theorysim.build import build_algorithm, build_problem, variants
from theorysim.model import Array, LinearMethod, Problem, Spec, TheorysimError
from theorysim.moments.stage import Second, accumulated, folded, plus, power, through
from theorysim.noise import Draws
from theorysim.trace import varying
from theorysim.validation import non_negative, one_of

_NEEDED = ("spectrum", "eigenbasis", "noise_variances")


def expected_gap(
    problem: Spec, algorithm: Spec, steps: int | Sequence[int], *, device: str | Backend = "auto", seed: int = 0
) -> NDArray[np.float64]:
    """E f(w_{t+1}) - f* after t = ``steps`` steps, exact but for rounding: what the mean of ``run`` over its runs tends to.

    ``(records,)``, in the order of ``steps``; ``(variants, records)`` where the algorithm holds lists. The expectation is over
    the gradient noise; the instance and its start are those of run 0 of ``seed``. A method that diverges gives large numbers
    and in the end inf. Costs O((stages of constant step + records) log steps), whatever the horizon.

    Raises TheorysimError unless the problem is a quadratic with additive noise that declares ``spectrum``, ``eigenbasis`` and
    ``noise_variances``, and the algorithm declares its transition (model.LinearMethod), with 0 <= lr < inf and
    0 <= momentum < 1.
    """
    one_of("kind of the first Spec", problem.kind, ("problem",))
    one_of("kind of the second Spec", algorithm.kind, ("algorithm",))
    asked = _asked(steps)
    place = {step: n for n, step in enumerate(sorted(set(asked)))}
    draws = Draws(select(device), int(non_negative("seed", seed)), np.zeros(variants(algorithm), dtype=np.int64))
    with one_blas_thread(), np.errstate(all="ignore"):
        instance = build_problem(problem, draws)
        _require_spectrum(problem, instance)
        method = build_algorithm(algorithm, instance, draws).linear
        if method is None:
            raise TheorysimError(
                f"{algorithm.name} declares no linear transition, so its expectation is not computed; allowed are methods "
                "w+ = w - lr s(t) g + momentum (w - w_prev) with steps fixed in advance, such as sgd or heavy_ball; "
                "estimate others with theorysim.run(..., runs=...)"
            )
        found = risk(*_in_eigenbasis(instance, draws.backend), method, list(place))
        totals = to_host(namespace(found.bias).sum(found.bias + found.variance, axis=-1))
    rows = np.ascontiguousarray(totals[[place[step] for step in asked]].T)
    return rows if varying(algorithm) else rows[0]


def _asked(steps: int | Sequence[int]) -> list[int]:
    """The steps as a list of Python integers of at least 0."""
    try:
        asked = [operator.index(step) for step in ([steps] if isinstance(steps, int | np.integer) else steps)]
    except TypeError:
        raise TheorysimError(f"steps={steps!r} is not allowed; give an integer or a list of integers of at least 0") from None
    if not asked or min(asked) < 0:
        raise TheorysimError(f"steps={steps!r} is not allowed; give an integer or a list of integers of at least 0")
    return asked


def _require_spectrum(spec: Spec, instance: Problem) -> None:
    missing = [name for name in _NEEDED if name not in instance.capabilities]
    if missing:
        raise TheorysimError(
            f"{spec.name} declares no {' and no '.join(missing)}, so no expectation is computed on it; allowed are quadratics "
            "with additive noise of known variance, such as anisotropic_quadratic (minibatch noise depends on w and is not among "
            "them); estimate others with theorysim.run(..., runs=...)"
        )


def _in_eigenbasis(instance: Problem, backend: Backend) -> tuple[Array, Array, Array]:
    """Eigenvalues ``(dim,)``, the initial error ``(rows, dim)`` and the variances of the noise ``(dim,)``, by eigendirection."""
    eigenvalues, turn, variances = (instance.capabilities[name] for name in _NEEDED)
    return backend.asarray(eigenvalues), turn(instance.start - instance.minimizer), backend.asarray(variances)


# ------------------------------------------------------------------------------------------------ by eigendirection
class Risk(NamedTuple):
    """What each eigendirection contributes to E f(w) - f*: the bias and the variance part, ``(records, ..., dim)``."""

    bias: Array
    variance: Array


class _State(NamedTuple):
    """The means of error and displacement, and the second moments of what the noise adds to them.

    ``turned``: the directions in which ``v`` stands for 2 e - v, and both may have the other sign, see stage.folded.
    """

    e: Array
    v: Array
    noise: Second
    turned: Array


def risk(eigenvalues: Array, error: Array, variances: Array, method: LinearMethod, steps: Sequence[int]) -> Risk:
    """The parts of the expected gap after each of the strictly ascending ``steps``.

    ``eigenvalues``, ``error`` (w_1 - w* in the eigenbasis) and ``variances`` (of one stochastic gradient) broadcast with the
    hyper-parameters of ``method`` to ``(..., dim)``. A direction that overflows contributes inf. Raises TheorysimError for lr
    outside [0, inf) and momentum outside [0, 1).
    """
    xp, wanted = namespace(eigenvalues, error, variances), set(steps)
    zero = xp.zeros_like(eigenvalues + error + variances + method.lr + method.momentum)
    lr, delta = zero + method.lr, _damping(zero + method.momentum)
    if not to_host(xp.all((lr >= 0) & xp.isfinite(lr))):
        raise TheorysimError("lr is not allowed: an exact expectation needs finite step sizes of at least 0")
    kick = zero + (variances if method.stochastic else 0.0)
    state, before = _State(zero + error, zero, Second(zero, zero, zero), zero > 0), None
    records = [_parts(state, eigenvalues, zero + error, kick)] if 0 in wanted else []
    for factor, count, done in _pieces(method.stages(steps[-1]), steps):
        if method.lr_outside and before is not None and factor != before:
            state = _rescaled(state, factor / before)
        state, before = _advanced(state, factor * lr, eigenvalues, delta, kick, count), factor
        if done in wanted:
            records.append(_parts(state, eigenvalues, zero + error, kick))
    return Risk(*[xp.stack(part) for part in zip(*records, strict=True)])


def _damping(momentum: Array) -> Array:
    """delta = 1 - sqrt(momentum) without cancellation: 1 - momentum is exact for a momentum of 1/2 and above."""
    xp = namespace(momentum)
    if not to_host(xp.all((momentum >= 0) & (momentum < 1))):
        raise TheorysimError("momentum is not allowed: an exact expectation needs momenta of at least 0 and below 1")
    return (1 - momentum) / (1 + xp.sqrt(momentum))


def _pieces(stages: Iterable[tuple[float, int]], steps: Sequence[int]) -> Iterator[tuple[float, int, int]]:
    """The stages cut at the recorded steps: factor, length, steps done at the end of the piece."""
    done = 0
    for factor, length in stages:
        end = done + length
        for stop in (*steps[bisect_right(steps, done) : bisect_left(steps, end)], end):
            if stop > done:
                yield factor, stop - done, stop
            done = stop


def _advanced(state: _State, lr: Array, eigenvalues: Array, delta: Array, variances: Array, count: int) -> _State:
    """After ``count`` steps of one size."""
    turned, q = folded(lr * eigenvalues, delta)
    e, v, noise, _ = _turned(state, turned)
    m, left, scale = power(q, delta, count), accumulated(q, delta, count), lr * lr * variances
    noise = plus(through(m, noise), Second(scale * left.ee, scale * left.ev, scale * left.vv))
    return _State(m.a * e + m.b * v, m.c * e + m.d * v, noise, turned)


def _turned(state: _State, wanted: Array) -> _State:
    """The same state in the coordinates of the directions ``wanted``."""
    xp, (e, v, (ee, ev, vv), _), other = namespace(state.e), state, state.turned != wanted
    noise = Second(ee, xp.where(other, 2 * ee - ev, ev), xp.where(other, 4 * (ee - ev) + vv, vv))
    return _State(e, xp.where(other, 2 * e - v, v), noise, wanted)


def _rescaled(state: _State, ratio: float) -> _State:
    """A buffer of raw gradients keeps its value where the step size changes, so the displacement takes the new step size."""
    e, v, (ee, ev, vv), turned = _turned(state, state.turned & ~state.turned)
    return _State(e, ratio * v, Second(ee, ratio * ev, ratio * ratio * vv), turned)


def _parts(state: _State, eigenvalues: Array, error: Array, variances: Array) -> Risk:
    """lam E e^2 / 2. What overflowed may be NaN by now and is inf, but 0 where its source is 0: nothing ever moved there."""
    xp = namespace(state.e)

    def part(second: Array, source: Array) -> Array:
        value = xp.where((source == 0) | (eigenvalues == 0), 0.0, eigenvalues * second / 2)
        return xp.where(xp.isnan(value), xp.inf, value)

    return Risk(part(state.e * state.e, error), part(state.noise.ee, variances))
