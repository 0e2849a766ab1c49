"""AdaGrad under Anisotropic Smoothness (Liu, Pan, Zhang; ICLR 2025): the claims, the headline first.

The paper and the notation are in _adagrad_paper.py. Importing a part registers its claims, so the order here is the report's.
"""

# isort: off
from theorysim.paper_checks import _adagrad_dimension  # noqa: F401
from theorysim.paper_checks import _adagrad_convex  # noqa: F401
from theorysim.paper_checks import _adagrad_rates  # noqa: F401
from theorysim.paper_checks import _adagrad_geometry  # noqa: F401
from theorysim.paper_checks import _adagrad_baselines  # noqa: F401
from theorysim.paper_checks import _adagrad_nonconvex  # noqa: F401
from theorysim.paper_checks import _adagrad_iteration  # noqa: F401
from theorysim.paper_checks import _adagrad_data  # noqa: F401
from theorysim.paper_checks._adagrad_paper import PAPER

__all__ = ["PAPER"]
