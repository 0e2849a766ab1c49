"""Sweeps over problem and algorithm parameters (being written)."""

from __future__ import annotations

from typing import Any


class Sweep: ...


def sweep(*args: Any, **kwargs: Any) -> Sweep:
    raise NotImplementedError
