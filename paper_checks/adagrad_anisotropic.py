"""AdaGrad under Anisotropic Smoothness (Liu, Pan, Zhang; ICLR 2025): all claims, in the order of the argument.

The paper and the notation are in _adagrad_paper.py. Importing a part registers its claims.
"""

from theorysim.paper_checks import (  # noqa: F401
    _adagrad_baselines,
    _adagrad_convex,
    _adagrad_data,
    _adagrad_dimension,
    _adagrad_geometry,
    _adagrad_iteration,
    _adagrad_nonconvex,
    _adagrad_rates,
)  # isort: skip
from theorysim.paper_checks._adagrad_paper import PAPER

__all__ = ["PAPER"]
