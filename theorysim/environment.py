"""What a reader needs to repeat a check."""

from __future__ import annotations

import datetime
import platform
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from theorysim.backend import Backend


def environment(backend: Backend, workers: Mapping[str, str], seeds: int | None, budget: int) -> dict[str, str]:
    """Versions, device, command line, time; of ``workers`` elsewhere what their executor says about them."""
    import theorysim

    return {
        "theorysim": theorysim.__version__,
        "device": backend.describe(),
        **workers,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "seeds": f"as the claims say, doubled up to {budget} where noise leaves a claim open" if seeds is None else str(seeds),
        "command": shlex.join(["theorysim", *sys.argv[1:]])
        if Path(sys.argv[0]).name in ("theorysim", "__main__.py")
        else "Python session",
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
