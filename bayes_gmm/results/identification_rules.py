"""Rules that find the components of a converged sample to have no identity, or to be too many.

The mixture as a whole is then known, and so are densities and predictions; statements about
"component 2" mean little.
"""

import numpy as np

from bayes_gmm.results import chains
from bayes_gmm.results.convergence_rules import listed, shortage
from bayes_gmm.results.diagnosis import Finding
from bayes_gmm.results.evidence import SAVING, Evidence
from bayes_gmm.results.identification import AMBIGUOUS, EMPTY, ODDS, TOLD_APART
from bayes_gmm.results.scalars import flatten


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
    pairs = zip(*np.nonzero(np.triu(distances, 1) * (distances < TOLD_APART)), strict=True)
    return [
        Finding(
            "not_told_apart",
            "identification",
            f"Components {one} and {other} differ in nothing by more than "
            f"{distances[one, other]:.1f} posterior sd.",
            float(distances[one, other]),
            TOLD_APART,
            "Read them together, or fit fewer components.",
        )
        for one, other in pairs
    ]


def nearly_empty(evidence: Evidence) -> list[Finding]:
    """Components that hold hardly a row."""
    needed = evidence.draws.means.shape[3] + 1
    return [
        Finding(
            "nearly_empty",
            "identification",
            f"Component {k} holds fewer than {needed} rows in {share:.0%} of the draws.",
            float(share),
            EMPTY,
            "There its parameters come from the prior: fit fewer components.",
        )
        for k, share in enumerate(evidence.identification.empty)
        if share > EMPTY
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
            "Fit fewer components; bg.select compares numbers of them.",
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


def label_switching(evidence: Evidence) -> list[Finding]:
    """How often the sampler numbered the components otherwise."""
    share = chains.other_labels(evidence.permutation).mean()
    if share == 0:
        return []
    within, between = chains.switches(evidence.permutation)
    where = [
        *(["between chains"] if between else []),
        *([f"within {listed('chain', np.flatnonzero(within))}"] if within.any() else []),
    ]
    place = f", {' and '.join(where)}" if where else ", in all chains alike"
    return [
        Finding(
            "label_switching",
            "note",
            f"The sampler's labels were not those of the point estimate in {share:.1%} of the "
            f"draws{place}.",
            float(share),
            0,
            "The draws were renumbered to match it; sample_stats keeps the permutation.",
        )
    ]
