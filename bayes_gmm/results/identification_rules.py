"""Rules that find the components of a converged sample to have no identity, or to be too many.

The mixture as a whole is then known, and so are densities and predictions; statements about
"component 2" mean little.
"""

import numpy as np

from bayes_gmm.posterior.identification import AMBIGUOUS, EMPTY, ODDS, TOLD_APART
from bayes_gmm.posterior.scalars import flatten
from bayes_gmm.results.convergence_rules import listed, shortage
from bayes_gmm.results.diagnosis import Finding
from bayes_gmm.results.evidence import SAVING, Evidence
from bayes_gmm.results.tables import some


def labels_disagree(evidence: Evidence) -> list[Finding]:
    """Components that are not the same ones in every chain."""
    found = evidence.identification
    if np.isnan(found.rhat_limit).all():
        return []
    component = int(np.nanargmax(np.where(np.isnan(found.rhat_limit), np.nan, found.rhat)))
    rhat = np.where(
        [scalar.cluster == component for scalar in evidence.scalars],
        evidence.parameters.rhat,
        np.nan,
    )
    worst = int(np.nanargmax(rhat))
    return [
        Finding(
            "labels_disagree",
            "identification",
            f"The chains agree about the mixture but not about {evidence.parameter_names[worst]}.",
            float(rhat[worst]),
            float(found.rhat_limit[component]),
            "Trust densities and predictions; don't read single components.",
        )
    ]


def not_told_apart(evidence: Evidence) -> list[Finding]:
    """Pairs of components that differ in nothing."""
    distances = evidence.identification.distances
    pairs = np.argwhere(np.triu(distances, 1) * (distances < TOLD_APART)).tolist()
    if not pairs:
        return []
    pairs.sort(key=lambda pair: distances[*pair])
    closest = float(distances[*pairs[0]])
    named = [f"{one} and {other}" for one, other in pairs]
    names = some(named, "see nearest in the table of components", most=3)
    limit = f"{closest:.1f} posterior sd" if len(pairs) == 1 else f"{TOLD_APART} posterior sds"
    return [
        Finding(
            "not_told_apart",
            "identification",
            f"Components {names} differ in nothing by more than {limit}.",
            closest,
            TOLD_APART,
            "Read them together, or fit fewer components.",
        )
    ]


def nearly_empty(evidence: Evidence) -> list[Finding]:
    """Components that hold hardly a row."""
    needed = evidence.draws.means.shape[3] + 1
    shares = evidence.identification.empty
    which = np.flatnonzero(shares > EMPTY)
    if not which.size:
        return []
    largest = float(shares[which].max())
    verb, most = ("hold", "up to ") if which.size > 1 else ("holds", "")
    return [
        Finding(
            "nearly_empty",
            "identification",
            f"{listed('Component', which)} {verb} fewer than {needed} rows in {most}{largest:.0%} "
            "of the draws.",
            largest,
            EMPTY,
            "There its parameters come from the prior: fit fewer components."
            if which.size == 1
            else "There their parameters come from the prior: fit fewer components.",
        )
    ]


def ambiguous_labels(evidence: Evidence) -> list[Finding]:
    """Components that many draws could as well give another name."""
    found = evidence.identification
    which = np.flatnonzero(found.ambiguous > AMBIGUOUS)
    if not which.size:
        return []
    return [
        Finding(
            "ambiguous_labels",
            "identification",
            f"In {found.ambiguous_draws:.0%} of the draws {listed('component', which)} could as "
            f"well have other names, at odds below {ODDS} to 1.",
            float(found.ambiguous[which].max()),
            AMBIGUOUS,
            "Read these components together, or fit fewer.",
        )
    ]


def dispensable_component(evidence: Evidence) -> list[Finding]:
    """A component more than the data ask for."""
    found = evidence.merger
    if found is None:
        return []
    return [
        Finding(
            "dispensable_component",
            "identification",
            f"The data don't ask for both of components {found.one} and {found.other}: with one "
            f"in their place BIC is lower by {found.saving:.1f}.",
            found.saving,
            SAVING,
            "Fit fewer components; bg.select, or bayes-gmm select, compares numbers of them.",
        )
    ]


def slow_components(evidence: Evidence) -> list[Finding]:
    """Components that need more draws than the mixture does."""
    start = "Single components need longer chains"
    return shortage(
        ("slow_components", "identification", start),
        evidence.parameter_names,
        flatten(*evidence.draws),
        evidence.parameters,
    )
