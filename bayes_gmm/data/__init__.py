"""Input data: tables of many kinds, converted and checked once."""

from bayes_gmm.data.observations import Observations

__all__ = ["Observations"]
