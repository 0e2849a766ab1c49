"""Where arrays live: the only file that imports CuPy.

Everything else asks an array for its namespace, or is handed a ``Backend``, and never tests which device it is on.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import array_api_compat
import numpy as np
from threadpoolctl import threadpool_limits

from theorysim.model import Array, TheorysimError

T = TypeVar("T")

DEVICES = ("auto", "cpu", "gpu")
CUDA_OPTIONS = ("--fmad=false",)  # a multiply-add where it is written and nowhere else, as on the CPU
_WORTH_A_THREAD = 2**20  # multiplications of a matrix decomposition, some milliseconds


@dataclass(frozen=True)
class Backend:
    """An array namespace of the array API standard and the device in it. ``name`` is ``"cpu"``, ``"gpu"`` or a test's own."""

    name: str
    xp: Any
    device: Any = None

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        """The host array (or number) ``values`` on this device, float64 unless it holds integers or truth values."""
        host = np.asarray(values)
        if dtype is None and host.dtype.kind == "f":
            host = host.astype(np.float64, copy=False)
        array = self.xp.asarray(host, device=self.device)
        return array if dtype is None else self.xp.astype(array, dtype)

    def free_memory(self) -> int:
        """Bytes that can still be allocated on this device (half of the machine's memory where that is not known)."""
        if self.name == "gpu":
            import cupy

            free, _total = cupy.cuda.runtime.memGetInfo()
            return int(free) + int(cupy.get_default_memory_pool().free_bytes())
        try:
            return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (ValueError, OSError, AttributeError):
            return 2**31

    def release_memory(self) -> None:
        """Give back what the library holds without using it."""
        if self.name == "gpu":
            import cupy

            cupy.get_default_memory_pool().free_all_blocks()

    def kernel(self, source: str, name: str) -> Any:
        """The CUDA kernel ``name`` of ``source``, compiled once per process with CUDA_OPTIONS."""
        return _raw_kernel(source, name)

    def describe(self) -> str:
        """One line for reports: the device and the library that drives it."""
        if self.name == "gpu":
            import cupy

            properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
            return f"{properties['name'].decode()}, CuPy {cupy.__version__}, float64"
        return f"{self.name}, NumPy {np.__version__}, float64"


@functools.cache
def _raw_kernel(source: str, name: str) -> Any:
    import cupy

    return cupy.RawKernel(source, name, options=CUDA_OPTIONS)


CPU = Backend("cpu", array_api_compat.array_namespace(np.empty(0)))


def select(device: str | Backend = "auto") -> Backend:
    """The backend for a word of the command line; ``auto`` takes a usable GPU and else the CPU.

    Raises TheorysimError for an unknown word and for ``gpu`` without a usable one.
    """
    if isinstance(device, Backend):
        return device
    if device not in DEVICES:
        raise TheorysimError(f"no device named {device!r}; allowed: {', '.join(DEVICES)}")
    if device == "cpu":
        return CPU
    problem = gpu_problem()
    if problem is None:
        import cupy

        return Backend("gpu", array_api_compat.array_namespace(cupy.empty(0)))
    if device == "auto":
        return CPU
    raise TheorysimError(f"--device gpu: {problem}; or use --device cpu")


def gpu_problem() -> str | None:
    """Why no GPU can be used here, with what to install; None where one can."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed; install theorysim[gpu-cuda12] or theorysim[gpu-cuda13], whichever your driver supports"
    try:
        import cupy

        if cupy.cuda.runtime.getDeviceCount() > 0:
            cupy.zeros(1).sum().item()
            return None
    except Exception as error:  # a broken driver raises many different types
        return f"CuPy finds no usable CUDA device ({type(error).__name__}: {error}); check the driver with nvidia-smi"
    return "CuPy finds no CUDA device; check the driver with nvidia-smi"


def one_blas_thread() -> AbstractContextManager[Any]:
    """A context in which linear algebra on the CPU uses one thread.

    The products of a run are small: threads that wait for each other cost more than they bring, a hundredfold on a busy
    machine, and the order of summation would depend on their number.
    """
    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits


_namespaces: dict[tuple[type, ...], Any] = {}


def namespace(*arrays: Array) -> Any:
    """The array API namespace of the arrays. It is one of their types; finding it out takes longer than to start a kernel."""
    kinds = tuple(map(type, arrays))
    found = _namespaces.get(kinds)
    if found is None:
        found = _namespaces[kinds] = array_api_compat.array_namespace(*arrays)
    return found


def to_host(array: Array) -> np.ndarray[Any, Any]:
    """The array as a NumPy array, copied once if it lives elsewhere."""
    if isinstance(array, np.ndarray | np.generic | float | int | bool):
        return np.asarray(array)
    if array_api_compat.is_cupy_array(array):
        return np.asarray(array.get())
    return np.asarray(array.to_device(namespace(array).__array_namespace_info__().default_device()))


def over_stack(function: Callable[..., tuple[Array, ...]], *stacks: Array) -> tuple[Array, ...]:
    """``function`` of stacks of matrices ``(rows, m, n)``, in parallel on the CPU where that pays.

    Each matrix is treated alike whatever stack it stands in, so the parts of a stack can be given to several threads.
    """
    work = sum(stack.shape[0] * stack.shape[1] * stack.shape[2] * min(stack.shape[1:]) for stack in stacks)
    parts = min(cores(), len(stacks[0])) if isinstance(stacks[0], np.ndarray) and work >= _WORTH_A_THREAD else 1
    if parts == 1:
        return function(*stacks)
    found = in_threads(function, *(np.array_split(stack, parts) for stack in stacks))
    return tuple(np.concatenate(columns) for columns in zip(*found, strict=True))


def in_threads(function: Callable[..., T], *arguments: Sequence[Any]) -> list[T]:
    """``function`` at each of its arguments, in order, on all cores: for work inside NumPy, which lets other threads run."""
    with ThreadPoolExecutor(cores()) as threads:
        return list(threads.map(function, *arguments))


def in_kernel_threads(function: Callable[..., T], *arguments: Sequence[Any]) -> list[T]:
    """As ``in_threads``, on threads that are kept: for work that is done in a millisecond and starts no other."""
    return list(_kernel_threads(os.getpid()).map(function, *arguments))


@functools.cache
def _kernel_threads(process: int) -> ThreadPoolExecutor:
    """The threads of this process: those of the process it was forked from are not there any more."""
    return ThreadPoolExecutor(cores(), "theorysim-kernel")


def triangle(stack: Array) -> Array:
    """R (rows, n, n) of the QR decomposition of tall matrices ``(rows, m, n)``; Q is not formed where that can be left out."""
    return np.linalg.qr(stack, mode="r") if isinstance(stack, np.ndarray) else namespace(stack).linalg.qr(stack)[1]


def cores() -> int:
    """Processors that this process may use; at most ``NUMBA_NUM_THREADS``, where that is set: processes side by side share
    them."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("NUMBA_NUM_THREADS", "")
    return min(own, max(1, int(limit))) if limit.isdigit() else own
