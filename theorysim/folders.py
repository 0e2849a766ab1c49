"""Where theorysim keeps things on disk."""

from __future__ import annotations

import os
from pathlib import Path

KERNELS = "kernels"  # the folder in the cache folder where compiled kernels lie


def cache_folder() -> Path:
    """``$THEORYSIM_CACHE``, or this user's cache folder."""
    import platformdirs

    return Path(os.environ.get("THEORYSIM_CACHE") or platformdirs.user_cache_dir("theorysim"))
