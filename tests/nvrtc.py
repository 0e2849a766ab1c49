"""NVRTC, the compiler that CuPy uses, without CuPy and without a GPU: CUDA C++ to PTX."""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from theorysim.backend import CUDA_OPTIONS

OPTIONS = (*CUDA_OPTIONS, "-std=c++14")  # and CuPy's own


@cache
def library() -> Any:
    """The library of the wheel nvidia-cuda-nvrtc-cu12, or None."""
    try:
        found = importlib.util.find_spec("nvidia.cuda_nvrtc")
    except ModuleNotFoundError:
        return None
    paths = (
        [path for folder in (found.submodule_search_locations or ()) for path in Path(folder).glob("lib/libnvrtc.so*")]
        if found
        else []
    )
    return ctypes.CDLL(str(paths[0])) if paths else None


def ptx(source: str, architecture: str, *more: str) -> str:
    """PTX of the source for ``compute_80``, ``compute_90`` ...; RuntimeError with the compiler's words where it has errors."""
    nvrtc, program, size = library(), ctypes.c_void_p(), ctypes.c_size_t()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None)
    options = [option.encode() for option in (*OPTIONS, f"--gpu-architecture={architecture}", *more)]
    failed = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    ask, read = (nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog) if failed else (nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)
    ask(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    read(program, text)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    if failed:
        raise RuntimeError(text.value.decode())
    return text.value.decode()
