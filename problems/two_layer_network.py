"""A small network with one hidden layer on images of digits: every neuron is one row of a matrix. Not convex."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from theorysim.backend import namespace, to_host
from theorysim.matrix_functions import transposed
from theorysim.model import Array, Draw, Problem
from theorysim.noise import Draws, Stream
from theorysim.problems._digits import CLASSES, Images, images
from theorysim.problems._logistic import chance_of_error
from theorysim.problems._matrix_start import start_matrix
from theorysim.problems._softmax import chances
from theorysim.problems._softmax import loss as softmax_loss
from theorysim.registry import register_problem
from theorysim.validation import non_negative, one_of, positive, positive_integer

_ENTRIES = Draw(2)


@register_problem
def two_layer_network(
    draws: Draws,
    hidden: int = 16,
    activation: str = "tanh",
    loss: str = "softmax",
    samples: int | None = 200,
    pool: int = 1,
    ridge: float = 0.0,
    batch: int | None = None,
    start: str | Sequence[Sequence[float]] = "gaussian",
    scale: float = 1.0,
) -> Problem:
    """Digits by one hidden layer: row i of W holds what neuron i hears, its bias and what it says, m x (pixels + 1 + 10).

    With W = [U, b, V] the scores of an image a are z = V' s(U a + b), s the smooth ``activation``: ``"tanh"`` or ``"softplus"``.
    f(W) is the mean over samples of log sum_k e^z_k - z_y (``"softmax"``) or of |z - y|^2 / 2 (``"squared"``), plus
    ridge/2 ‖W‖_F^2. Its least value is not known: the gap is f itself, which is not negative, and there is no minimiser.
    ``hidden``: m, the number of neurons. ``samples``, ``pool``: see _digits.images. ``batch``: size M of a minibatch drawn with
    replacement; None: exact gradients. ``start``: rows of numbers, or ``"gaussian"``: U and b N(0, 1)/sqrt(pixels), V
    N(0, 1)/sqrt(hidden), times ``scale``, drawn from each row's own run.

    The Hessian's block of one neuron is that of one row of W, so a method with sides sees the neurons with side="right".
    Constants: M, samples, m, n, and per row Delta_0 = f(W_1). Vector: sigma = 0 for exact gradients.
    """
    ridge, batch = non_negative("ridge", ridge), None if batch is None else positive_integer("batch", batch)
    shapes = {"tanh": _tanh, "softplus": _softplus}
    shape = shapes[one_of("activation", activation, shapes)]
    answers = _ANSWERS[one_of("loss", loss, _ANSWERS)]
    data = _with_bias(images(samples, pool)).placed(draws)
    count, inputs = data.features.shape
    w1 = _start(start, positive_integer("hidden", hidden), inputs, draws, positive("scale", scale))
    xp = draws.backend.xp

    def gap(w: Array) -> Array:
        s, _ = shape(data.features @ transposed(w[:, :, :inputs]))
        value, _ = answers(s @ w[:, :, inputs:], data.classes)
        return xp.mean(value, axis=1) + 0.5 * ridge * xp.sum(w * w, axis=(1, 2))

    def slope(w: Array, seen: Images) -> Array:
        """By the chain rule, from the scores back; the mean over the samples that are ``seen``."""
        outgoing = w[:, :, inputs:]
        s, rise = shape(seen.features @ transposed(w[:, :, :inputs]))
        _, wrong = answers(s @ outgoing, seen.classes)
        heard = transposed(wrong @ transposed(outgoing) * rise) @ seen.features
        return xp.concat([heard, transposed(s) @ wrong], axis=2) / seen.features.shape[-2] + ridge * w

    def sample(w: Array, draw: Draw) -> Array:
        return slope(w, data.drawn(batch, draws, draw) if batch else data)

    size = tuple(w1.shape[1:])
    return Problem(
        shape=size,
        start=w1,
        minimizer=None,
        constants={"M": batch or count, "samples": count, "m": size[0], "n": size[1], "Delta_0": to_host(gap(w1))},
        gap=gap,
        gradient=lambda w: slope(w, data),
        sample=sample,
        vectors={} if batch else {"sigma": xp.zeros(size, dtype=w1.dtype, device=draws.backend.device)},
        row_elements=count * max(size[0], CLASSES),
    )


def _with_bias(data: Images) -> Images:
    return Images(np.hstack([data.features, np.ones((len(data.features), 1))]), data.classes)


def _start(law: str | Sequence[Sequence[float]], hidden: int, inputs: int, draws: Draws, scale: float) -> Array:
    """``(rows, hidden, inputs + 10)``; ``inputs``: the pixels and the bias."""
    shape = (hidden, inputs + CLASSES)
    if not isinstance(law, str):
        return scale * start_matrix(law, shape, draws)
    one_of("start", law, ("gaussian",))
    deviations = np.concatenate([np.full(inputs, (inputs - 1) ** -0.5), np.full(CLASSES, hidden**-0.5)])
    return scale * draws.backend.asarray(deviations) * draws.normal(Stream.START, _ENTRIES, shape)


# ------------------------------------------------------------------------------------------------ activations and losses
def _tanh(x: Array) -> tuple[Array, Array]:
    """Values and slopes."""
    value = namespace(x).tanh(x)
    return value, 1 - value * value


def _softplus(x: Array) -> tuple[Array, Array]:
    """log(1 + e^x) and its slope."""
    xp = namespace(x)
    return xp.log1p(xp.exp(-xp.abs(x))) + xp.where(x > 0, x, 0.0), chance_of_error(-x)


def _softmax(scores: Array, classes: Array) -> tuple[Array, Array]:
    """The loss of every sample, and its slope in the scores."""
    return softmax_loss(scores, classes), chances(scores) - classes


def _squared(scores: Array, classes: Array) -> tuple[Array, Array]:
    error = scores - classes
    return 0.5 * namespace(error).sum(error * error, axis=-1), error


_ANSWERS = {"softmax": _softmax, "squared": _squared}
