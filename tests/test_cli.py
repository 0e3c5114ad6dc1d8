import shlex
import signal
import subprocess
import sys
import time
import warnings
from types import SimpleNamespace
from typing import get_args

import arviz as az
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from results.synthetic import two_components
from typer.testing import CliRunner

import bayes_gmm as bg
from bayes_gmm import cli, datasets, simulation
from bayes_gmm.errors import CollapseError, ConvergenceWarning, InputError
from bayes_gmm.inference.engines import ENGINES
from bayes_gmm.model.structures import CODES
from bayes_gmm.pipeline import Pipeline

NAMES = ["eruptions", "waiting"]
PICTURES = {"em-mle", "em-map", "mixture", "ranks", "comparison", "checks"}


def run(*arguments):
    """Run a command that must succeed; errors come out as they are."""
    return CliRunner().invoke(cli.app, list(map(str, arguments)), catch_exceptions=False)


def fail(capsys, *arguments):
    """Run a command that must end in one line of error and exit code 2."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(list(map(str, arguments)))
    assert stopped.value.code == 2
    *progress, last = capsys.readouterr().err.splitlines()
    assert last.startswith("error: ")
    assert not any(line.startswith(("error", "Traceback")) for line in progress)
    return last


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A CSV file, and an exact sample of the posterior of its data."""
    x, _, _, posterior = two_components(9, n=100, n_draws=60, names=NAMES)
    path = tmp_path_factory.mktemp("data") / "geyser.csv"
    pd.DataFrame(x, columns=NAMES).to_csv(path, index=False)
    return path, posterior


@pytest.fixture
def sampled(world, monkeypatch):
    """Let `sample` return the exact sample, and keep what it was asked for."""
    path, posterior = world
    asked = []

    def sample(X, n_components, **options):
        asked.append((X, n_components, options))
        return posterior

    monkeypatch.setattr(bg, "sample", sample)
    return path, posterior, asked


@pytest.fixture
def unpictured(monkeypatch):
    """Leave the pictures empty."""
    drawn = SimpleNamespace(
        **{
            name: lambda *_, **__: Figure(figsize=(1, 1))
            for name in ("em_trajectory", "mixture", "ranks", "comparison", "checks")
        }
    )
    monkeypatch.setattr(bg, "plots", drawn)


@pytest.fixture
def quick(sampled, unpictured, monkeypatch):
    """Also leave out what takes time and is optional; the report is empty."""

    def refuse(posterior, X=None):
        raise InputError("posterior is not looked at")

    for name in ("sensitivity", "loo"):
        monkeypatch.setattr(bg, name, refuse)
    monkeypatch.setattr(bg, "report", lambda results, path, title: path.write_text(title))
    return sampled


def test_help_answers_without_loading_what_commands_need():
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "bayes_gmm.cli", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    print(f"--help took {time.perf_counter() - started:.2f} s")
    assert "analyze" in done.stdout
    code = "import sys, bayes_gmm.cli; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    heavy = {"arviz", "matplotlib", "numba", "pandas", "pymc", "pytensor", "rich", "sklearn"}
    assert heavy.isdisjoint(loaded)


def test_version():
    assert run("--version").stdout == f"bayes-gmm {bg.__version__}\n"


def test_analyze_does_everything_and_says_what_it_wrote(sampled, tmp_path):
    path, posterior, asked = sampled
    out = tmp_path / "new" / "out"
    done = run("analyze", path, "-k", 2, "--out", out, "--seed", 3, "--draws", 60, "--ci-prob", 0.9)
    files = [out / "analysis.nc", out / "clusters.csv", out / "report.html"]
    files += [out / "pictures" / f"{name}.png" for name in PICTURES]
    assert all(file.stat().st_size > 1000 for file in files)
    assert all(str(file) in done.stdout for file in files)
    assert {file for file in out.rglob("*") if file.is_file()} == set(files)
    for said in ("mean[0, eruptions]", "Sampling: ", "Fit: ", "Prior: "):
        assert said in done.stdout
    assert "\x1b" not in done.output
    X, n_components, options = asked[0]
    assert (list(X.columns), n_components) == (NAMES, 2)
    assert (options["seed"], options["draws"], options["progressbar"]) == (3, 60, False)
    tree = az.from_netcdf(out / "analysis.nc").load()
    tree.close()
    np.testing.assert_array_equal(tree["posterior/means"], posterior["posterior/means"])
    assert {"mle", "map", "comparison", "checks", "sensitivity", "loo"} <= set(tree.children)
    assert tree["comparison"].attrs["ci_prob"] == 0.9
    assert "geyser.csv: 2 Gaussian components" in (out / "report.html").read_text("utf-8")


def test_analyze_leaves_other_files_alone(quick, tmp_path):
    path, _, _ = quick
    (tmp_path / "pictures").mkdir()
    for name in ("notes.txt", "pictures/mine.png", "report.html"):
        (tmp_path / name).write_text("old")
    run("analyze", path, "-k", 2, "--out", tmp_path, "--quiet")
    assert (tmp_path / "notes.txt").read_text() == "old"
    assert (tmp_path / "pictures" / "mine.png").read_text() == "old"
    assert (tmp_path / "report.html").read_text("utf-8") != "old"


def test_what_was_finished_before_a_stop_is_kept(world, tmp_path, monkeypatch):
    path, _ = world

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(bg, "sample", stop)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["analyze", str(path), "-k", "2", "--out", str(tmp_path), "--quiet"])
    assert stopped.value.code == 130
    tree = az.from_netcdf(tmp_path / "analysis.nc").load()
    tree.close()
    assert bg.point_estimate(tree["map"]).n_components == 2
    assert bg.point_estimate(tree["mle"]).n_components == 2
    assert {file.stem for file in (tmp_path / "pictures").iterdir()} == {"em-mle", "em-map"}


@pytest.fixture
def stopped(world, unpictured, monkeypatch):
    """Let `sample` return what an interrupt left of the exact sample: a few draws, and a warning.

    Returns a function that sets how many draws are left.
    """
    path, posterior = world

    def leave(n_draws):
        left = posterior.isel(draw=slice(n_draws), missing_dims="ignore")
        left.attrs["partial"] = 1

        def sample(*_, **__):
            warnings.warn("the run was interrupted", ConvergenceWarning, stacklevel=2)
            return left

        monkeypatch.setattr(bg, "sample", sample)
        return path

    return leave


@pytest.mark.filterwarnings("default::bayes_gmm.errors.ConvergenceWarning")
def test_an_interrupted_posterior_is_taken_to_the_report_and_marked(stopped, tmp_path):
    n_draws = 3
    path = stopped(n_draws)
    done = run("analyze", path, "-k", 2, "--out", tmp_path, "--draws", 60)
    assert done.exit_code == cli.INTERRUPTED == 130
    left = f"the posterior has {n_draws} of 60 draws of each chain"
    assert f"Interrupted: {left}" in done.stdout
    assert f"posterior:             interrupted: {left}" in done.stderr
    assert "warning: the run was interrupted" in done.stderr
    page = (tmp_path / "report.html").read_text("utf-8")
    assert f"{n_draws} draws of each of 4 chains made by then" in page
    assert page.index("Interrupted") < page.index("Sampling") < page.index("<main>")
    tree = az.from_netcdf(tmp_path / "analysis.nc").load()
    tree.close()
    assert (tree.attrs["partial"], tree["posterior"].sizes["draw"]) == (1, n_draws)
    assert "skipped: posterior has" in done.stderr


@pytest.mark.validate
def test_ctrl_c_keeps_what_was_drawn(tmp_path):
    path = tmp_path / "large.csv"
    run("simulate", "-n", 200_000, "-k", 3, "-d", 3, "--separation", 2, "--out", path)
    # A shell may have its background jobs ignore Ctrl-C.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from bayes_gmm.cli import main; main()"
    command = [sys.executable, "-c", code, "analyze", path, "--columns", "x0,x1,x2"]
    command += ["-k", "3", "--out", tmp_path / "out", "--tune", "5", "--draws", "100000"]
    errors = tmp_path / "errors.txt"
    with errors.open("w") as log:
        running = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=log)
        saved = tmp_path / "out" / "pictures" / "em-map.png"
        while not saved.exists() and running.poll() is None:
            time.sleep(0.1)
        time.sleep(20)
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=400)[0].decode()
    print(errors.read_text(), said)
    assert running.returncode == cli.INTERRUPTED
    assert "Interrupted: the posterior has" in said
    tree = az.from_netcdf(tmp_path / "out" / "analysis.nc").load()
    tree.close()
    assert tree.attrs["partial"] == 1
    assert tree["posterior"].sizes["draw"] > 0
    assert "Interrupted" in (tmp_path / "out" / "report.html").read_text("utf-8")
    assert len(pd.read_csv(tmp_path / "out" / "clusters.csv")) == 200_000


def test_analyze_is_silent_if_asked_and_writes_clusters_with_the_rows(quick, tmp_path):
    path, posterior, _ = quick
    done = run("analyze", path, "-k", 2, "--out", tmp_path, "--ci-prob", 0.8, "--quiet")
    assert done.output == ""
    table = pd.read_csv(tmp_path / "clusters.csv", index_col="row")
    pd.testing.assert_frame_equal(table[NAMES], pd.read_csv(path), check_names=False)
    assert list(table.columns) == [
        *NAMES,
        *("cluster", "probability", "lower", "upper", "entropy"),
    ]
    expected = bg.predict(posterior, ci_prob=0.8)
    np.testing.assert_array_equal(table["cluster"], expected["label"])
    of_label = {
        "probability": "responsibilities",
        "lower": "responsibilities_lower",
        "upper": "responsibilities_upper",
    }
    for name, source in of_label.items():
        values = expected[source].to_numpy()[np.arange(100), table["cluster"]]
        np.testing.assert_allclose(table[name], values, atol=1e-6)
    np.testing.assert_allclose(table["entropy"], expected["entropy"], atol=1e-6)


def test_columns_and_rows_of_the_user_keep_their_names(world, tmp_path):
    _, posterior = world
    rows = posterior["observed_data/x"].to_numpy()
    taken = pd.DataFrame(rows, columns=["cluster", "row"], index=[f"r{n}" for n in range(100)])
    pipeline = Pipeline(X=taken, n_components=2, folder=tmp_path, title="")
    pipeline.results["posterior"] = posterior
    pipeline.clusters()
    table = pd.read_csv(tmp_path / "clusters.csv")
    assert list(table.columns[:4]) == ["row_", "cluster", "row", "cluster_"]
    assert list(table["row_"]) == list(taken.index)
    np.testing.assert_allclose(table["cluster"], taken["cluster"])


def test_with_many_rows_draws_are_left_out_of_the_intervals(world, tmp_path, monkeypatch):
    _, posterior = world
    frame = pd.DataFrame(posterior["observed_data/x"].to_numpy(), columns=NAMES)
    pipeline = Pipeline(X=frame, n_components=2, folder=tmp_path, title="")
    pipeline.results["posterior"] = posterior
    assert pipeline._thinned()["posterior"].sizes["draw"] == 60
    monkeypatch.setattr("bayes_gmm.pipeline.MOST_INTERVALS", 120 * 200)
    thinned = pipeline._thinned()
    assert (thinned["posterior"].sizes["draw"], thinned["observed_data"].sizes["obs_id"]) == (
        30,
        100,
    )


def test_columns_engine_and_names_of_components_are_as_asked(quick, tmp_path):
    path, _, asked = quick
    wide = tmp_path / "wide.csv"
    pd.read_csv(path).assign(who="me", **{"a, b": 1.0}).to_csv(wide, index=False)
    options = ["--columns", "eruptions, waiting", "--engine", "nuts"]
    options += ["--relabel", "ordering:means[waiting]", "--quiet"]
    run("analyze", wide, "-k", 2, "--out", tmp_path, *options)
    assert list(asked[0][0].columns) == NAMES
    assert asked[0][2]["engine"] == "nuts"
    tree = az.from_netcdf(tmp_path / "analysis.nc").load()
    tree.close()
    assert tree.attrs["relabelling"] == "ordering by means[waiting]"
    means = tree["posterior/means"].sel(feature="waiting")
    assert (means.diff("cluster") > 0).all()


@pytest.mark.parametrize("wrong", ["names", "ordering", "ecr:weights", "ordering:means[wating]"])
def test_names_that_cannot_be_given_are_refused_at_once(quick, capsys, tmp_path, wrong):
    path, _, asked = quick
    said = fail(capsys, "analyze", path, "-k", 2, "--out", tmp_path / "o", "--relabel", wrong)
    assert "ordering:weights, ordering:means[eruptions]" in said or "no feature" in said
    assert not asked
    assert not (tmp_path / "o").exists()


def test_more_rows_than_a_result_keeps_are_analyzed_all_the_same(capsys, tmp_path, monkeypatch):
    for place in ("bayes_gmm.results.tree", "bayes_gmm.pipeline"):
        monkeypatch.setattr(f"{place}.MOST_ROWS", 200)
    options = ["-k", 2, "--out", tmp_path, "--draws", 100, "--tune", 50, "--quiet"]
    said = fail(capsys, "analyze", "faithful", *options, "--relabel", "stephens")
    assert "with more than 200 rows does not keep them" in said
    run("analyze", "faithful", *options)
    tree = az.from_netcdf(tmp_path / "analysis.nc").load()
    tree.close()
    assert "observed_data" not in tree.children
    assert len(pd.read_csv(tmp_path / "clusters.csv")) == 272
    assert (tmp_path / "report.html").exists()


def test_every_engine_can_be_asked_for():
    assert get_args(cli.Engine) == ("auto", "gibbs", "nuts", "pymc", "vb")
    assert set(get_args(cli.Engine)) == set(ENGINES)
    assert run("analyze", "faithful", "-k", 2, "--out", "o", "--engine", "em").exit_code == 2


def test_a_likelihood_without_a_peak_leaves_the_rest(quick, tmp_path, monkeypatch):
    path, _, _ = quick
    fit = bg.fit

    def without_prior(X, n_components, *, prior=None, **options):
        if prior is None:
            raise CollapseError("all starts collapsed")
        return fit(X, n_components, prior=prior, **options)

    monkeypatch.setattr(bg, "fit", without_prior)
    done = run("analyze", path, "-k", 2, "--out", tmp_path)
    assert "skipped: all starts collapsed" in done.stderr
    assert "MAP against the posterior" in done.stdout
    assert not (tmp_path / "pictures" / "em-mle.png").exists()
    assert (tmp_path / "report.html").exists()


def test_rows_left_out_are_counted(quick, tmp_path, capsys):
    path, _, asked = quick
    gaps = tmp_path / "gaps.csv"
    frame = pd.read_csv(path)
    frame.loc[[3, 7], "waiting"] = np.nan
    frame.to_csv(gaps, index=False)
    assert "--drop-missing" in fail(capsys, "analyze", gaps, "-k", 2, "--out", tmp_path / "out")
    asked.clear()
    # The exact sample belongs to all rows, so that the comparison stops the run.
    with pytest.raises(SystemExit):
        cli.main(["analyze", str(gaps), "-k", "2", "--out", str(tmp_path), "--drop-missing"])
    assert "2 incomplete rows left out" in capsys.readouterr().err
    assert len(asked[0][0]) == 98


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing", "-k", "2"], "neither a file nor a built-in data set"),
        (["nothing.csv", "-k", "2"], "nothing.csv: no such file"),
        (["iris", "-k", "0"], "error: -k must be a whole number >= 1"),
        (["faithful", "-k", "2", "--columns", "wating"], "did you mean 'waiting'"),
        (["iris", "-k", "3", "--columns", "species"], "column 'species' holds text"),
        (["penguins", "-k", "3"], "--drop-missing"),
    ],
)
def test_wrong_input_ends_in_one_line(capsys, tmp_path, arguments, said):
    assert said in fail(capsys, "analyze", *arguments, "--out", tmp_path / "out")


def test_priors_and_structures_are_named_in_the_help_and_others_refused(capsys, tmp_path):
    shown = " ".join(run("analyze", "--help").stdout.split())
    for name in ("default|independent|hierarchical", *CODES):
        assert name in shown
    base = ["analyze", "faithful", "-k", 2, "--out", tmp_path / "o"]
    done = run(*base, "--prior", "vague")
    assert done.exit_code == 2
    assert "'vague'" in done.output
    assert "error: --covariance is 'EEX'" in fail(capsys, *base, "--covariance", "EEX")
    assert "error: --starts must be a whole number >= 1" in fail(capsys, *base, "--starts", 0)
    refused = fail(capsys, *base, "--prior", "independent", "--engine", "gibbs")
    assert "error: --engine is gibbs, which needs a conjugate prior" in refused
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(("code", "of_draws"), [("EEE", "EEE"), ("VEV", "VVV")])
def test_estimates_have_the_structure_that_was_asked_for_and_two_models_are_told_apart(
    quick, tmp_path, code, of_draws
):
    path, _, asked = quick
    options = ["--covariance", code, "--starts", 4]
    done = run("analyze", path, "-k", 2, "--out", tmp_path, *options)
    tree = az.from_netcdf(tmp_path / "analysis.nc").load()
    tree.close()
    for name in ("mle", "map"):
        assert tree[name].attrs["covariance"] == code
        assert tree[name]["optimizer_result"].sizes["start"] == 4
    assert asked[0][2]["covariance"] == of_draws
    said, (line,) = (
        " ".join(done.stdout.split()),
        [one for one in done.stderr.splitlines() if one.startswith("posterior:")],
    )
    # The draws of this test are unconstrained, whatever they were asked to be.
    assert "the EM estimates are of a different model" in line
    assert f"MLE and MAP: covariance structure {code}, while the draws have VVV" in said


def test_under_a_prior_that_is_not_conjugate_there_is_no_map(quick, tmp_path):
    path, _, asked = quick
    done = run("analyze", path, "-k", 2, "--out", tmp_path, "--prior", "independent")
    assert "skipped: EM needs a conjugate prior, and the prior independent is not" in done.stderr
    assert isinstance(asked[0][2]["prior"], bg.IndependentPrior)
    assert "MLE against the posterior" in done.stdout
    tree = az.from_netcdf(tmp_path / "analysis.nc").load()
    tree.close()
    assert "map" not in tree.children


def test_without_any_estimate_the_rest_is_analyzed(quick, tmp_path, monkeypatch):
    path, _, asked = quick

    def collapse(*_, **__):
        raise CollapseError("all starts collapsed")

    monkeypatch.setattr(bg, "fit", collapse)
    done = run("analyze", path, "-k", 2, "--out", tmp_path, "--prior", "hierarchical")
    assert isinstance(asked[0][2]["prior"], bg.HierarchicalPrior)
    assert "skipped: there is no point estimate to compare" in done.stderr
    assert "Sampling: " in done.stdout


def test_a_file_in_the_place_of_the_folder_is_named(capsys, tmp_path):
    (tmp_path / "out").write_text("mine")
    said = fail(capsys, "analyze", "faithful", "-k", 2, "--out", tmp_path / "out")
    assert "this folder can't be created" in said
    assert (tmp_path / "out").read_text() == "mine"


def test_a_table_with_labels_says_how_to_choose_columns(capsys, tmp_path):
    path = tmp_path / "iris.csv"
    run("datasets", "iris", "--out", path)
    said = fail(capsys, "analyze", path, "-k", 3, "--out", tmp_path / "out")
    assert "column 'species' holds text" in said
    assert "--columns sepal_length,sepal_width,petal_length,petal_width" in said
    assert not (tmp_path / "out").exists()


def test_a_usage_error_has_exit_code_2():
    for arguments in (["analyze", "faithful"], ["frobnicate"], ["analyze", "iris", "-k", "x"]):
        done = run(*arguments)
        assert done.exit_code == 2
        assert "Traceback" not in done.output


def test_data_sets_are_listed_with_rows_columns_and_units():
    listed = run("datasets").stdout
    for name in datasets.names():
        one = datasets.describe(name)
        assert f"{one.title}, {one.rows} rows" in listed
    assert "eruptions [min], waiting [min]" in listed
    assert "344 rows (2 incomplete)" in listed


def test_a_data_set_is_told_about_and_exported(tmp_path, capsys):
    assert run("datasets", "galaxies").stdout == f"{datasets.describe('galaxies')}\n"
    path = tmp_path / "penguins.csv"
    run("datasets", "penguins", "--out", path)
    exported = pd.read_csv(path)
    pd.testing.assert_frame_equal(exported, datasets.load("penguins", labels=True))
    assert "did you mean 'faithful'" in fail(capsys, "datasets", "faithfull")
    assert "--out needs a name" in fail(capsys, "datasets", "--out", path)


def test_simulated_data_have_labels_that_are_no_measurements(tmp_path, capsys):
    path = tmp_path / "made.csv"
    done = run("simulate", "-n", 200, "-k", 3, "-d", 2, "--seed", 4, "--out", path)
    made = pd.read_csv(path)
    assert list(made.columns) == ["x0", "x1", "z"]
    assert len(made) == 200
    assert set(made["z"]) == {"a", "b", "c"}
    assert f"bayes-gmm analyze {path} -k 3 --columns x0,x1" in done.stdout
    assert "column 'z' holds text" in fail(capsys, "analyze", path, "-k", 3, "--out", tmp_path)
    again = tmp_path / "again.csv"
    run("simulate", "-n", 200, "-k", 3, "-d", 2, "--seed", 4, "--out", again)
    assert again.read_bytes() == path.read_bytes()


def test_data_are_simulated_from_a_saved_result(world, tmp_path, capsys):
    path, posterior = world
    file, made = bg.save(posterior, tmp_path / "posterior.nc"), tmp_path / "made.csv"
    done = run("simulate", "--from", file, "-n", 300, "--seed", 5, "--out", made)
    expected = bg.simulate(bg.point_estimate(posterior), 300, seed=5)
    frame = pd.read_csv(made)
    assert list(frame.columns) == [*NAMES, "z"]
    np.testing.assert_allclose(frame[NAMES], expected["x"])
    assert list(frame["z"]) == ["ab"[z] for z in expected["z"].to_numpy()]
    assert f"bayes-gmm analyze {made} -k 2 --columns eruptions,waiting" in done.stdout
    mle = bg.fit(pd.read_csv(path), 2, n_starts=3, seed=0)
    again = bg.save({"mle": mle}, tmp_path / "mle.nc")
    run("simulate", "--from", again, "-n", 10, "--out", made)
    np.testing.assert_allclose(
        pd.read_csv(made)[NAMES], bg.simulate(bg.point_estimate(mle), 10, seed=0)["x"]
    )
    assert "omit -k" in fail(capsys, "simulate", "--from", file, "-k", 2, "--out", made)
    assert "no such file" in fail(capsys, "simulate", "--from", "no.nc", "--out", made)
    assert "no NetCDF file" in fail(capsys, "simulate", "--from", path, "--out", made)


def test_em_finds_what_was_simulated(tmp_path):
    path = tmp_path / "made.csv"
    run("simulate", "-n", 600, "-k", 2, "-d", 2, "--separation", 8, "--out", path)
    made = pd.read_csv(path)
    fitted = bg.point_estimate(bg.fit(made[["x0", "x1"]], 2, seed=0))
    for k, (_, rows) in enumerate(made.groupby("z")):
        assert fitted.means[k] == pytest.approx(rows[["x0", "x1"]].mean().to_numpy(), abs=0.05)


def test_more_clusters_than_letters_are_named():
    assert [simulation.letters(label) for label in (0, 25, 26, 51, 52)] == [
        "a",
        "z",
        "aa",
        "az",
        "ba",
    ]


def test_a_place_that_cannot_be_written_is_named(capsys, tmp_path):
    said = fail(capsys, "simulate", "--out", tmp_path / "no" / "made.csv")
    assert "no" in said
    assert "n must be" in fail(capsys, "simulate", "-n", 0, "--out", tmp_path / "made.csv")


def test_select_prints_the_grid_and_draws_it(tmp_path):
    out = tmp_path / "bic.png"
    printed = run("select", "faithful", "--most", 3, "--covariance", "EEE,VVV", "--out", out).stdout
    assert "Best by BIC: EEE with 3 components" in printed
    assert "smaller is better" in printed
    assert f"Written: {out}" in printed
    assert out.read_bytes().startswith(b"\x89PNG")


def test_select_ends_with_a_line_that_analyzes_the_best(
    sampled, unpictured, tmp_path, monkeypatch, capsys
):
    path, _, asked = sampled
    table = pd.read_csv(path).assign(**{"the other one": "text"})
    table.loc[[3, 50], "waiting"] = np.nan
    path = tmp_path / "two words.csv"
    table.to_csv(path, index=False)
    options = ["--most", 3, "--covariance", "EEE,VVI", "--starts", 4, "--seed", 7]
    options += ["--columns", "waiting, eruptions", "--drop-missing", "--criterion", "icl"]
    last = run("select", path, *options).stdout.splitlines()[-1]
    assert last.startswith("Next: bayes-gmm analyze ")
    _, program, *line = shlex.split(last)
    assert program == "bayes-gmm"
    found = bg.select(
        table[["waiting", "eruptions"]].dropna(),
        range(1, 4),
        covariance=["EEE", "VVI"],
        n_starts=4,
        criterion="icl",
        seed=7,
        progressbar=False,
    ).best
    asked.clear()
    monkeypatch.chdir(tmp_path)
    fits = []
    fit = bg.fit
    monkeypatch.setattr(bg, "fit", lambda *a, **k: fits.append(fit(*a, **k)) or fits[-1])
    # The exact sample is of other columns and rows, so that the comparison stops the run.
    with pytest.raises(SystemExit):
        cli.main(line)
    assert "fit both to the same columns" in capsys.readouterr().err
    X, n_components, settings = asked[0]
    assert list(X.columns) == ["waiting", "eruptions"]
    assert len(X) == 98
    assert (n_components, settings["seed"]) == (found.attrs["n_components"], 7)
    best, again = (tree["point_estimate"].to_dataset() for tree in (found, fits[0]))
    assert fits[0].attrs["covariance"] == found.attrs["covariance"]
    np.testing.assert_array_equal(best["means"], again["means"])
    assert (tmp_path / line[line.index("--out") + 1] / "analysis.nc").exists()


def test_the_line_of_select_runs_as_it_is_printed(quick, tmp_path, monkeypatch):
    _, posterior, _ = quick
    monkeypatch.chdir(tmp_path)
    rows = pd.DataFrame(posterior["observed_data/x"].to_numpy(), columns=NAMES)
    rows.to_csv("geyser.csv", index=False)
    printed = run("select", "geyser.csv", "--most", 3, "--covariance", "VVV", "--starts", 3).stdout
    line = printed.splitlines()[-1]
    assert "analyze geyser.csv -k 2 --covariance VVV --starts 3 --out geyser-2-VVV" in line
    done = run(*shlex.split(line)[2:])
    assert done.exit_code == 0
    assert "Sampling: " in done.stdout
    assert (tmp_path / "geyser-2-VVV" / "report.html").exists()


def test_how_many_prints_answers_draws_them_and_ends_with_a_command(tmp_path):
    out = tmp_path / "answers.png"
    options = ["--max", 3, "--criteria", "bic,icl,modes", "--covariance", "EEE", "--out", out]
    printed = run("how-many", "faithful", *options).stdout
    assert "BIC: 3 (2 is 10.9 behind)." in printed
    assert "The criteria differ: 2 by ICL and the modes; 3 by BIC." in printed
    assert f"Written: {out}" in printed
    assert out.read_bytes().startswith(b"\x89PNG")
    last = printed.splitlines()[-1]
    assert last.startswith("Next: bayes-gmm analyze faithful -k 3 --covariance EEE --out")


def test_how_many_refuses_what_it_does_not_know(capsys):
    assert "--criteria has 'dic'" in fail(capsys, "how-many", "faithful", "--criteria", "dic")
    assert "--bootstrap must be" in fail(capsys, "how-many", "faithful", "--bootstrap", "5")
    assert "--most is 0" in fail(capsys, "how-many", "faithful", "--most", "0")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--most", "0"], "--most is 0"),
        (["--covariance", "EEX"], "covariance is 'EEX'"),
        (["--criterion", "dic"], "criterion is 'dic'"),
    ],
)
def test_select_refuses_what_it_does_not_know(capsys, arguments, said):
    assert said in fail(capsys, "select", "faithful", *arguments)
