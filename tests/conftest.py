"""What all tests share: results go to a folder of this run, figures to no screen."""

from __future__ import annotations

import os
from collections.abc import Iterator

if "PYTEST_XDIST_WORKER" in os.environ:  # tests in several processes: threads of one would take the cores of another
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}

import array_api_strict
import pytest

from theorysim.backend import Backend

os.environ["MPLBACKEND"] = "Agg"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads what an earlier version left in the user's cache, or leaves anything there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THEORYSIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def strict() -> Backend:
    """The array API standard and nothing else, on a device that NumPy cannot read: a GPU's stand-in."""
    return Backend("strict", array_api_strict, array_api_strict.Device("device1"))
