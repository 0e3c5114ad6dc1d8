import re
from base64 import b64decode
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from results.synthetic import two_components

import bayes_gmm as bg
from bayes_gmm.errors import InputError
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import Prior
from bayes_gmm.results.analysis import Analysis
from bayes_gmm.results.checks import check
from bayes_gmm.results.compare import compare
from bayes_gmm.results.diagnostics import diagnose
from bayes_gmm.results.report import page, write_report
from bayes_gmm.results.report.words import prior_sentences
from bayes_gmm.results.tree import prior_dataset

NAMES = ["<b>eruptions</b>", "waiting & more"]
VOID = {"meta", "link", "img", "br", "hr"}


class Page(HTMLParser):
    """Check that tags close in order, and collect what the page refers to."""

    def __init__(self, text):
        super().__init__()
        self.open, self.references, self.images, self.sections, self.text = [], [], [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        attrs = dict(attrs)
        self.references += [attrs[name] for name in ("src", "href") if name in attrs]
        if tag == "img":
            self.images.append(attrs)
        if tag == "section":
            self.sections.append(attrs["id"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def results():
    x, _, _, posterior = two_components(5, n=120, n_draws=100, names=NAMES)
    table = pd.DataFrame(x, columns=NAMES)
    fits = {
        "mle": bg.fit(table, 2, n_starts=3, seed=0),
        "map": bg.fit(table, 2, prior="default", n_starts=3, seed=0),
    }
    return {
        **fits,
        "posterior": posterior,
        "comparison": compare([fits["mle"], fits["map"]], posterior),
        "diagnosis": diagnose(posterior),
        "checks": check(posterior, draws=40, seed=0),
    }


@pytest.fixture(scope="module")
def written(results, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    assert write_report(results, path, title="Geysers & <script>alert(1)</script>") == path
    return path.read_text("utf-8")


def test_the_page_is_well_formed_and_has_every_section(written):
    assert Page(written).sections == [
        "mixture",
        "em",
        "comparison",
        "sampling",
        "fit",
        "prior",
        "reproduction",
    ]


def test_every_picture_is_inside_the_page_and_described(written):
    images = Page(written).images
    assert len(images) == 6
    for attrs in images:
        assert attrs["alt"]
        kind, _, data = attrs["src"].partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert ElementTree.fromstring(b64decode(data)).tag.endswith("svg")


def test_the_page_needs_nothing_from_elsewhere(written):
    for reference in Page(written).references:
        assert reference.startswith(("data:", "#"))
    assert not re.search(r"https?://|url\(|@import|<script", written)


def test_links_lead_to_sections(written):
    found = Page(written)
    links = [reference[1:] for reference in found.references if reference.startswith("#")]
    assert links == found.sections


def test_text_of_the_user_is_shown_and_not_obeyed(written):
    assert "<b>eruptions" not in written
    found = Page(written)
    assert "Geysers & <script>alert(1)</script>" in found.text
    assert "mean[0, <b>eruptions</b>]" in found.text


def test_verdicts_and_numbers_are_on_the_page(results, written):
    text = Page(written).text
    assert "120 rows, 2 features" in text
    assert results["diagnosis"].verdict in text
    assert results["checks"].verdict in text
    for sentence in results["comparison"].sentences:
        assert sentence in text
    log_likelihood = float(results["mle"]["optimizer_result"]["log_likelihood"])
    assert f"{log_likelihood:.5f}" in text
    assert "bayes-gmm 0." in text


@pytest.mark.parametrize(
    ("names", "sections"),
    [
        (["mle"], ["mixture", "em", "reproduction"]),
        (["map"], ["mixture", "em", "prior", "reproduction"]),
        (["posterior"], ["mixture", "sampling", "reproduction"]),
        (["comparison"], ["comparison"]),
        (["diagnosis"], ["sampling"]),
        (["checks"], ["fit"]),
    ],
)
def test_sections_without_results_are_left_out(results, tmp_path, names, sections):
    path = write_report({name: results[name] for name in names}, tmp_path / "part.html")
    assert Page(path.read_text("utf-8")).sections == sections


def test_a_fit_that_kept_no_rows_is_reported(results, tmp_path):
    kept = results["mle"].copy()
    del kept["observed_data"]
    page_of_it = Page(write_report(kept, tmp_path / "report.html").read_text("utf-8"))
    assert "120 rows, 2 features (<b>eruptions</b>, waiting & more)" in page_of_it.text


def test_one_result_alone_is_taken_for_what_it_is(results):
    assert Analysis.of(results["map"]).map is results["map"]
    assert Analysis.of(results["posterior"]).posterior is results["posterior"]
    assert Analysis.of(Analysis(mle=results["mle"])).points == {"MLE": results["mle"]}


def test_what_cannot_be_reported_is_named(results, tmp_path):
    path = tmp_path / "report.html"
    for wrong, message in [
        ({}, "results is empty"),
        (Parameters([1.0], [[0.0]], [[[1.0]]]), "results is empty"),
        ({"mel": results["mle"]}, "results has an entry 'mel'; it may have mle, map"),
        ({"mle": results["map"]}, r"results\['mle'\] is DataTree, not a result of bg.fit without"),
        ({"posterior": results["mle"]}, "not a result of bg.sample"),
        ({"checks": 3}, "is int, not a result of bg.check"),
    ]:
        with pytest.raises(InputError, match=message):
            write_report(wrong, path)
    assert not path.exists()


def test_a_missing_folder_is_named(results, tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        write_report({"diagnosis": results["diagnosis"]}, tmp_path / "no" / "report.html")
    with pytest.raises(InputError, match="is a folder"):
        write_report({"diagnosis": results["diagnosis"]}, tmp_path)


def test_a_report_that_fails_leaves_the_old_one(results, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr(page, "sections", lambda analysis: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(results, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_results_give_the_same_page(results, tmp_path):
    only = {"mle": results["mle"]}
    pages = [write_report(only, tmp_path / name).read_text() for name in ("a.html", "b.html")]
    assert pages[0] == pages[1]


def test_the_prior_is_described_in_the_units_of_the_data():
    prior = Prior([1.0, 1.0], [3.5, 70.0], 0.01, 4.0, np.diag([0.8, 128.0]))
    said = " ".join(prior_sentences(prior_dataset(prior, ("eruptions", "waiting"))))
    assert "concentration 1 for each of 2, which favors no weights" in said
    assert "eruptions 3.50, waiting 70.0" in said
    assert "worth 0.01 of a row" in said
    assert "4 degrees of freedom" in said
    assert "eruptions 0.34, waiting 4.3" in said  # sqrt(Psi / (nu + D + 1))


def test_a_prior_that_differs_between_components_is_said_to():
    prior = Prior([1.0, 2.0], [[0.0], [5.0]], 0.01, 3.0, [[1.0]])
    said = " ".join(prior_sentences(prior_dataset(prior, ("x",))))
    assert "concentration 1, 2." in said
    assert "differs between components" in said
