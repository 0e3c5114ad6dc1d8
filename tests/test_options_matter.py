"""Every option of a command and every argument of the estimator changes what it should.

As in `test_arguments_matter`: a table says what another value changes; nothing else may change,
and an option without a row fails. What takes long is not run here: a command is held to what it
asks of the verbs, which have a table of their own.
"""

import inspect
from collections.abc import Mapping, Set
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import typer
from matplotlib.figure import Figure
from results.synthetic import two_components
from typer.testing import CliRunner

import bayes_gmm as bg
from bayes_gmm import cli, pipeline
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.sklearn import GaussianMixture

NAMES = ["length", "width"]
NONE: Mapping[str, Any] = MappingProxyType({})


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A table, another one, and one with a gap; a saved result."""
    folder = tmp_path_factory.mktemp("data")
    x, _, _, posterior = two_components(3, n=50, n_chains=2, n_draws=30, names=NAMES)
    frame = pd.DataFrame(x, columns=NAMES)
    frame.to_csv(folder / "one.csv", index=False)
    frame.iloc[:40].to_csv(folder / "other.csv", index=False)
    frame.mask(frame.index.to_numpy()[:, None] == [[3, -1]]).to_csv(
        folder / "gaps.csv", index=False
    )
    bg.save(posterior, folder / "saved.nc")
    return folder


class Option(NamedTuple):
    """Other arguments, the views that they change, and arguments on both sides."""

    given: tuple[Any, ...]
    changes: Set[str]
    beside: tuple[Any, ...] = ()
    base: tuple[Any, ...] | None = None  # in the place of the command's own


def run(*arguments):
    done = CliRunner().invoke(cli.app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def changed(before: dict, after: dict) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


ANALYZE = {
    "data": Option(("other.csv", "-k", 2, "--out", "o"), {"rows", "title"}, base=()),
    "k": Option(("-k", 3), {"n_components", "title"}),
    "out": Option(("--out", "elsewhere"), {"folder"}),
    "columns": Option(("--columns", "width,length"), {"columns", "rows"}),
    "drop_missing": Option((), {"refused", "rows", "title", "columns"}),
    "covariance": Option(("--covariance", "EEE"), {"covariance"}),
    "starts": Option(("--starts", 7), {"n_starts"}),
    "seed": Option(("--seed", 5), {"seed"}),
    "draws": Option(("--draws", 7), {"draws"}),
    "tune": Option(("--tune", 8), {"tune"}),
    "chains": Option(("--chains", 3), {"chains"}),
    "cores": Option(("--cores", 1), {"cores"}),
    "engine": Option(("--engine", "nuts"), {"engine"}),
    "relabel": Option(("--relabel", "ecr"), {"relabel"}),
    "prior": Option(("--prior", "hierarchical"), {"prior"}),
    "ci_prob": Option(("--ci-prob", 0.5), {"ci_prob"}),
    "quiet": Option(("--quiet",), {"printed"}),
}


@pytest.fixture
def analyze(files, monkeypatch):
    """Run `analyze` up to the pipeline, and see what that is asked for."""

    def answer(*arguments):
        asked = {}

        def planned(**settings):
            asked.update(settings)
            verdict = SimpleNamespace(verdict="so", reasons=())
            results = {"comparison": "table", "diagnosis": verdict, "checks": verdict}
            return SimpleNamespace(stages=[], results=results, written=[], interrupted="")

        monkeypatch.setattr(pipeline, "Pipeline", planned)
        arguments = [files / one if str(one).endswith(".csv") else one for one in arguments]
        printed = run("analyze", *arguments)
        frame = asked.pop("X")
        asked["columns"], asked["rows"] = list(frame.columns), frame.to_numpy().tolist()
        return {**asked, "printed": printed}

    return answer


@pytest.mark.parametrize("name", [name for name in ANALYZE if name != "drop_missing"])
def test_an_option_of_analyze_changes_what_the_pipeline_is_asked_for(analyze, name):
    option = ANALYZE[name]
    base = ("one.csv", "-k", 2, "--out", "o")
    before = analyze(*base)
    after = analyze(*(option.given if option.base is not None else (*base, *option.given)))
    assert changed(before, after) == option.changes
    assert before["prior"] == "default"
    assert before["seed"] == 0


def test_analyze_leaves_out_rows_with_gaps_only_if_told(analyze, files):
    base = ("gaps.csv", "-k", 2, "--out", "o")
    with pytest.raises(bg.InputError, match="drop-missing"):
        analyze(*base)
    after = analyze(*base, "--drop-missing")
    assert after["title"].endswith("1 incomplete row left out")
    expected = pd.read_csv(files / "one.csv").drop(index=3).to_numpy()
    np.testing.assert_array_equal(after["rows"], expected)


SELECT = {
    "data": Option(("other.csv", "--most", 2, "--covariance", "EEE"), {"rows", "printed"}, base=()),
    "most": Option(("--most", 3), {"n_components"}),
    "covariance": Option(("--covariance", "EEE,VVV"), {"covariance"}),
    "criterion": Option(("--criterion", "aic"), {"criterion"}),
    "prior": Option(("--prior", "default"), {"prior"}),
    "starts": Option(("--starts", 9), {"n_starts", "printed"}),
    "out": Option(("--out", "picture.png"), {"printed", "drawn"}),
    "columns": Option(("--columns", "width"), {"rows", "printed"}),
    "seed": Option(("--seed", 4), {"seed", "printed"}),
}


@pytest.mark.parametrize("name", SELECT)
def test_an_option_of_select_changes_what_is_asked_for(files, monkeypatch, tmp_path, name):
    found = bg.select(pd.read_csv(files / "one.csv"), [1], covariance="EEE", progressbar=False)

    def answer(*arguments):
        asked, drawn = {}, []

        def select(X, n_components, **options):
            asked.update(options, rows=X.to_numpy().tolist(), n_components=list(n_components))
            return found

        def draw(what):
            drawn.append(what is found)
            return Figure()

        monkeypatch.setattr(bg, "select", select)
        monkeypatch.setattr(bg.plots, "selection", draw)
        places = {".csv": files, ".png": tmp_path}
        placed = [
            places.get(str(one)[-4:], "") / one if str(one)[-4:] in places else one
            for one in arguments
        ]
        printed = run("select", *placed)
        return {**asked, "printed": printed, "drawn": drawn}

    option = SELECT[name]
    base = ("one.csv", "--most", 2, "--covariance", "EEE")
    before = answer(*base)
    after = answer(*(option.given if option.base is not None else (*base, *option.given)))
    assert changed(before, after) == option.changes
    assert (before["prior"], before["n_starts"]) == (None, 30)
    assert before["n_components"] == [1, 2]
    assert before["criterion"] == "bic"
    assert str(found) in after["printed"]


HOW_MANY = {
    "data": Option(("other.csv", "--most", 2), {"rows", "printed"}, base=()),
    "most": Option(("--max", 3), {"n_components"}),
    "criteria": Option(("--criteria", "bic,icl"), {"criteria"}),
    "covariance": Option(("--covariance", "EEE"), {"covariance"}),
    "prior": Option(("--prior", "default"), {"prior"}),
    "starts": Option(("--starts", 9), {"n_starts", "printed"}),
    "bootstrap": Option(("--bootstrap", 29), {"n_bootstrap"}),
    "draws": Option(("--draws", 70), {"draws", "printed"}),
    "cores": Option(("--cores", 1), {"cores", "printed"}),
    "out": Option(("--out", "picture.png"), {"printed", "drawn"}),
    "columns": Option(("--columns", "width"), {"rows", "printed"}),
    "seed": Option(("--seed", 4), {"seed", "printed"}),
}


@pytest.mark.parametrize("name", HOW_MANY)
def test_an_option_of_how_many_changes_what_is_asked_for(files, monkeypatch, tmp_path, name):
    rows = pd.read_csv(files / "one.csv")
    found = bg.how_many(rows, [1], criteria="bic", covariance="EEE", progressbar=False)

    def answer(*arguments):
        asked, drawn = {}, []

        def how_many(X, n_components, **options):
            asked.update(options, rows=X.to_numpy().tolist(), n_components=list(n_components))
            return found

        def draw(what):
            drawn.append(what is found)
            return Figure()

        monkeypatch.setattr(bg, "how_many", how_many)
        monkeypatch.setattr(bg.plots, "how_many", draw)
        places = {".csv": files, ".png": tmp_path}
        placed = [
            places.get(str(one)[-4:], "") / one if str(one)[-4:] in places else one
            for one in arguments
        ]
        printed = run("how-many", *placed)
        return {**asked, "printed": printed, "drawn": drawn}

    option = HOW_MANY[name]
    base = ("one.csv", "--most", 2)
    before = answer(*base)
    after = answer(*(option.given if option.base is not None else (*base, *option.given)))
    assert changed(before, after) == option.changes
    assert (before["criteria"], before["prior"], before["n_starts"]) == ("all", None, 30)
    assert (before["n_bootstrap"], before["draws"], before["n_components"]) == (99, 1000, [1, 2])
    assert str(found) in after["printed"]


def test_how_many_leaves_out_rows_with_gaps_only_if_told(files):
    base = ("how-many", files / "gaps.csv", "--most", 1, "--criteria", "bic")
    with pytest.raises(bg.InputError, match="drop-missing"):
        run(*base)
    assert "1 incomplete rows left out" in run(*base, "--drop-missing")


def test_select_leaves_out_rows_with_gaps_only_if_told(files):
    base = ("select", files / "gaps.csv", "--most", 1, "--covariance", "EEE")
    with pytest.raises(bg.InputError, match="drop-missing"):
        run(*base)
    assert "1 incomplete rows left out" in run(*base, "--drop-missing")


READING = {
    "sep": (("--sep", ";"), {"sep": ";"}),
    "decimal": (("--decimal", ","), {"decimal": ","}),
    "encoding": (("--encoding", "latin-1"), {"encoding": "latin-1"}),
    "no_header": (("--no-header",), {"header": False}),
    "na": (("--na", "?", "--na", "-"), {"na": ["?", "-"]}),
    "labels": (("--labels", "length"), {"labels": "length"}),
}


@pytest.mark.parametrize("command", ["analyze", "select", "how-many"])
@pytest.mark.parametrize("name", READING)
def test_what_is_said_of_a_file_reaches_its_reader(files, monkeypatch, tmp_path, command, name):
    asked = {}

    def read(path, **options):
        asked.update(options)
        raise bg.InputError("enough")

    monkeypatch.setattr("bayes_gmm.data.files.read", read)
    base = [command, files / "one.csv", *(["-k", 2, "--out", tmp_path] * (command == "analyze"))]
    with pytest.raises(bg.InputError, match="enough"):
        run(*base)
    plain = {"sep": None, "decimal": None, "encoding": None, "header": True}
    plain |= {"na": (), "labels": None}
    assert asked == {"columns": None, "drop_missing": False, **plain}
    given, expected = READING[name]
    with pytest.raises(bg.InputError, match="enough"):
        run(*base, *given)
    assert asked == {"columns": None, "drop_missing": False, **plain, **expected}


SIMULATE = {
    "out": Option(("--out", "two.csv"), {"path"}),
    "n": Option(("-n", 30), {"x", "z", "n"}),
    "source": Option(("--from", "saved.nc"), {"x", "z", "columns", "mixture"}),
    "k": Option(("-k", 2), {"x", "z", "mixture"}),
    "d": Option(("-d", 3), {"x", "z", "columns", "mixture"}),
    "separation": Option(("--separation", 8), {"x", "mixture"}),
    "seed": Option(("--seed", 1), {"x", "z", "mixture"}),
}


@pytest.mark.parametrize("name", SIMULATE)
def test_an_option_of_simulate_changes_the_data(files, tmp_path, name):
    def answer(*arguments):
        placed = [files / one if str(one).endswith(".nc") else one for one in arguments]
        placed = [tmp_path / one if str(one).endswith(".csv") else one for one in placed]
        printed = run("simulate", *placed)
        (path,) = tmp_path.iterdir()
        table = pd.read_csv(path)
        path.unlink()
        return {
            "path": path.name,
            "n": len(table),
            "columns": list(table.columns),
            "x": table.drop(columns="z").to_numpy().tolist(),
            "z": table["z"].tolist(),
            "mixture": printed.partition("Written")[0],
        }

    base = ("--out", "one.csv", "-n", 20)
    after = answer(*base, *SIMULATE[name].given)
    found = changed(answer(*base), after)
    # How far apart means are does not change labels by itself, but the draws go on from there.
    assert SIMULATE[name].changes - {"z"} <= found <= SIMULATE[name].changes | {"z"}
    assert set(after["z"]) <= set("abc")


def test_rows_of_a_saved_mixture_depend_on_the_seed(files, tmp_path):
    tables = []
    for seed in (0, 1):
        run("simulate", "--from", files / "saved.nc", "--seed", seed, "--out", tmp_path / "x.csv")
        tables.append(pd.read_csv(tmp_path / "x.csv"))
    assert (tables[0][NAMES] != tables[1][NAMES]).to_numpy().all()


def test_an_option_of_datasets_changes_what_is_said_or_written(tmp_path):
    listed, told = run("datasets"), run("datasets", "iris")
    assert listed != told == f"{bg.datasets.describe('iris')}\n"
    run("datasets", "iris", "--out", tmp_path / "iris.csv")
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "iris.csv"), bg.datasets.load("iris", labels=True)
    )
    assert set(bg.datasets.load("iris").columns) < set(
        bg.datasets.load("iris", labels=True).columns
    )


def test_every_option_is_in_a_table():
    command = typer.main.get_command(cli.app)
    listed = {
        "analyze": {*ANALYZE, *READING},
        "select": {*SELECT, *READING, "drop_missing"},
        "how-many": {*HOW_MANY, *READING, "drop_missing"},
        "simulate": set(SIMULATE),
        "datasets": {"name", "out"},
    }
    assert listed == {
        name: {option.name for option in one.params} for name, one in command.commands.items()
    }


def test_what_the_pipeline_is_told_reaches_every_verb(files, tmp_path, monkeypatch):
    x = pd.read_csv(files / "one.csv")
    _, _, _, posterior = two_components(3, n=50, n_chains=2, n_draws=30, names=NAMES)
    asked = {}

    def recorded(name, verb):
        def call(*given, **options):
            arguments = [one for one in given if isinstance(one, int | str)]
            asked.setdefault(name, []).append((*arguments, options))
            return verb(*given, **options)

        return call

    drawn = {
        name: recorded(f"plots.{name}", lambda *_, **__: Figure(figsize=(1, 1)))
        for name in ("em_trajectory", "mixture", "ranks", "comparison", "checks")
    }
    for name in ("fit", "compare", "predict", "relabel"):
        monkeypatch.setattr(bg, name, recorded(name, getattr(bg, name)))
    monkeypatch.setattr(bg, "plots", SimpleNamespace(**drawn))
    monkeypatch.setattr(bg, "sample", recorded("sample", lambda *_, **__: posterior))
    check = bg.check
    monkeypatch.setattr(bg, "check", recorded("check", lambda p, X, seed: check(p, X, draws=20)))
    monkeypatch.setattr(
        bg, "report", recorded("report", lambda results, path, title: path.write_text(title))
    )
    told = {
        "prior": ConjugatePrior.default(x.to_numpy(), 2),
        "engine": "nuts",
        "seed": 3,
        "draws": 30,
        "tune": 9,
        "chains": 2,
        "cores": 1,
        "progressbar": True,
    }
    made = pipeline.Pipeline(
        X=x,
        n_components=2,
        folder=tmp_path,
        title="A title",
        relabel="ordering:weights",
        covariance="VVI",
        n_starts=4,
        ci_prob=0.7,
        **told,
    )
    for stage in made.stages:
        if stage.title not in ("prior sensitivity", "leave-one-out", "diagnosis"):
            stage.run()
    search = {"covariance": "VVI", "n_starts": 4, "seed": 3}
    assert asked["fit"] == [(2, search), (2, {"prior": told["prior"], **search})]
    # NUTS draws unconstrained covariances alone.
    assert asked["sample"] == [(2, {**told, "covariance": "VVV"})]
    assert asked["relabel"] == [({"method": "ordering", "by": "weights"},)]
    interval = {"ci_prob": 0.7}
    for name in ("compare", "plots.comparison", "predict"):
        assert asked[name] == [(interval,)]
    assert asked["check"] == [({"seed": 3},)]
    assert asked["report"] == [({"title": "A title"},)]


def rows(seed, n=60):
    rng = np.random.default_rng(seed)
    z = rng.integers(0, 3, n)
    return np.array([[0.0, 0.0], [3.0, 1.0], [0.0, 4.0]])[z] + rng.normal(size=(n, 2))


X, OTHER_X = rows(0), rows(1)
START = {
    "means_init": X[:2],
    "weights_init": [0.3, 0.7],
    "precisions_init": np.tile(np.eye(2), (2, 1, 1)),
}


class Case(NamedTuple):
    """Another value of a parameter, the views that it changes or may change, and others' values."""

    value: Any
    changes: Set[str]
    may: Set[str] = frozenset()
    beside: Mapping[str, Any] = NONE


PATH = {"path", "printed"}
ALL = {"estimate", "bound", *PATH}
ESTIMATOR = {
    "n_components": Case(3, {*ALL, "components", "shape"}),
    "covariance_type": Case("diag", {*ALL, "shape"}),
    "tol": Case(1.0, PATH, ALL, {"init_params": "k-means++"}),
    "reg_covar": Case(0.1, ALL),
    "max_iter": Case(3, {*PATH, "converged"}, ALL, {"init_params": "k-means++"}),
    "n_init": Case(2, {"starts", "printed"}, ALL),
    "init_params": Case("random_from_data", {"starts", "printed"}, ALL),
    "weights_init": Case([0.6, 0.4], PATH, ALL, START),
    "means_init": Case(X[5:7], PATH, ALL, START),
    "precisions_init": Case(np.tile(4 * np.eye(2), (2, 1, 1)), PATH, ALL, START),
    "random_state": Case(1, {"drawn"}, ALL),
    "warm_start": Case(True, PATH, {*ALL, "starts"}),
    "verbose": Case(1, {"printed"}),
    "verbose_interval": Case(2, {"printed"}),
    "prior": Case("default", ALL),
}


@pytest.fixture
def fitted(capsys):
    def answer(**parameters):
        settings = {"n_components": 2, "random_state": 0, "verbose": 2, "verbose_interval": 1}
        model = GaussianMixture(**settings | parameters).fit(X)
        if model.warm_start:  # goes on from here
            capsys.readouterr()
            model.fit(X)
        printed = capsys.readouterr().out
        last = printed.splitlines()[-1]
        return {
            "estimate": [model.weights_.tolist(), model.means_.tolist()],
            "components": len(model.weights_),
            "shape": model.covariances_.shape,
            "bound": model.lower_bound_,
            "path": (model.n_iter_, model.lower_bounds_),
            "converged": model.converged_,
            "starts": last.partition(":")[0],
            "printed": printed,
            "drawn": model.sample(3)[1].tolist() + model.sample(3)[0].round(2).tolist(),
        }

    return answer


@pytest.mark.parametrize("name", ESTIMATOR)
@pytest.mark.filterwarnings("ignore:.*did not converge")
def test_a_parameter_of_the_estimator_changes_what_it_should(fitted, name):
    case = ESTIMATOR[name]
    found = changed(fitted(**case.beside), fitted(**{**case.beside, name: case.value}))
    assert case.changes <= found, f"{name} leaves {case.changes - found} as it is"
    may = case.changes | case.may | ({"drawn"} if "estimate" in case.changes | case.may else set())
    assert found <= may, f"{name} changes {found - may}"


@pytest.mark.parametrize(("start", "counted"), [("search", 30), ("kmeans", 1), ("random", 1)])
def test_n_init_multiplies_the_starts(fitted, start, counted):
    for n_init in (1, 3):
        starts = fitted(init_params=start, n_init=n_init)["starts"]
        assert starts == f"{counted * n_init} start{'s' * (counted * n_init != 1)}"


WEIGHTS = np.arange(60) % 3
METHODS = {
    "fit": {"X": OTHER_X, "y": None, "sample_weight": WEIGHTS},
    "fit_predict": {"X": OTHER_X, "y": None, "sample_weight": np.where(X[:, 1] > 2, 0.0, 1.0)},
    "predict": {"X": OTHER_X},
    "predict_proba": {"X": OTHER_X},
    "score_samples": {"X": OTHER_X},
    "score": {"X": OTHER_X, "y": None, "sample_weight": WEIGHTS},
    "bic": {"X": OTHER_X, "sample_weight": WEIGHTS},
    "aic": {"X": OTHER_X, "sample_weight": WEIGHTS},
    "sample": {"n_samples": 4},
}


def test_every_argument_of_the_estimator_is_in_a_table():
    own = list(inspect.signature(GaussianMixture.__init__).parameters)[1:]
    assert own == list(ESTIMATOR)
    for name, arguments in METHODS.items():
        own = list(inspect.signature(getattr(GaussianMixture, name)).parameters)[1:]
        assert own == list(arguments)
    declared = {
        name
        for kind in GaussianMixture.__mro__[:2]
        for name, one in vars(kind).items()
        if inspect.isfunction(one) and not name.startswith(("_", "set_"))
    }
    assert declared == set(METHODS)


@pytest.mark.parametrize(
    ("method", "argument"), [(name, one) for name, of in METHODS.items() for one in of]
)
def test_an_argument_of_a_method_changes_its_answer_and_y_does_not(method, argument):
    def answer(**other):
        model = GaussianMixture(2, random_state=0)
        if method not in ("fit", "fit_predict"):
            model.fit(X)
        first = {} if method == "sample" else {"X": X}
        found = getattr(model, method)(**first | other)
        found = found.means_ if method == "fit" else found
        return np.asarray(found[0] if method == "sample" else found)

    value = METHODS[method][argument]
    other = np.zeros(60) if argument == "y" else value
    same = np.array_equal(answer(), answer(**{argument: other}))
    assert same == (argument == "y")
