"""Rules that find the components of a converged sample to have no identity.

The mixture as a whole is then known, and so are densities and predictions; statements about
"component 2" mean little.
"""

from itertools import combinations

import numpy as np

from bayes_gmm.results import chains
from bayes_gmm.results.convergence_rules import exceeds, listed, shortage
from bayes_gmm.results.diagnosis import Finding
from bayes_gmm.results.draws import Draws
from bayes_gmm.results.evidence import Evidence
from bayes_gmm.results.scalars import flatten

LABELLED_RHAT = 1.05  # of a relabelled parameter, from which its component lacks an identity
EMPTY = 0.05  # share of the draws in which a component holds fewer rows than describe it
TOLD_APART = 2  # posterior sds of the difference between two components


def labels_disagree(evidence: Evidence) -> list[Finding]:
    """Components that are not the same ones in every chain."""
    rhat = evidence.parameters.rhat
    if not exceeds(rhat, LABELLED_RHAT):
        return []
    worst = int(np.nanargmax(rhat))
    return [
        Finding(
            "labels_disagree",
            "identification",
            f"The chains agree about the mixture but not about {evidence.parameter_names[worst]}.",
            float(rhat[worst]),
            LABELLED_RHAT,
            "Trust densities and predictions; don't read single components.",
        )
    ]


def not_told_apart(evidence: Evidence) -> list[Finding]:
    """Pairs of components that differ in nothing."""
    found = []
    for one, other in combinations(range(evidence.draws.weights.shape[2]), 2):
        distance = separation(evidence.draws, one, other)
        if distance < TOLD_APART:
            found.append(
                Finding(
                    "not_told_apart",
                    "identification",
                    f"Components {one} and {other} differ in nothing by more than "
                    f"{distance:.1f} posterior sd.",
                    distance,
                    TOLD_APART,
                    "Read them together, or fit fewer components.",
                )
            )
    return found


def separation(draws: Draws, one: int, other: int) -> float:
    """How far two components are apart, in posterior sds of the parameter that tells them best."""
    described = [
        flatten(np.ones((*draws.means.shape[:2], 1)), draws.means[:, :, [k]], covariance)
        for k, covariance in ((k, draws.covariances[:, :, [k]]) for k in (one, other))
    ]
    difference = np.concatenate(
        [
            described[0] - described[1],
            draws.weights[..., [one]] - draws.weights[..., [other]],
        ],
        axis=-1,
    ).reshape(-1, described[0].shape[-1] + 1)
    mean, sd = difference.mean(axis=0), difference.std(axis=0)
    return float(np.max(np.abs(mean[sd > 0]) / sd[sd > 0], initial=0.0))


def nearly_empty(evidence: Evidence) -> list[Finding]:
    """Components that hold hardly a row."""
    rows = evidence.n_rows * evidence.draws.weights
    needed = evidence.draws.means.shape[3] + 1
    shares = (rows < needed).mean(axis=(0, 1))
    return [
        Finding(
            "nearly_empty",
            "identification",
            f"Component {k} holds fewer than {needed} rows in {share:.0%} of the draws.",
            float(share),
            EMPTY,
            "There its parameters come from the prior: fit fewer components.",
        )
        for k, share in enumerate(shares)
        if share > EMPTY
    ]


def slow_components(evidence: Evidence) -> list[Finding]:
    """Components that need more draws than the mixture does."""
    start = "Single components need longer chains"
    return shortage(
        ("slow_components", "identification", start),
        evidence,
        evidence.parameter_names,
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
