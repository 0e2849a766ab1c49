"""Numbers in words: how a leaf is described, how far it is from its limits, which leaf of a claim is the tightest."""

from __future__ import annotations

import math
from typing import Any

from theorysim.findings import Verdict
from theorysim.report.data import Data, leaves, number

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
ROUNDING = 1e-6  # a limit of 1.000000001 is the prediction 1 with room for rounding


def short(value: Any, digits: int = 4) -> str:
    """A value in a few characters: numbers to ``digits`` significant digits, everything else as text."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    if isinstance(value, list):
        shown = [short(item, digits) for item in value]
        return f"[{', '.join(shown if len(shown) <= 8 else [*shown[:4], '...', *shown[-2:]])}]"
    return str(value)


def typeset(value: Any, digits: int = 4) -> str:
    """Like ``short``, with 5.2×10⁻¹⁴ for 5.2e-14, a true minus sign and ∞."""
    text = short(value, digits)
    if value in ("inf", "-inf"):
        return text.replace("inf", "∞").replace("-", "−")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return text
    mantissa, _, exponent = text.partition("e")
    power = f"10{str(int(exponent)).translate(_SUPERSCRIPT)}" if exponent else ""
    mantissa = mantissa.replace("-", "−")
    return {"1": power, "−1": f"−{power}"}.get(mantissa, f"{mantissa}×{power}") if power else mantissa


def edges(leaf: Data) -> tuple[float, float] | None:
    """The limits that can be crossed, or None.

    A lower limit of 0 bounds nothing where the prediction is not well inside: a ratio or an error is never negative, and
    its distance to 0 says nothing about how tight the claim is.
    """
    if leaf["limits"] is None:
        return None
    low, high = (number(value) for value in leaf["limits"])
    natural = low == 0.0 and math.isfinite(high) and not 0.0 < number(leaf["predicted"]) < (1 - ROUNDING) * high
    return (-math.inf if natural and number(leaf["measured"]) >= 0 else low), high


def distance(leaf: Data) -> float | None:
    """From the measured value to the nearest limit, negative outside; None where one of them is missing."""
    limits, measured = edges(leaf), number(leaf["measured"])
    if limits is None or math.isnan(measured):
        return None
    found = min(measured - limits[0], limits[1] - measured)
    return None if math.isnan(found) else found


def allowed(leaf: Data, show: Any = short) -> str:
    """The limits in words: "at most 1", "0.9 to 1.1"."""
    limits = edges(leaf)
    if limits is None or limits == (-math.inf, math.inf):
        return ""
    low, high = limits
    if low == -math.inf:
        return f"at most {show(high)}"
    if high == math.inf:
        return f"at least {show(low)}"
    return f"exactly {show(low)}" if low == high else f"{show(low)} to {show(high)}"


def is_limit(leaf: Data) -> bool:
    """Whether the prediction is the one limit, as for an upper bound; it is then not to be named twice."""
    limits = edges(leaf)
    return limits is not None and limits[0] == -math.inf and math.isclose(limits[1], number(leaf["predicted"]), rel_tol=ROUNDING)


def describe(leaf: Data) -> str:
    """The numbers of a leaf in one line, for a terminal: ``1.02 (predicted 1, 0.9 to 1.1)``."""
    if leaf["measured"] is None:
        return ""
    notes = [] if leaf["predicted"] is None or is_limit(leaf) else [f"predicted {short(leaf['predicted'])}"]
    limits = allowed(leaf)
    notes += [limits] if limits else []
    return short(leaf["measured"]) + (f" ({', '.join(notes)})" if notes else "")


def tightest_first(finding: Data) -> list[tuple[str, Data]]:
    """The leaves, the decisive ones first: violated, undecided, those with a prediction before side conditions, then by
    distance to the edge in units of what is allowed."""
    order = [str(verdict) for verdict in (Verdict.VIOLATED, Verdict.UNDECIDED, Verdict.CONSISTENT)]
    return sorted(
        leaves(finding), key=lambda item: (order.index(item[1]["verdict"]), item[1]["predicted"] is None, _relative(item[1]))
    )


def headline(finding: Data) -> tuple[str, Data] | None:
    """The leaf that says most about the claim, with its label: the first of ``tightest_first`` that has a number."""
    ranked = tightest_first(finding)
    return next((item for item in ranked if item[1]["measured"] is not None), None)


def _relative(leaf: Data) -> float:
    found, limits = distance(leaf), edges(leaf)
    if found is None or limits is None:
        return math.inf
    low, high = limits
    finite = [abs(edge) for edge in limits if math.isfinite(edge)]
    scale = (high - low) / 2 if len(finite) == 2 else max(finite, default=1.0)
    return found / (scale or 1.0)
