"""What a point estimate holds fixed that the draws of a posterior leave free."""

from typing import Any

from bayes_gmm.results.draws import is_point

UNCONSTRAINED = ("VVV", "V")  # what the structure of the draws is called; V for one feature


def constraint(result: Any) -> str:
    """Say what an estimate holds fixed.

    Parameters
    ----------
    result : object

    Returns
    -------
    str
        Nothing if it is as free as the draws, or if that is not known.
    """
    if not is_point(result):
        return ""
    code = str(result.attrs.get("covariance", "VVV"))
    held = [] if code in UNCONSTRAINED else [f"covariances held to the structure {code}"]
    held += ["equal weights"] * bool(result.attrs.get("equal_weights", 0))
    return " and ".join(held)
