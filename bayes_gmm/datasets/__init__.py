"""Small real data sets: `names`, `describe` and `load` them."""

from bayes_gmm.datasets.catalog import Description, describe, load, names

__all__ = ["Description", "describe", "load", "names"]
