r"""The engine that draws from a posterior: the rule for "auto", and the call.

Near a mode the autocorrelation of a Gibbs sampler of labels and parameters decays at the rate at
which EM converges: the larger the fraction of missing information, the slower. With s the smallest
fraction of observed information in any direction, the autocorrelation time is about

    tau = (2 - s) / s

sweeps. A sweep costs about as much as one gradient, and NUTS takes 6 to 20 gradients per draw. In
measurements over N = 272 to 100,000, D = 1 to 8 and K = 2 to 5 Gibbs gave more effective draws per
second up to tau of about 100, and moved between overlapping modes more often. For larger tau
components are almost indistinguishable, and NUTS was faster.
So "auto" is Gibbs for a conjugate prior, thinned so that its draws are about as independent as
those of NUTS. It is NUTS if tau exceeds `MOST_SWEEPS` and NUTS supports the input, or if row
weights are not whole numbers, because Gibbs labels each copy of a row; and PyMC if the prior is not
conjugate. With few rows sweeps are cheap, and each draw has more of them: the posterior of few rows
often has several modes, and the rate near one does not measure how fast chains move to another. The
cost of the sweeps per draw is bounded in any case. If the draws are still too few, chains are
extended (`posterior.length`).

Variational Bayes draws from an approximation, so it is never chosen unasked.

With one component there are no latent labels, and draws are independent. With very many parameters
the rate would take longer to compute than many sweeps, and is not computed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayes_gmm.data import Observations
from bayes_gmm.data.streams import Stream, every
from bayes_gmm.errors import InputError
from bayes_gmm.inference.gibbs import cost
from bayes_gmm.kernels.label_counts import can_count
from bayes_gmm.kernels.scores import score_products
from bayes_gmm.model.hierarchical_prior import HierarchicalPrior
from bayes_gmm.model.information import Curvature
from bayes_gmm.model.missing import as_expected
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.semiconjugate_prior import SemiconjugatePrior
from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.model.structures.local_coordinates import LocalCoordinates
from bayes_gmm.model.structures.prior import StructuredPrior, within
from bayes_gmm.model.uncertainty import Uncertainty
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.invariants import Invariants, invariants
from bayes_gmm.posterior.length import long_enough
from bayes_gmm.posterior.pivot import typical

ENGINES = ("auto", "nuts", "gibbs", "pymc", "vb")
CONJUGATE = ("nuts", "vb")  # engines for no other prior
SAMPLERS = {
    "nuts": "nutpie",
    "pymc": "nutpie",
    "gibbs": "blocked Gibbs",
    "vb": "independent draws of the variational approximation",
}
MOST_SWEEPS = 100
CHEAP_ROWS = 10_000  # rows that are looked at for each draw, whatever the rate,
CHEAP = 2.3e6  # unless that takes more operations: 4000 draws take some seconds
AFFORDABLE = 2.5e7  # operations that a draw of so many rows may take if the rate asks for it
MOST_PARAMETERS = 1000  # of more, the rate is not computed
MOST_ROWS = 100_000  # of more, the rate is estimated from a part
KNOWN = ("log_likelihood", "component_counts", "log_prior")  # that samplers return for each draw
DRAWN = (ConjugatePrior, HierarchicalPrior, SemiconjugatePrior)  # priors that Gibbs draws from
NUMBERS = ("n_components", "n_clusters", "alpha")  # drawn where K is unknown
PER_DRAW = 4  # autocorrelation time, in sweeps, divided by the sweeps per draw


class Choice(NamedTuple):
    """An engine, and its number of steps per stored draw."""

    engine: str
    thin: int = 1

    @property
    def goes_on(self) -> bool:
        """Whether the engine can make its chains longer."""
        return self.engine == "gibbs"


def check(engine: Any, prior: Any) -> None:
    """Check that there is such an engine, and that it can sample under this prior."""
    if engine not in ENGINES:
        raise InputError(f"engine is {engine!r}; choose one of {', '.join(ENGINES)}")
    if engine in CONJUGATE and not isinstance(prior, ConjugatePrior):
        raise InputError(
            f"engine is {engine!r}, which needs a bayes_gmm.ConjugatePrior; for any other prior "
            'choose engine="pymc"'
        )
    if engine == "gibbs" and not isinstance(prior, DRAWN):
        raise InputError(
            "engine is 'gibbs', which needs a bayes_gmm.ConjugatePrior, SemiconjugatePrior or "
            'HierarchicalPrior; for any other prior choose engine="pymc"'
        )


def completes(engine: str, prior: Any, observations: Observations) -> None:
    """Check that the engine supports missing entries, which all but PyMC do."""
    if observations.is_complete:
        return
    if engine == "pymc" or not isinstance(prior, DRAWN):
        by = (
            'engine="pymc"'
            if isinstance(prior, ConjugatePrior)
            else "a prior that is not conjugate"
        )
        raise InputError(
            f"X has missing entries, but {by} needs complete rows: choose another engine with a "
            "conjugate prior, or leave incomplete rows out"
        )


def reads_blocks(engine: str, prior: Any) -> bool:
    """Whether the engine reads the rows block by block, so that they need not be in memory."""
    if not isinstance(prior, DRAWN):
        return False
    return engine in ("auto", "gibbs") or (engine == "vb" and isinstance(prior, ConjugatePrior))


def choose(
    engine: str,
    observations: Observations,
    at: Parameters,
    prior: ConjugatePrior | Any,
    structure: Structure = UNCONSTRAINED,
) -> Choice:
    """Choose the engine for "auto", and the thinning of Gibbs.

    Sahu & Roberts (1999), Statistics and Computing 9, on the rates of EM and of Gibbs.
    """
    if engine in ("vb", "pymc") or not isinstance(prior, DRAWN):
        return Choice("vb" if engine == "vb" else "pymc")
    if isinstance(prior, DRAWN[1:]):
        if engine == "auto" and not _has_copies(observations):
            return Choice("pymc")
        prior = ConjugatePrior.default(observations, at.n_components)  # for the rate alone
        if engine == "auto":
            engine = "gibbs"
    if engine == "nuts" or (engine == "auto" and not _has_copies(observations)):
        return Choice("nuts")
    n_rows, (n_components, n_features) = observations.n_rows, at.means.shape
    if n_components == 1:
        return Choice("gibbs")
    n_parameters = at.means.size + structure.n_parameters(n_components, n_features)
    sweeps = 1.0
    if n_parameters <= MOST_PARAMETERS:
        sweeps = sweeps_per_draw(observations, at, prior, structure)
    unconstrained = structure.is_unconstrained(n_features)
    nuts_can = unconstrained and not isinstance(observations.values, Stream)
    if engine == "auto" and sweeps > MOST_SWEEPS and nuts_can:
        return Choice("nuts")
    work = cost.of_a_sweep(n_rows, n_components, n_features)
    of_few_rows = cost.of_a_sweep(min(n_rows, CHEAP_ROWS), n_components, n_features)
    needed = min(np.ceil(min(sweeps, MOST_SWEEPS) / PER_DRAW), AFFORDABLE // of_few_rows)
    cheap = min(CHEAP_ROWS // n_rows, CHEAP // work)
    return Choice("gibbs", max(int(needed), int(cheap), 1))


def sweeps_per_draw(
    observations: Observations,
    at: Parameters,
    prior: ConjugatePrior,
    structure: Structure = UNCONSTRAINED,
) -> float:
    r"""Estimate the autocorrelation time of Gibbs, in sweeps.

    .. math:: \tau = (2 - s) / s

    Returned: infinite where the posterior is flat at the mode.
    """
    local = LocalCoordinates.at(at, structure)
    some = as_expected(_not_too_many(observations), at)
    counted = StructuredPrior.of(prior, structure).counted
    curvature = Curvature.of(local, score_products(some, local), counted)
    share = Uncertainty.of(curvature).shares[0]
    return float((2 - share) / share) if share > 0 else np.inf


def _has_copies(observations: Observations) -> bool:
    """Whether every row was seen a whole number of times."""
    return observations.weights is None or bool(can_count(observations.weights).all())


def _not_too_many(observations: Observations) -> Observations:
    """Take rows that are evenly spaced, as many as the share of information takes to be estimated.

    With so many the prior weighs next to nothing.
    """
    step = -(-observations.n_rows // MOST_ROWS)
    if step == 1:
        return observations
    weights = None if observations.weights is None else observations.weights[::step]
    rows = every(observations.values, step)
    return replace(observations, values=rows, weights=weights, row_labels=None)


class Drawn(NamedTuple):
    """What an engine drew, with its components as they came, and what was computed to judge it.

    `sampled` has the groups posterior and sample_stats, (chain, draw, ...); its attribute partial
    is 1 after an interrupt. `pivot` is the optimum that most draws are closest to.
    """

    sampled: xr.DataTree
    pivot: Parameters
    label_invariant: Invariants

    @property
    def thin(self) -> int:
        """How many steps each draw took."""
        return int(self.sampled.attrs.get("thin", 1))

    @property
    def judged(self) -> np.ndarray:
        """What the length of chains is judged by, (chain, draw, P)."""
        posterior = self.sampled["posterior"]
        numbers = [posterior[name].to_numpy()[..., None] for name in NUMBERS if name in posterior]
        return np.concatenate([self.label_invariant.values, *numbers], axis=-1)


def run(
    choice: Choice,
    observations: Observations,
    prior: ConjugatePrior | Any,
    starts: Sequence[Parameters],
    optima: Sequence[Parameters],
    structure: Structure = UNCONSTRAINED,
    *,
    exchangeable: bool = True,
    **settings: Any,
) -> Drawn:
    """Draw from the posterior, by chains that go on until they are long enough, if they can.

    Chains begin at the starts; the optima are what a pivot is chosen from, which is numbered by its
    means if components are exchangeable. The settings are draws, tune, cores, seed, progressbar.
    """
    runs = _runs(choice, observations, prior, starts, optima, structure, settings)

    def looked_at(sampled: xr.DataTree) -> Drawn:
        draws = Draws(*(sampled["posterior"][name].to_numpy() for name in Draws._fields))
        pivot = typical(draws, optima)
        if exchangeable:
            pivot = pivot.reorder(pivot.order_of_means)
        stats = sampled["sample_stats"]
        known = {name: stats[name].to_numpy() for name in KNOWN if name in stats}
        own = within(prior, structure)
        return Drawn(sampled, pivot, invariants(draws, observations, own, pivot, **known))

    return go_on(map(looked_at, runs), may_go_on=choice.goes_on)


def go_on(runs: Iterator[Drawn], *, may_go_on: bool) -> Drawn:
    """Take the first of longer and longer runs that is long enough, or the last one."""
    found = next(runs)
    try:
        while may_go_on and not long_enough(found.judged):
            if (longer := next(runs, None)) is None:
                break
            found = longer
    except KeyboardInterrupt:
        found.sampled.attrs["partial"] = 1  # and all that was asked for
    return found


def _runs(
    choice: Choice,
    observations: Observations,
    prior: ConjugatePrior | Any,
    starts: Sequence[Parameters],
    optima: Sequence[Parameters],
    structure: Structure,
    settings: dict[str, Any],
) -> Iterator[xr.DataTree]:
    """Yield what was drawn; then what longer chains drew, where the engine can go on with them."""
    if choice.engine == "gibbs":
        from bayes_gmm.inference.gibbs import gibbs

        settings |= {"thin": choice.thin, "structure": structure}
        yield from gibbs.longer_runs(observations, prior, starts, **settings)
    elif choice.engine == "nuts":
        from bayes_gmm.inference.nuts import nuts

        yield nuts.sample(observations, prior, starts, **settings)
    elif choice.engine == "vb":
        from bayes_gmm.inference.variational import variational

        del settings["tune"]
        settings["structure"] = structure
        yield variational.sample(observations, prior, starts, optima, **settings)
    else:
        from bayes_gmm.inference.pymc import sampling
        from bayes_gmm.inference.pymc.model import pymc_model

        model = pymc_model(observations, prior, n_components=starts[0].n_components)
        yield sampling.sample(model, starts, **settings)
