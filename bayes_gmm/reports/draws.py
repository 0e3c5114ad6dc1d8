"""Sections about the draws: whether they can be trusted, what they are called, what they join."""

import pandas as pd

from bayes_gmm import plots
from bayes_gmm.reports.blocks import Block, Paragraph, Points, Section, image, judged, table
from bayes_gmm.reports.words import engine_sentence, relabelling_sentence
from bayes_gmm.results.analysis import Analysis
from bayes_gmm.results.clustering import co_clustering
from bayes_gmm.results.diagnosis import LabelReport, worst
from bayes_gmm.results.reading import keeps_rows, n_observed
from bayes_gmm.results.tables import some

MOST_ROWS = 500  # of the co-clustering matrix


def sampling(analysis: Analysis) -> Section | None:
    """Whether the draws can be trusted."""
    blocks: list[Block] = []
    if analysis.posterior is not None:
        blocks.append(Paragraph(engine_sentence(analysis.posterior)))
    if analysis.diagnosis is not None:
        diagnosis = analysis.diagnosis
        blocks.append(judged(diagnosis))
        if diagnosis.reasons:
            blocks.append(
                Points([f"{reason.statement} {reason.advice}" for reason in diagnosis.reasons])
            )
        blocks.append(table(worst(diagnosis.table).rename_axis("quantities")))
    if analysis.posterior is not None:
        figure = plots.ranks(analysis.posterior)
        blocks.append(image(figure, "Traces and rank plots of the chains"))
    if not blocks:
        return None
    reading = (
        "Chains that agree have an R-hat near 1, traces that can't be told apart, and rank lines "
        "inside the gray band. Quantities that don't depend on the numbering of the components are "
        "judged first, because the numbering is arbitrary."
    )
    return Section("sampling", "Can the draws be trusted?", reading, blocks)


def labels(analysis: Analysis) -> Section | None:
    """What became of the names of the components; one alone needs none."""
    if analysis.diagnosis is None or len(analysis.diagnosis.labels.table) == 1:
        return None
    report = analysis.diagnosis.labels
    blocks: list[Block] = [
        table(
            pd.DataFrame(
                {
                    "as sampled": [f"{report.rhat_raw:.3f}"],
                    "relabelled": [f"{report.rhat_relabelled:.3f}"],
                    "label-free": [f"{report.rhat_label_free:.3f}"],
                },
                index=pd.Index(["largest R-hat"], name=""),
            )
        ),
        Points(_of_labels(analysis, report)),
    ]
    if report.unidentified:
        named = [f"{k} ({report.table['why_not'][k]})" for k in report.unidentified]
        text = (
            f"Without an identity of its own: component{'s' * (len(named) > 1)} "
            f"{some(named, 'in the table')}. Rows of tables, and clusters, by such a name mean "
            "little."
        )
        blocks.append(Paragraph(text, "bad"))
    blocks.append(table(_components(report), ~report.table["identified"].to_numpy()))
    reading = (
        "Components have no order of their own, and a chain may call them by any names, even by "
        "others in the middle. If names switched, R-hat is large as sampled, and near 1 once the "
        "draws are relabelled; quantities that no renaming changes are label-free."
    )
    return Section("labels", "What are the components called?", reading, blocks)


def _of_labels(analysis: Analysis, report: LabelReport) -> list[str]:
    """Say how components were named, and how often that was in doubt."""
    said = []
    if analysis.posterior is not None:
        said.append(relabelling_sentence(analysis.posterior))
    said.append(f"{report.renamed:.1%} of the draws got other names than the sampler's.")
    most = report.switches.max()
    if most == 0:
        said.append("No chain changed the order of its components.")
    else:
        said.append(
            f"Chains changed the order of their components: {report.switches.mean():.1%} of the "
            "draws are not in the order that is the most common in their chain, at most "
            f"{most:.1%}, in chain {report.switches.idxmax()}."
        )
    if len(report.switches) > 1:
        differ = "differs between chains" if report.chains_differ else "is the same in all chains"
        said.append(f"The most common order {differ}.")
    said.append(
        f"{report.ambiguous:.1%} of the draws could have been named otherwise nearly as well."
    )
    if len(report.occupied):
        shares = [f"{k} with probability {share:.1%}" for k, share in report.occupied.items()]
        said.append(f"Components that hold rows: {', '.join(shares)}.")
    return said


def _components(report: LabelReport) -> pd.DataFrame:
    """Tabulate the components; why one has no identity is said above."""
    names = {
        "nearest, in sds": "nearest, in posterior sds",
        "nearly empty": "draws nearly empty",
        "ambiguous": "draws ambiguous",
    }
    written = report.written().rename(columns=names)
    return written.assign(identified=[text.partition(":")[0] for text in written["identified"]])


def clusters(analysis: Analysis) -> Section | None:
    """How often rows share a component, of some of them if there are many."""
    posterior = analysis.posterior
    if posterior is None or posterior.attrs["n_components"] == 1:
        return None
    n_rows = n_observed(posterior)
    if n_rows == 1 or not keeps_rows(posterior):
        return None
    matrix = co_clustering(posterior, rows=min(n_rows, MOST_ROWS))
    blocks: list[Block] = [
        image(plots.co_clustering(matrix), "Probability that two rows share a component")
    ]
    if n_rows > MOST_ROWS:
        some = f"Shown are {MOST_ROWS} of {n_rows:,} rows, evenly spaced."
        blocks.append(Paragraph(some, "quiet"))
    reading = (
        "The darker a cell, the likelier its two rows come from the same component, whatever its "
        "name. Clear blocks are clusters that the data insist on; gray bands beside them are rows "
        "that could belong to either."
    )
    return Section("clusters", "Which rows belong together?", reading, blocks)
