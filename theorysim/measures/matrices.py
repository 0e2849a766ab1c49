"""Measures of matrix-shaped gradients, added up from the gradients themselves and never read off an optimizer's state."""

from __future__ import annotations

from collections.abc import Callable

import array_api_compat

from theorysim.backend import namespace, triangle
from theorysim.matrix_functions import singular_values, transposed
from theorysim.measures.measure import Measure, View, answer, register_measure, zero
from theorysim.model import Array, TheorysimError
from theorysim.norms import norm
from theorysim.validation import finite, non_negative, one_of, positive

# How a preconditioner of each structure sees a gradient (rows, m, n): as a matrix whose products it sums.
_SEEN: dict[str, Callable[[Array], Array]] = {
    "left": lambda g: g,
    "right": transposed,
    "full": lambda g: namespace(g).reshape(g, (g.shape[0], -1, 1)),
}
_SUMMED: dict[str, Callable[[Array], Array]] = {
    "scalar": lambda g: norm(g, "2")[:, None] ** 2,
    "entries": lambda g: namespace(g).reshape(g * g, (g.shape[0], -1)),
    "rows": lambda g: namespace(g).sum(g * g, axis=2),
    "columns": lambda g: namespace(g).sum(g * g, axis=1),
}


@register_measure
def adaptive_norm(structure: str = "left") -> Measure:
    """S_t, the trace of the square root of what a preconditioner of that structure sums over g_1..g_t.

    ``left``: tr (sum G G')^{1/2}. ``right``: tr (sum G' G)^{1/2}. ``full``: tr (sum vec(G) vec(G)')^{1/2}. ``entries``: sum_ij
    sqrt(sum G_ij^2). ``rows``, ``columns``: the sum of sqrt(sum ‖G_i‖^2) over rows or columns. ``scalar``: sqrt(sum ‖G‖_F^2).
    ``left,eps`` starts from V_0 = eps^2 I: ``adaptive_norm:left,0.1``.
    """
    name, _, value = structure.partition(",")
    one_of("structure", name, (*_SEEN, *_SUMMED))
    if name in _SEEN:
        return _accumulating((_SEEN[name],), _number("adaptive_norm", value or "0"), lambda s: namespace(s).sum(s, axis=1))
    seen = _SUMMED[name]
    return Measure(
        lambda view, memory: namespace(memory).sum(namespace(memory).sqrt(memory), axis=1),
        lambda view: 0.0 * seen(view.point),
        lambda memory, view: memory + seen(answer(view)),
    )


@register_measure
def log_determinant(q: str = "1") -> Measure:
    """ln det(V_t / q^2) for V_t = q^2 I + sum of G G' up to t."""
    size = positive("q of log_determinant", _number("log_determinant", q))
    return _accumulating((_SEEN["left"],), size, lambda s: 2 * namespace(s).sum(namespace(s).log(s / size), axis=1))


@register_measure
def fourth_roots(eps: str = "0") -> Measure:
    """tr L_t^{1/4} tr R_t^{1/4} with L_t = eps I + sum G G' and R_t = eps I + sum G' G, as in Shampoo's regret bound."""
    size = non_negative("eps of fourth_roots", _number("fourth_roots", eps)) ** 0.5
    return _accumulating((_SEEN["left"], _SEEN["right"]), size, lambda s, r: _half_powers(s) * _half_powers(r))


def _number(measure: str, text: str) -> float:
    """The number in a measure's argument; TheorysimError for other text."""
    try:
        return finite(f"the number of {measure}", float(text))
    except ValueError:
        raise TheorysimError(f"{measure} takes a number, not {text!r}; write for example {measure}:0.1") from None


def _half_powers(s: Array) -> Array:
    return namespace(s).sum(namespace(s).sqrt(s), axis=1)


def _accumulating(sides: tuple[Callable[[Array], Array], ...], value: float, trace: Callable[..., Array]) -> Measure:
    """``trace`` of the singular values of [value I, G_1, ..., G_t] as each of ``sides`` sees the gradients: those of V_t^{1/2}.

    Kept are triangles C with C C' = V_t.
    """

    def start(view: View) -> list[Array]:
        return [_multiple_of_identity(seen(view.point), value) for seen in sides]

    def update(roots: list[Array], view: View) -> list[Array]:
        xp = namespace(view.point)
        return [
            transposed(triangle(transposed(xp.concat([root, seen(answer(view))], axis=2))))
            for root, seen in zip(roots, sides, strict=True)
        ]

    return Measure(lambda view, roots: trace(*map(singular_values, roots)), start, update)


def _multiple_of_identity(g: Array, value: float) -> Array:
    """value I on the left of ``g`` (rows, m, n): ``(rows, m, m)``."""
    xp, (rows, size, _) = namespace(g), g.shape
    eye = xp.eye(size, dtype=g.dtype, device=array_api_compat.device(g))
    return xp.broadcast_to(value * eye, (rows, size, size))


@register_measure
def stable_rank() -> Measure:
    """‖g_t‖_F^2 / ‖g_t‖_op^2 of the newest gradient: 1 for rank one, at most its rank (0 at t = 0 and for g_t = 0)."""
    return _rank_of_newest(lambda s: namespace(s).sum(s * s, axis=1), 2)


@register_measure
def nuclear_rank() -> Measure:
    """‖g_t‖_* / ‖g_t‖_op of the newest gradient: 1 for rank one, at most its rank (0 at t = 0 and for g_t = 0)."""
    return _rank_of_newest(lambda s: namespace(s).sum(s, axis=1), 1)


def _rank_of_newest(size: Callable[[Array], Array], power: int) -> Measure:
    def value(view: View, _: None) -> Array:
        if view.answer is None:
            return zero(view)
        xp, s = namespace(view.answer), singular_values(view.answer)
        return xp.where(s[:, 0] > 0, size(s) / xp.where(s[:, 0] > 0, s[:, 0], 1.0) ** power, 0.0 * s[:, 0])

    return Measure(value)
