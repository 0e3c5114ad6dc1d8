"""The border: tables as people keep them, taken in once and checked."""

from bayes_gmm.data.observations import Observations

__all__ = ["Observations"]
