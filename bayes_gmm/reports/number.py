"""The section on an unknown number of clusters."""

from typing import Literal

from bayes_gmm import plots
from bayes_gmm.reports.blocks import Block, Paragraph, Points, Section, image
from bayes_gmm.results.analysis import Analysis
from bayes_gmm.results.given import likely, numbers_of_clusters
from bayes_gmm.results.reading import read_number

SURE, FAIR = 0.9, 0.5


def how_many(analysis: Analysis) -> list[Paragraph]:
    """Say how many clusters there are and how sure that is; nothing if it was given."""
    if analysis.posterior is None or not (found := numbers_of_clusters(analysis.posterior)):
        return []
    best, probability = next(iter(found.items()))
    rest = ", ".join(likely({k: p for k, p in found.items() if k != best}))
    tone: Literal["good", "note"] = "good" if probability >= SURE else "note"
    sure = "is" if probability >= SURE else "is probably" if probability >= FAIR else "may be"
    text = f"The number of clusters {sure} {best}: its posterior probability is {probability:.2f}."
    if rest:
        text += f" Other numbers: {rest}."
    return [Paragraph(text, tone, "How many clusters")]


def number(analysis: Analysis) -> Section | None:
    """How many clusters, by the posterior and by the criterion of the point estimates."""
    posterior = analysis.posterior
    if posterior is None or (prior := read_number(posterior)) is None:
        return None
    blocks: list[Block] = [
        image(plots.number_of_clusters(posterior), "Posterior of the number of clusters"),
        Points([str(prior)]),
    ]
    if analysis.selection is not None:
        blocks.append(image(plots.selection(analysis.selection), "BIC by number of components"))
        blocks.append(Points(analysis.selection.sentences))
    reading = (
        "A cluster is a component that holds rows. Bars are posterior probabilities, over all "
        "draws; the points of the chains agree where sampling has converged. Tables of components "
        "below are given the most probable number of clusters. Densities, the co-clustering of "
        "rows, checks and leave-one-out average over all numbers."
    )
    return Section("number", "How many clusters?", reading, blocks)
