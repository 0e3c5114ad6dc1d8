r"""The posterior under the conjugate prior by blocked Gibbs: one pass over the rows per sweep.

    z | theta, x      labels drawn with the responsibilities             one pass
    theta | z, x      a draw of prior.posterior(statistics)              K small problems

Both blocks are drawn exactly, so there is nothing to tune; the sweeps before the first draw are
burn-in only. A chain works in the coordinates (x - origin) / scale, and its draws depend only on
the seed and the number of the chain.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import fields
from functools import partial
from os import cpu_count
from typing import Any

import numpy as np
import xarray as xr

from bayes_gmm.data import Observations
from bayes_gmm.data.streams import Stream
from bayes_gmm.errors import InputError, require_whole
from bayes_gmm.inference.gibbs import cost
from bayes_gmm.inference.gibbs.chain import Chain, Data, run
from bayes_gmm.inference.gibbs.telescoping import (
    WIDTH,
    TelescopingChain,
    accepted,
    of_width,
    prior_of_any_number,
)
from bayes_gmm.inference.settings import require_settings, sequences_of_chains, standardized
from bayes_gmm.kernels.chunks import ONE_BLAS_THREAD
from bayes_gmm.kernels.gibbs import Prior, Record
from bayes_gmm.kernels.independent import independent
from bayes_gmm.kernels.label_counts import MOST, can_count
from bayes_gmm.kernels.log_rho import FEW_FEATURES
from bayes_gmm.model.hierarchical_prior import HierarchicalPrior
from bayes_gmm.model.number_of_components import NumberOfComponents
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.semiconjugate_prior import SemiconjugatePrior
from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.progress import progress

SLAB = 2e8  # operations, about a tenth of a second, between two looks at the progress
LONGEST = 4e10  # operations for each 1000 draws, up to which a run may be made longer unasked


def sample(
    observations: Observations,
    prior: ConjugatePrior | HierarchicalPrior | SemiconjugatePrior,
    starts: Sequence[Parameters],
    *,
    structure: Structure = UNCONSTRAINED,
    thin: int = 1,
    **settings: Any,
) -> xr.DataTree:
    """Draw from the posterior of a mixture with a conjugate prior: the first of `longer_runs`."""
    runs = longer_runs(observations, prior, starts, structure=structure, thin=thin, **settings)
    return next(runs)


def longer_runs(
    observations: Observations,
    prior: ConjugatePrior | HierarchicalPrior | SemiconjugatePrior,
    starts: Sequence[Parameters],
    *,
    draws: int,
    tune: int,
    cores: int | None,
    seed: int | None,
    progressbar: bool,
    thin: int,
    structure: Structure = UNCONSTRAINED,
    number: NumberOfComponents | None = None,
    split_merge: bool = True,
) -> Iterator[xr.DataTree]:
    """Draw from the posterior; then go on, each time to chains twice as long, until told to stop.

    A longer run has as many draws, twice as far apart, and is to the last bit a run with a `thin`
    twice as large. There is none if it would take more than `LONGEST` operations, or reads a stream
    anew for every sweep. If one is interrupted, the run before comes again, marked as partial.

    Returned: group posterior: weights (chain, draw, cluster), means (chain, draw, cluster,
    feature), covariances (chain, draw, cluster, feature, feature_bis). Group sample_stats:
    log_likelihood (chain, draw) at the draw, component_counts (chain, draw, cluster), the rows that
    took each label given the draw, copies included. All in the user's units, components named as
    they came. Attribute thin says how many sweeps a draw has; partial is 1 if the run was
    interrupted: then all chains are cut to the shortest.

    Diebolt & Robert (1994), J. R. Statist. Soc. B 56.
    """
    _check(observations, prior, starts, draws, tune, cores, seed, thin, number)
    n_components, n_features = prior.n_components, prior.n_features
    observations = structure.standardized(observations)
    data = Data(observations, needs_all=number is not None)
    of_one: Callable[..., Chain] = Chain
    width, n_labelled = n_components, 0
    if number is not None:
        if data.whole is not None and observations.weights is None and observations.is_complete:
            n_labelled = observations.n_rows  # or there are no moves
        of_one = partial(
            TelescopingChain,
            number=number,
            structure=structure,
            n_labelled=n_labelled if split_merge else 0,
        )
        width = min(WIDTH, number.log_probabilities.size)
    chains = [
        of_one(
            data,
            _inside(prior, observations, structure, number),
            standardized(start, observations),
            Record.empty((draws,), max(width, start.n_components), n_features),
            tune,
            thin,
            child,
        )
        for start, child in zip(starts, sequences_of_chains(seed, len(starts)), strict=True)
    ]
    work = cost.of_a_sweep(observations.n_rows, n_components, n_features)
    slab = int(np.clip(SLAB // work, 1, chains[0].n_sweeps))
    last: xr.DataTree | None = None
    while True:
        one_blas_thread = ONE_BLAS_THREAD if n_features > FEW_FEATURES else nullcontext()
        n_draws = sum(chain.n_left for chain in chains)
        what = "draws" if last is None else "draws of longer chains"
        with one_blas_thread, progress(n_draws, what, shown=progressbar) as done:
            interrupted = run(chains, slab, cores or cpu_count() or 1, done)
        if interrupted and last is not None:
            last.attrs["partial"] = 1
            yield last
            return
        n_kept = min(chain.n_draws for chain in chains)
        if n_kept == 0:
            raise KeyboardInterrupt
        last = _tree(chains, n_kept, observations, partial=interrupted, thin=thin)
        yield last
        thin *= 2
        operations = len(chains) * (tune + thin * draws) * work
        rereads = data.whole is None and isinstance(observations.values, Stream)
        # The limit grows with what was asked for, so that more draws never mean fewer sweeps.
        if interrupted or rereads or operations > LONGEST * max(1, draws / 1000):
            return
        for chain in chains:
            chain.thin_out()


def _check(
    observations: Observations,
    prior: ConjugatePrior | HierarchicalPrior | SemiconjugatePrior,
    starts: Sequence[Parameters],
    draws: int,
    tune: int,
    cores: int | None,
    seed: int | None,
    thin: int,
    number: NumberOfComponents | None,
) -> None:
    require_settings(draws, tune, len(starts), cores, seed, least_tune=0)
    require_whole("thin", thin, 1)
    require_counts(observations)
    if isinstance(prior, ConjugatePrior):
        prior.require_proper()
    if prior.n_features != observations.n_features:
        raise InputError(
            f"prior is for {prior.n_features} features, but X has {observations.n_features}: build "
            "it for the same number"
        )
    expected = prior.n_components, prior.n_features
    for place, start in enumerate(starts):
        if start.means.shape != expected and number is None:
            raise InputError(
                f"starts[{place}] has means of shape {start.means.shape}, but the prior has "
                f"{expected}; both need the same numbers of components and features"
            )


def require_counts(observations: Observations) -> None:
    """Check that row weights are whole numbers, so that each copy of a row can have a label."""
    weights = observations.weights
    if weights is None:
        return
    bad = np.flatnonzero(~can_count(weights))
    if bad.size:
        others = (
            '"nuts" or "pymc", which support'
            if observations.is_complete
            else '"nuts", which supports'
        )
        raise InputError(
            f"row_weights is {weights[bad[0]]:g} in row {bad[0]}, but Gibbs labels each copy of a "
            f"row and needs whole numbers up to {MOST:.0f}: choose engine={others} "
            "any weights >= 0"
        )


def _inside(
    prior: ConjugatePrior | HierarchicalPrior | SemiconjugatePrior,
    observations: Observations,
    structure: Structure,
    number: NumberOfComponents | None,
) -> Prior:
    """Write a prior as the kernels take it, for a chain of its own."""
    if isinstance(prior, ConjugatePrior):
        one = standardized(prior, observations)
        if number is not None:  # what is said of a covariance depends on how many share it
            one = ConjugatePrior(*(getattr(one, field.name)[:1] for field in fields(one)))
        own = Prior.conjugate(one, structure)
    else:
        own = independent(standardized(prior, observations))
    return own if number is None else prior_of_any_number(own, number.log_probabilities.size)


def _tree(
    chains: Sequence[Chain], n_kept: int, observations: Observations, *, partial: bool, thin: int
) -> xr.DataTree:
    """Label the draws of chains in the user's units."""
    # Copies, as all arrays here are: a longer run writes over the records.
    records = [Record(*(field[:n_kept] for field in chain.record)) for chain in chains]
    width = max(chain.width(n_kept) for chain in chains)
    record = Record(*map(np.stack, zip(*(of_width(one, width) for one in records), strict=True)))
    numbers = {
        name: np.stack([chain.numbers[name][:n_kept] for chain in chains])
        for name in chains[0].numbers
    }
    tree = labelled(record, observations, partial=partial, thin=thin, **numbers)
    tree.attrs |= accepted(chains)
    return tree


def labelled(
    record: Record, observations: Observations, *, partial: bool, thin: int, **numbers: np.ndarray
) -> xr.DataTree:
    """Label draws (chain, draw, ...) in the user's units; numbers (chain, draw) are beside them."""
    origin, scale = observations.origin, observations.scale
    leading, features = ("chain", "draw"), list(observations.feature_names)
    n_chains, n_draws, n_components = record.weights.shape
    coords = {"chain": range(n_chains), "draw": range(n_draws), "cluster": range(n_components)}
    posterior = xr.Dataset(
        {
            "weights": ((*leading, "cluster"), record.weights),
            "means": ((*leading, "cluster", "feature"), origin + scale * record.means),
            "covariances": (
                (*leading, "cluster", "feature", "feature_bis"),
                record.covariances * np.outer(scale, scale),
            ),
            **{name: (leading, values) for name, values in numbers.items()},
        },
        coords={**coords, "feature": features, "feature_bis": features},
    )
    stats = xr.Dataset(
        {
            "log_likelihood": (leading, record.log_likelihood - observations.log_volume),
            "component_counts": ((*leading, "cluster"), record.counts),
        },
        coords=coords,
    )
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset(attrs={"partial": int(partial), "thin": thin}),
            "/posterior": posterior,
            "/sample_stats": stats,
        }
    )
