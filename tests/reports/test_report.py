import copy
import re
from base64 import b64decode
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from results.synthetic import two_components

import bayes_gmm as bg
from bayes_gmm.errors import InputError
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.reports import draws, page, write_report
from bayes_gmm.reports.sections import summary
from bayes_gmm.reports.words import engine_sentence, prior_sentences, relabelling_sentence
from bayes_gmm.results.analysis import Analysis
from bayes_gmm.results.checks import check
from bayes_gmm.results.compare import compare
from bayes_gmm.results.diagnostics import diagnose
from bayes_gmm.results.labels import prior_dataset
from bayes_gmm.results.loo import loo
from bayes_gmm.results.relabel import METHODS, relabel
from bayes_gmm.results.sensitivity import sensitivity

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
        "sensitivity": sensitivity(posterior),
        "loo": loo(posterior),
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
        "labels",
        "clusters",
        "fit",
        "prediction",
        "prior",
        "reproduction",
    ]


def test_every_picture_is_inside_the_page_and_described(written):
    images = Page(written).images
    assert len(images) == 7
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
    assert results["sensitivity"].verdict in text
    assert f"{results['loo'].elpd:.1f}" in text
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
        (["posterior"], ["mixture", "sampling", "labels", "clusters", "reproduction"]),
        (["comparison"], ["comparison"]),
        (["diagnosis"], ["sampling", "labels"]),
        (["checks"], ["fit"]),
        (["loo"], ["prediction"]),
        (["sensitivity"], ["prior"]),
    ],
)
def test_sections_without_results_are_left_out(results, tmp_path, names, sections):
    path = write_report({name: results[name] for name in names}, tmp_path / "part.html")
    assert Page(path.read_text("utf-8")).sections == sections


def test_estimates_under_a_constraint_are_told_apart_from_the_posterior(results):
    x = results["mle"]["observed_data"]["x"]
    equal = bg.fit(x.to_pandas(), 2, covariance="EEE", n_starts=3, seed=0)
    both = {**results, "mle": equal}
    (said,) = [one for one in summary(Analysis.of(both)) if one.topic == "Two models"]
    assert said.text.startswith(
        "MLE: covariance structure EEE, while the draws have VVV. The posterior is that of"
    )
    for part in (results, {"mle": equal, "map": results["map"]}):
        assert "Two models" not in [one.topic for one in summary(Analysis.of(part))]


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
        ({"loo": 3}, "is int, not a result of bg.loo"),
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
    prior = ConjugatePrior([1.0, 1.0], [3.5, 70.0], 0.01, 4.0, np.diag([0.8, 128.0]))
    said = " ".join(prior_sentences(prior_dataset(prior, ("eruptions", "waiting"))))
    assert "concentration 1 for each of 2, which is uniform" in said
    assert "eruptions 3.50, waiting 70.0" in said
    assert "it counts as 0.01 of a row" in said
    assert "4 degrees of freedom" in said
    assert "eruptions 0.34, waiting 4.3" in said  # sqrt(Psi / (nu + D + 1))


def test_a_prior_that_differs_between_components_is_said_to():
    prior = ConjugatePrior([1.0, 2.0], [[0.0], [5.0]], 0.01, 3.0, [[1.0]])
    said = " ".join(prior_sentences(prior_dataset(prior, ("x",))))
    assert "concentration 1, 2." in said
    assert "differs between components" in said


def of_engine(posterior, **attrs):
    changed = posterior.copy()
    changed.attrs |= attrs
    return changed


def test_the_sampler_is_described_in_plain_words(results):
    plain = engine_sentence(results["posterior"])
    assert plain == "4 chains of 100 draws."
    gibbs = of_engine(results["posterior"], engine="gibbs", thin=3, tune=2000)
    assert "4 chains of 100 draws by Gibbs sampling" in engine_sentence(gibbs)
    assert "one sweep in 3 is kept as a draw, after 2,000 burn-in sweeps" in engine_sentence(gibbs)
    every = of_engine(results["posterior"], engine="gibbs", thin=1, tune=10)
    assert "every sweep is a draw" in engine_sentence(every)
    for engine in ("nuts", "pymc"):
        nuts = of_engine(results["posterior"], engine=engine, thin=1, tune=500)
        assert "500 tuning steps" in engine_sentence(nuts)
        assert "NUTS" in engine_sentence(nuts)


@pytest.mark.parametrize("method", METHODS)
def test_every_relabelling_is_described(results, method):
    by = {"by": f"means[{NAMES[1]}]"} if method == "ordering" else {}
    said = relabelling_sentence(relabel(results["posterior"], method, **by))
    assert (by["by"] if by else f"({method})") in said


def test_what_an_interrupt_left_is_said_first(results, tmp_path):
    partial = {"posterior": of_engine(results["posterior"], partial=1)}
    text = write_report(partial, tmp_path / "report.html").read_text("utf-8")
    assert text.index("Interrupted") < text.index("<nav")
    assert "100 draws of each of 4 chains made by then" in text
    assert "Interrupted" not in write_report(
        {"posterior": results["posterior"]}, tmp_path / "report.html"
    ).read_text("utf-8")


def test_labels_are_reported_from_raw_to_label_invariant(results, written):
    report = results["diagnosis"].labels
    text = Page(written).text
    assert "Did labels switch?" in text
    for value in (report.rhat_raw, report.rhat_relabelled, report.rhat_label_free):
        assert f"{value:.3f}" in text
    assert "No chain switched labels." in text
    assert "not identified" not in text


def test_components_without_identity_are_named_and_left_blank(tmp_path):
    # The same component twice: no draw can say which is which.
    x, _, _, one = two_components(5, n=120, n_draws=100, names=NAMES)
    rng = np.random.default_rng(0)
    twice = one.copy()
    drawn = one["posterior"].to_dataset()
    first = drawn.isel(cluster=[0, 0]).assign_coords(cluster=[0, 1])
    noise = rng.normal(size=first["means"].shape)
    halves = first.assign(weights=0 * first["weights"] + 0.5, means=first["means"] + noise)
    twice["posterior"] = xr.DataTree(halves)
    diagnosis = diagnose(twice)
    assert diagnosis.labels.unidentified == [0, 1]
    table = pd.DataFrame(x, columns=NAMES)
    fits = {"map": bg.fit(table, 2, prior="default", n_starts=3, seed=0)}
    everything = {**fits, "posterior": twice, "diagnosis": diagnosis}
    everything["comparison"] = compare(fits["map"], twice)
    written = write_report(everything, tmp_path / "report.html").read_text("utf-8")
    text = Page(written).text
    why = diagnosis.labels.table["why_not"]
    assert f"Components not identified: 0 ({why[0]}), 1 ({why[1]})" in text
    assert "No component is identified" in text
    assert '<th scope="row">weight[1]</th><td>-</td><td>-</td>' in written
    assert '<tr class="flagged"><th scope="row">1</th><td>-</td>' in written


def test_of_many_rows_some_are_drawn_together(results, tmp_path, monkeypatch):
    monkeypatch.setattr(draws, "MOST_ROWS", 50)
    path = write_report({"posterior": results["posterior"]}, tmp_path / "report.html")
    assert "Shown are 50 of 120 rows, evenly spaced." in Page(path.read_text("utf-8")).text


def test_leave_one_out_that_takes_long_is_said_to_be_left_out(results, tmp_path, monkeypatch):
    monkeypatch.setattr("bayes_gmm.results.analysis.MOST_POINTWISE", 120 * 400 - 1)
    path = write_report({"posterior": results["posterior"]}, tmp_path / "report.html")
    text = Page(path.read_text("utf-8")).text
    assert "Left out, because 120 rows x 400 draws take long" in text


def test_rows_that_leave_one_out_cannot_judge_are_named(results, tmp_path):
    bad = copy.deepcopy(results["loo"])
    bad.pareto_k[7] = 0.9
    text = Page(write_report({"loo": bad}, tmp_path / "report.html").read_text("utf-8")).text
    assert "Pareto k is above 0.62 in 1 row of 120 (largest in row 7)" in text
