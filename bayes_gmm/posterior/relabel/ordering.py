"""Relabelling by sorting: components in ascending order of a number that each of them has.

It is easily explained, and right where the number tells the components apart in every draw. Where
it doesn't, draws of different components get the same name; Celeux, Hurn & Robert (2000) show how.
"""

import re
from collections.abc import Callable

import numpy as np

from bayes_gmm.data.wording import listing
from bayes_gmm.errors import InputError
from bayes_gmm.posterior.draws import Draws

Key = Callable[[Draws], np.ndarray]
WRITTEN = re.compile(r"(weights|means|covariances)(?:\[(.+)\])?")


def ordering(draws: Draws, key: Key) -> np.ndarray:
    """Sort the components of each draw.

    Shapes: -> (chain, draw, K).
    """
    values = np.asarray(key(draws))
    if values.shape != draws.weights.shape:
        raise InputError(
            f"by returns an array of shape {values.shape}; give one number per chain, draw and "
            f"component, {draws.weights.shape}"
        )
    if values.dtype.kind not in "biuf" or np.isnan(values).any():
        raise InputError("by returns values that are not numbers: components can't be sorted so")
    return np.argsort(values, axis=2, kind="stable")


def read_key(by: object, features: tuple[str, ...]) -> Key:
    """Turn the user's word for a number into a function of draws.

    Such as "weights", "means[waiting]" or "covariances[waiting, eruptions]"; or the function
    itself.
    """
    if callable(by):
        return by
    found = WRITTEN.fullmatch(by) if isinstance(by, str) else None
    example = f"'weights', 'means[{features[0]}]', or a function of the draws"
    if found is None:
        raise InputError(f"by is {by!r}; for method='ordering' give {example}")
    variable, inside = found.groups()
    places = _places(inside, features)
    needed = {"weights": (0,), "means": (1,), "covariances": (1, 2)}[variable]
    if len(places) not in needed:
        raise InputError(
            f"by is {by!r}, which is not one number per component: give, for example, {example}"
        )
    if variable == "covariances":
        return lambda draws: draws.covariances[..., places[0], places[-1]]
    if variable == "means":
        return lambda draws: draws.means[..., places[0]]
    return lambda draws: draws.weights


def _places(inside: str | None, features: tuple[str, ...]) -> list[int]:
    """Columns named between brackets; a name may itself hold a comma."""
    if inside is None:
        return []
    if inside in features:
        return [features.index(inside)]
    for comma in (place for place, letter in enumerate(inside) if letter == ","):
        pair = inside[:comma].strip(), inside[comma + 1 :].strip()
        if all(name in features for name in pair):
            return [features.index(name) for name in pair]
    raise InputError(f"by names {inside!r}, no feature of this result: it has {listing(features)}")
