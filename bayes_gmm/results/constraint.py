"""In what a point estimate is of another model than the draws of a posterior."""

from typing import Any

from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.results.draws import feature_names, is_point, structure_of


def constraint(result: Any, structure: Structure = UNCONSTRAINED) -> str:
    """Say in what an estimate is of another model than the draws.

    Parameters
    ----------
    result : object
    structure : Structure
        That of the draws.

    Returns
    -------
    str
        Nothing if it is of the same model as the draws, or if that is not known.
    """
    if not is_point(result):
        return ""
    own, n_features = structure_of(result), len(feature_names(result))
    other = []
    if own != structure:
        codes = own.label(n_features), structure.label(n_features)
        other.append("covariances of the structure {}, where the draws have {}".format(*codes))
    if result.attrs.get("equal_weights", 0):
        other.append("equal weights, where those of the draws vary")
    return ", and ".join(other)
