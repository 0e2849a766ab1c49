"""What Numba has to be told beyond the text of a function: vector units, a multiply-add, and a disk that is full."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic

_FUNCTIONS_AT_MOST = 100  # that one kernel is made of


@intrinsic
def _wide_vectors(context: Any) -> Any:
    """Let the function that calls this use the widest vector units: LLVM by itself takes half of them on many processors."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')  # llvmlite knows no attributes of one target
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic
def _fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, float64, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


wide_vectors: Any = _wide_vectors  # as they are called: with the arguments of the compiled function
fma: Any = _fma


def call(kernel: Callable[..., None], *arguments: Any) -> None:
    """Call a compiled function. That it cannot be kept on a full disk is no reason not to use it.

    Numba keeps each function when it is compiled, before anything runs, and then has it: so one call more for each function.
    """
    for _ in range(_FUNCTIONS_AT_MOST):
        try:
            return kernel(*arguments)
        except OSError:
            continue
    return kernel(*arguments)
