"""The page: sections put into the template, written in one go."""

import dataclasses
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bayes_gmm.data.writing import replace
from bayes_gmm.reports.sections import sections, summary
from bayes_gmm.results.analysis import Analysis
from bayes_gmm.results.diagnostics import diagnose

TITLE = "Gaussian mixture analysis"


def write_report(results: Any, path: str | Path, *, title: str = TITLE) -> Path:
    """Write a report as one self-contained HTML file.

    Parameters
    ----------
    results : mapping or object
        With any of mle, map (from `fit`), posterior (from `sample`), comparison, diagnosis,
        checks, sensitivity and loo; or one result of `fit` or `sample`. Sections without results
        are omitted, but a posterior is always diagnosed.
    path : str or Path
        File to write; it is replaced only when the new one is complete.
    title : str

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If `results` has nothing to show, or the folder does not exist.
    """
    analysis = Analysis.of(results)
    posterior = analysis.posterior
    if posterior is not None and analysis.diagnosis is None:
        analysis = dataclasses.replace(analysis, diagnosis=diagnose(posterior))
    environment = Environment(
        loader=PackageLoader("bayes_gmm.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html.j2").render(
        title=title, summary=summary(analysis), sections=list(sections(analysis))
    )
    return replace(path, lambda part: part.write_text(page, encoding="utf-8"))
