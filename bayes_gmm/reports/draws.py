"""Sections about the draws: whether they can be trusted, what they are called, what they join."""

import pandas as pd

from bayes_gmm import plots
from bayes_gmm.reports.blocks import Block, Paragraph, Points, Section, image, judged, table
from bayes_gmm.reports.words import engine_sentence, relabelling_sentence
from bayes_gmm.results.analysis import Analysis
from bayes_gmm.results.clustering import co_clustering
from bayes_gmm.results.diagnosis import LabelReport, worst
from bayes_gmm.results.given import known_number
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
        "Chains that agree have R-hat near 1, traces that look alike, and rank lines inside the "
        "gray band. Label-invariant quantities are judged first, because the labels of components "
        "are arbitrary."
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
                    "label-invariant": [f"{report.rhat_label_free:.3f}"],
                },
                index=pd.Index(["largest R-hat"], name=""),
            )
        ),
        Points(_of_labels(analysis, report)),
    ]
    if report.unidentified:
        named = [f"{k} ({report.table['why_not'][k]})" for k in report.unidentified]
        text = (
            f"Component{'s' * (len(named) > 1)} not identified: {some(named, 'in the table')}. "
            "Table rows and clusters with such a label mean little."
        )
        blocks.append(Paragraph(text, "bad"))
    blocks.append(table(_components(report), ~report.table["identified"].to_numpy()))
    reading = (
        "The labels of components are arbitrary, and a chain may switch between labellings. Label "
        "switching makes R-hat large as sampled, but not after relabelling. It does not affect "
        "label-invariant quantities at all."
    )
    return Section("labels", "Did labels switch?", reading, blocks)


def _of_labels(analysis: Analysis, report: LabelReport) -> list[str]:
    """Say how components were named, and how often that was in doubt."""
    said = []
    if analysis.posterior is not None:
        said.append(relabelling_sentence(known_number(analysis.posterior)))
    said.append(f"Relabelling changed the labels of {report.renamed:.1%} of the draws.")
    most = report.switches.max()
    if most == 0:
        said.append("No chain switched labels.")
    else:
        said.append(
            f"Chains switched labels: {report.switches.mean():.1%} of the draws do not have the "
            f"most common labelling of their chain (at most {most:.1%}, in chain "
            f"{report.switches.idxmax()})."
        )
    if len(report.switches) > 1:
        differ = "differs between chains" if report.chains_differ else "is the same in all chains"
        said.append(f"The most common labelling {differ}.")
    said.append(
        f"The labels of {report.ambiguous:.1%} of the draws are ambiguous: another labelling is "
        "nearly as good."
    )
    if len(report.occupied):
        shares = [f"{k} with probability {share:.1%}" for k, share in report.occupied.items()]
        said.append(f"Number of nonempty components: {', '.join(shares)}.")
    return said


def _components(report: LabelReport) -> pd.DataFrame:
    """Tabulate the components; why one is not identified is said above."""
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
        "The darker a cell, the more probable it is that its two rows come from the same "
        "component. Clear blocks are well-determined clusters; gray bands beside them are rows "
        "that could belong to either cluster."
    )
    return Section("clusters", "Which rows belong together?", reading, blocks)
