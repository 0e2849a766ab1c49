"""Faults of momentum methods: where the gradient is taken, what the step size multiplies, wrong constants of acceleration."""

from __future__ import annotations

import dataclasses
from typing import Any

from theorysim.model import Algorithm
from theorysim.mutation.algorithms import Answering, argument, scaled
from theorysim.mutation.divisors import Arguments, Build
from theorysim.mutation.fault import ALGORITHM, Fault


def _behind(build: Build, arguments: Arguments) -> Algorithm | None:
    """The gradient is taken at the iterate, for a method that looks ahead of it."""
    sound = build(**arguments)
    if sound.linear is None or (isinstance(sound.linear.look_ahead, float) and sound.linear.look_ahead == 0):
        return None
    method = sound.linear
    kick = method.momentum * method.lr if method.kick is None else method.kick

    def step(state: Any, oracle: Any) -> Any:
        at = state.x
        return sound.step(state, Answering(oracle, gradient=lambda x: oracle.gradient(at), sample=lambda x: oracle.sample(at)))

    return dataclasses.replace(sound, step=step, linear=dataclasses.replace(method, look_ahead=0.0, kick=kick))


def _stage_early(build: Build, arguments: Arguments) -> Algorithm | None:
    """A step decay that is one stage ahead: it divides in its first stage already."""
    word, _, given = str(arguments["schedule"]).partition(":")
    return build(**{**arguments, "lr": arguments["lr"] / float(given.split(",")[0])}) if word == "step_decay" else None


def _other_form(form: str) -> str:
    return "polyak" if form == "library" else "library"


def _fault(name: str, about: str, change: Any, *needs: str) -> Fault:
    return Fault(name, about, ALGORITHM, change, needs)


MOMENTUM_FAULTS = (
    _fault("gradient_behind", "gradients at the iterate in place of the point ahead of it", _behind, "lr"),
    _fault("stage_early", "a step decay that is one stage ahead", _stage_early, "schedule"),
    _fault(
        "form_swapped",
        "the step size inside the momentum in place of outside, or the reverse",
        argument("form", _other_form),
        "form",
    ),
    _fault("kappa_tilde_dropped", "no compensation: kappa~ = 1", argument("kappa_tilde", lambda kappa: 1.0), "kappa_tilde"),
    _fault("compensation_sign", "eta2 with the wrong sign", argument("kappa_tilde", lambda k: k / (2 * k - 1)), "kappa_tilde"),
    _fault("kappa_tilde_halved", "kappa~ half as large", argument("kappa_tilde", lambda kappa: 0.5 * kappa), "kappa_tilde"),
    _fault("alpha_doubled", "alpha twice as large", argument("alpha", scaled(2.0)), "alpha"),
    _fault("alpha_halved", "alpha half as large", argument("alpha", scaled(0.5)), "alpha"),
    _fault("delta_doubled", "delta twice as large", argument("delta", lambda delta: 2.0 * delta), "delta"),
    _fault("delta_halved", "delta half as large", argument("delta", lambda delta: 0.5 * delta), "delta"),
    _fault("kappa_a_quadrupled", "a condition number four times as large", argument("kappa_a", lambda k: 4.0 * k), "kappa_a"),
)
