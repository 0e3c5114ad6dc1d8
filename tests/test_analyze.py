"""`analyze` in Python: what it asks of the pipeline, and that it is the verbs one after another."""

import inspect

import numpy as np
import pytest
from helpers import refuses

import bayes_gmm as bg
from bayes_gmm import pipeline

X = bg.datasets.load("faithful").iloc[:60]
OTHER = {
    "X": X.iloc[:40],
    "n_components": 3,
    "folder": "elsewhere",
    "covariance": "EEE",
    "prior": "hierarchical",
    "engine": "nuts",
    "relabel": "ordering:weights",
    "n_starts": 7,
    "draws": 11,
    "tune": 12,
    "chains": 3,
    "cores": 1,
    "ci_prob": 0.5,
    "title": "mine",
    "seed": 5,
}


def asked(monkeypatch, tmp_path, **other):
    """What the pipeline is asked for, by its own names."""
    seen = {}

    class Planned(pipeline.Pipeline):
        def __post_init__(self):
            seen.update(vars(self))
            self.results["mle"] = bg.fit(X, 2, n_starts=1, max_iter=5, seed=0)

        stages = ()

    monkeypatch.setattr(pipeline, "Pipeline", Planned)
    given = {"X": X, "n_components": 2, "folder": "here", "seed": 0, "progressbar": False} | other
    given["folder"] = tmp_path / given["folder"]
    bg.analyze(**given)
    seen.pop("results"), seen.pop("written")
    seen["X"] = seen["X"].to_numpy().tolist()
    return seen


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OTHER)
def test_every_argument_reaches_the_pipeline_and_no_other_one_changes(name, monkeypatch, tmp_path):
    before = asked(monkeypatch, tmp_path)
    after = asked(monkeypatch, tmp_path, **{name: OTHER[name]})
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {name} | ({"title"} if name == "n_components" else set())


def test_the_table_is_complete():
    assert set(inspect.signature(bg.analyze).parameters) == {*OTHER, "progressbar"}


@pytest.mark.filterwarnings("ignore")
def test_it_is_the_verbs_one_after_another_and_all_is_on_disk(tmp_path):
    small = {"draws": 50, "tune": 20, "chains": 2, "seed": 3, "progressbar": False}
    found = bg.analyze(X, 2, tmp_path / "out", **small)
    alone = bg.sample(X, 2, **small)
    np.testing.assert_array_equal(found.posterior["posterior"].means, alone["posterior"].means)
    mle = bg.fit(X, 2, seed=3)
    np.testing.assert_array_equal(found.mle["point_estimate"].means, mle["point_estimate"].means)
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"analysis.nc", "clusters.csv", "report.html", "pictures"}
    kept = bg.load(tmp_path / "out" / "analysis.nc")
    np.testing.assert_array_equal(kept["posterior"].means, alone["posterior"].means)
    assert found.checks is not None
    assert found.comparison is not None


def test_bad_input_is_refused_before_anything_is_written(tmp_path):
    with refuses("n_components"):
        bg.analyze(X, 0, tmp_path / "out")
    with refuses("chains"):
        bg.analyze(X, 2, tmp_path / "out", chains=0)
    with refuses("covariance"):
        bg.analyze(X, 2, tmp_path / "out", covariance="XYZ")
    with refuses("number"):
        bg.analyze([["a", "b"], ["c", "d"]], 2, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_number_is_found_and_the_report_opens_with_it(tmp_path):
    rows = np.concatenate([X.to_numpy()[:30], np.add(X.to_numpy()[:30], (20.0, 300.0))])
    table = X.iloc[:60].assign(eruptions=rows[:, 0], waiting=rows[:, 1])
    found = bg.analyze(
        table, None, tmp_path, covariance="EEE", n_starts=3, draws=200, tune=100, chains=2, seed=1,
        progressbar=False,
    )  # fmt: skip
    assert "unknown_number" in found.posterior.attrs
    k = int(found.posterior["posterior"]["n_clusters"].median())
    assert found.mle.attrs["n_components"] == k
    assert found.selection.best.attrs["covariance"] == "EEE"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.index("How many clusters") < page.index("Sampling")
    assert {"number.png", "selection.png"} <= {p.name for p in (tmp_path / "pictures").iterdir()}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"engine": "nuts"}, "engine is nuts, which needs a known number"),
        ({"prior": "independent"}, "prior is independent"),
        ({"relabel": "ecr"}, "relabel is 'ecr'"),
        ({"covariance": "VEV"}, "covariance is 'VEV'"),
    ],
)
def test_what_an_unknown_number_does_not_go_with_is_refused_first(arguments, says, tmp_path):
    with refuses(says):
        bg.analyze(X, None, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()
