"""Checks of the arguments of the public functions: numbers, data and priors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from bayes_gmm.errors import InputError, require_whole

if TYPE_CHECKING:
    from bayes_gmm.data import Observations
    from bayes_gmm.model.hierarchical_prior import HierarchicalPrior
    from bayes_gmm.model.number_of_components import NumberOfComponents
    from bayes_gmm.model.prior_family import PriorFamily
    from bayes_gmm.model.priors import ConjugatePrior
    from bayes_gmm.model.semiconjugate_prior import SemiconjugatePrior
    from bayes_gmm.model.structures import Structure

    AnyPrior = ConjugatePrior | PriorFamily | Callable[[], Any]


WEIGHTS = "row_weights"
MISSING = ("refuse", "mar")
NOT_TAKEN = ""
TYPICAL_NUMBER = 5  # of components, to which the default conjugate prior is scaled if it is unknown


def require_tolerance(tol: Any) -> None:
    """Check that a tolerance is a positive number."""
    number = isinstance(tol, int | float) and not isinstance(tol, bool)
    if not (number and 0 < tol < np.inf):
        raise InputError(f"tol must be a positive number of nats; got {tol!r}")


def as_observations(
    X: Any, prior: Any = None, row_weights: Any = None, missing: Any = NOT_TAKEN
) -> Observations:
    """Check X; under a proper conjugate prior, one row or a constant column is allowed.

    `prior`, `row_weights` and `missing` are as the user gave them; functions without an argument
    `missing` omit it.
    """
    from bayes_gmm.data import Observations
    from bayes_gmm.data.row_weights import enough
    from bayes_gmm.model.priors import ConjugatePrior

    spread = prior.spread if isinstance(prior, ConjugatePrior) else None
    if missing not in (NOT_TAKEN, *MISSING):
        raise InputError(f"missing is {missing!r}; choose one of {', '.join(map(repr, MISSING))}")
    offered = None if missing == NOT_TAKEN else missing
    observations = Observations.of(X, spread=spread, missing=offered)
    if row_weights is None:
        return observations
    weighted = observations.weighted(row_weights, what=WEIGHTS, spread=spread)
    if prior is not None and spread is None:  # the default prior is made of the rows
        assert weighted.weights is not None
        enough(weighted.weights, WEIGHTS)
    return weighted


def in_memory(observations: Observations, because: str) -> Observations:
    """Check that the rows are in memory; `because` is the clause that says who needs them there."""
    from bayes_gmm.data.streams import Stream

    if isinstance(observations.values, Stream):
        raise InputError(
            f"X is read block by block, and {because}: pass X as an array, or pass a random subset "
            "of its rows"
        )
    return observations


def as_prior(
    prior: ConjugatePrior | str | None, observations: Observations, n_components: int
) -> ConjugatePrior | None:
    """Turn the argument `prior` into a `ConjugatePrior` that fits the data, or None."""
    from bayes_gmm.model.priors import ConjugatePrior

    if prior is None:
        return None
    if isinstance(prior, str) and prior == "default":
        return ConjugatePrior.default(observations, n_components)
    if not isinstance(prior, ConjugatePrior):
        described = repr(prior) if isinstance(prior, str | int | float) else type(prior).__name__
        raise InputError(
            'prior must be None, "default" or a bayes_gmm.ConjugatePrior, because EM supports no '
            f"other; got {described}"
        )
    require_sizes(prior, observations, n_components)
    return prior


def prior_of_posterior(
    prior: AnyPrior | str, observations: Observations, n_components: int
) -> AnyPrior:
    """Turn the argument `prior` of a posterior into a proper prior that fits the data."""
    from bayes_gmm.model.prior_family import PriorFamily

    if isinstance(prior, PriorFamily):
        require_sizes(prior, observations, n_components)
        return prior
    if callable(prior):
        return prior
    chosen = as_prior(prior, observations, n_components)
    if chosen is None:
        raise InputError(
            'prior is None, but a posterior needs a prior: pass "default" or a ConjugatePrior'
        )
    chosen.require_proper()
    return chosen


def number_of(n_components: Any) -> NumberOfComponents | None:
    """Turn the argument `n_components` into a prior of their number, or None if it is known."""
    from bayes_gmm.model.number_of_components import NumberOfComponents

    if n_components is None:
        return NumberOfComponents()
    if isinstance(n_components, NumberOfComponents):
        return n_components
    require_whole("n_components", n_components, 1)
    return None


def prior_of_unknown(
    prior: AnyPrior | str, observations: Observations, structure: Structure, engine: str
) -> ConjugatePrior | HierarchicalPrior | SemiconjugatePrior:
    """Turn the argument `prior` into one of a component, from which components can be drawn."""
    from bayes_gmm.data.streams import Stream
    from bayes_gmm.inference.engines import DRAWN
    from bayes_gmm.model.hierarchical_prior import HierarchicalPrior
    from bayes_gmm.model.priors import ConjugatePrior

    if engine not in ("auto", "gibbs"):
        raise InputError(
            f'engine is {engine!r}, but an unknown number of components needs engine="gibbs"'
        )
    if isinstance(prior, str) and prior == "default":
        unconstrained = structure.is_unconstrained(observations.n_features)
        if unconstrained and not isinstance(observations.values, Stream):
            return HierarchicalPrior.default(observations, 1)
        return ConjugatePrior.default(observations, TYPICAL_NUMBER)
    if not isinstance(prior, DRAWN):
        described = repr(prior) if isinstance(prior, str) else type(prior).__name__
        raise InputError(
            "an unknown number of components needs a ConjugatePrior, SemiconjugatePrior or "
            f"HierarchicalPrior, from which components can be drawn; got {described}"
        )
    if not prior.is_exchangeable:
        raise InputError(
            "prior differs between components, but an unknown number of components needs a prior "
            "that is the same for all"
        )
    require_sizes(prior, observations, prior.n_components)
    if isinstance(prior, ConjugatePrior):
        prior.require_proper()
    return prior


def structure_of_posterior(
    covariance: str, n_features: int, engine: Any, prior: Any = "default"
) -> Structure:
    """Turn the argument `covariance` of a posterior into a structure that the engine can sample."""
    from bayes_gmm.model.priors import ConjugatePrior
    from bayes_gmm.model.structures import Structure, names

    structure = Structure.named(covariance, n_features)
    name = structure.label(n_features)
    if structure.is_unconstrained(n_features):
        return structure
    if not structure.is_drawn:
        raise InputError(
            f"covariance is {name!r}, which no engine can sample: choose one of "
            f"{', '.join(names(drawn=True))}; {structure.wider} includes {name} as a special case"
        )
    if engine in ("nuts", "pymc"):
        raise InputError(
            f"engine is {engine!r}, which supports only unconstrained covariances (VVV): for "
            f'{name} choose engine="gibbs" or "auto"'
        )
    if not isinstance(prior, ConjugatePrior | str):
        raise InputError(
            f"covariance is {name!r}, which needs a conjugate prior: pass a "
            "bayes_gmm.ConjugatePrior, or omit covariance"
        )
    return structure


def conjugate_to(
    prior: AnyPrior | None, observations: Observations, n_components: int
) -> ConjugatePrior:
    """Return the prior itself if it is conjugate, and otherwise the default one.

    EM, the starts of chains and the labels of draws need a conjugate prior.
    """
    from bayes_gmm.model.priors import ConjugatePrior

    return (
        prior
        if isinstance(prior, ConjugatePrior)
        else ConjugatePrior.default(observations, n_components)
    )


def require_sizes(
    prior: ConjugatePrior | PriorFamily, observations: Observations, n_components: int
) -> None:
    """Check that a prior is for as many components and features as the fit."""
    sizes = prior.n_components, prior.n_features
    expected = n_components, observations.n_features
    if sizes != expected:
        raise InputError(
            f"prior is for {sizes[0]} components and {sizes[1]} features, "
            f"but the fit has {expected[0]} and {expected[1]}; build it for the same sizes"
        )
