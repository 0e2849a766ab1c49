"""How often the verdict rule errs, measured with planted laws and told like the check of a paper."""

from theorysim.calibration.paper import CLAIMS, PAPER

__all__ = ["CLAIMS", "PAPER"]
