"""The engines behind `sample`: they draw from one posterior, and only the statistics tell which."""

import os
import re
import signal
import subprocess
import sys

import arviz as az
import numpy as np
import pytest
import xarray as xr

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference import engines
from bayes_gmm.inference.em import point
from bayes_gmm.inference.gibbs import cost, gibbs
from bayes_gmm.model.structures import UNCONSTRAINED
from bayes_gmm.posterior.convergence import convergence
from bayes_gmm.posterior.draws import Draws, catalogue, flatten
from bayes_gmm.posterior.pivot import match
from bayes_gmm.results.reading import draws_of, feature_names, invariants
from tests.helpers import refuses
from tests.inference.conjugate import standard_error_of_mean

FAITHFUL = bg.datasets.load("faithful")
FIXTURES = {
    "gibbs": "faithful_posterior",
    "nuts": "faithful_by_nuts",
    "pymc": "faithful_by_pymc",
}
COMPILES = [
    "gibbs",
    "nuts",
    "vb",
    pytest.param("pymc", marks=pytest.mark.validate),
]


@pytest.fixture(params=FIXTURES)
def by_engine(request):
    return request.param, request.getfixturevalue(FIXTURES[request.param])


def quantities(tree):
    """Names, and values (chain, draw, Q), of all that is reported of a posterior."""
    names, values = invariants(tree)
    draws = draws_of(tree)
    scalars = catalogue(draws.weights.shape[2], feature_names(tree))
    return [*names, *(s.name for s in scalars)], np.concatenate([values, flatten(*draws)], axis=2)


def mixed(apart, n, seed=1):
    """Rows of two components of one feature, `apart` standard deviations from each other."""
    theta = bg.Parameters([0.5, 0.5], [[0.0], [apart]], np.ones((2, 1, 1)))
    return bg.simulate(theta, n, seed=seed)["x"].to_numpy()


def estimated(x):
    """Observations, the default prior and the MAP estimate of two components."""
    observations, prior = Observations.of(x), bg.ConjugatePrior.default(x, 2)
    found = point.estimate(observations, 2, prior, UNCONSTRAINED, seed=1)
    return observations, prior, found.parameters


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("faithful_posterior", "faithful_posterior_other_seed"),
        ("faithful_posterior", "faithful_by_nuts"),
        ("faithful_posterior", "faithful_by_pymc"),
        ("faithful_by_nuts", "faithful_by_pymc"),
    ],
)
def test_posteriors_agree_within_monte_carlo_error(one, other, request):
    (names, ours), (_, theirs) = (quantities(request.getfixturevalue(f)) for f in (one, other))
    varies = ours.std(axis=(0, 1)) > 0
    np.testing.assert_array_equal(ours[0, 0, ~varies], theirs[0, 0, ~varies])
    assert [name for name, v in zip(names, varies, strict=True) if not v] == ["occupied_components"]
    center, scale = ours.mean(axis=(0, 1)), ours.std(axis=(0, 1))
    ours, theirs = (
        ((v - center) / np.where(varies, scale, 1))[..., varies] for v in (ours, theirs)
    )
    assert (ours != theirs).any(axis=(0, 1)).all()
    for power in (1, 2):
        error = np.hypot(*(standard_error_of_mean(v**power) for v in (ours, theirs)))
        z = ((ours**power).mean(axis=(0, 1)) - (theirs**power).mean(axis=(0, 1))) / error
        assert (np.abs(z) < 5).all(), z


def layout(tree):
    """What every group holds: variables, dims, coordinates, types and attributes."""
    return {
        name: {
            "variables": {v: (a.dims, a.dtype) for v, a in group.data_vars.items()},
            "coords": {v: (a.dims, a.dtype, a.size) for v, a in group.coords.items()},
            "attrs": group.attrs,
        }
        for name, group in tree.children.items()
    }


def test_every_engine_gives_the_same_tree(by_engine, faithful_posterior):
    engine, tree = by_engine
    ours, first = layout(tree), layout(faithful_posterior)
    statistics = ours.pop("sample_stats")
    own = first.pop("sample_stats")
    assert ours == first
    assert statistics["coords"] == own["coords"]
    assert statistics["attrs"] == {}
    variables = statistics["variables"]
    assert variables["permutation"] == own["variables"]["permutation"]
    for dims, dtype in variables.values():
        assert dims[:2] == ("chain", "draw")
        assert dtype.kind in "biuf"
    assert "log_likelihood" not in variables  # the sum over rows is in invariants
    assert ("component_counts" in variables) == (engine != "pymc")
    assert ("diverging" in variables) == (engine != "gibbs")
    assert tree.attrs["engine"] == engine
    assert tree.attrs["sampler"] == engines.SAMPLERS[engine]
    theirs = faithful_posterior.attrs
    assert {k: type(v) for k, v in tree.attrs.items()} == {k: type(v) for k, v in theirs.items()}
    for name in set(theirs) - {"engine", "sampler", "thin", "seed", "created_at"}:
        assert tree.attrs[name] == theirs[name]


def test_every_engine_is_diagnosed_and_plotted(by_engine):
    _, tree = by_engine
    diagnosis = bg.diagnose(tree)
    assert diagnosis.ok, str(diagnosis)
    assert (diagnosis.chains["divergences"] == 0).all()
    assert bg.plots.ranks(tree).axes


def test_a_posterior_of_every_engine_comes_back_from_a_file(by_engine, tmp_path):
    _, tree = by_engine
    back = az.from_netcdf(bg.save(tree, tmp_path / "posterior.nc"))
    assert set(back.children) == set(tree.children)
    assert back.attrs == tree.attrs
    for name, group in tree.children.items():
        xr.testing.assert_identical(back[name].to_dataset(), group.to_dataset())
    assert bg.diagnose(back).verdict == bg.diagnose(tree).verdict


@pytest.mark.parametrize("engine", COMPILES)
def test_cores_change_nothing(engine):
    settings = {"engine": engine, "draws": 40, "tune": 40, "chains": 3, "seed": 5}
    one, *others = (
        bg.sample(FAITHFUL, 2, cores=cores, progressbar=False, **settings) for cores in (1, 2, 5)
    )
    for other in others:
        for name in ("posterior", "sample_stats", "invariants"):
            xr.testing.assert_identical(one[name].to_dataset(), other[name].to_dataset())
    assert len(np.unique(one["posterior"]["weights"][:, 0, 0])) == 3


def test_an_unnamed_engine_is_gibbs_where_the_prior_is_conjugate(faithful_posterior):
    assert faithful_posterior.attrs["engine"] == "gibbs"
    # Rows are few, so that sweeps are cheap and each draw has several.
    assert faithful_posterior.attrs["thin"] == engines.CHEAP_ROWS // len(FAITHFUL)


@pytest.mark.parametrize("family", [bg.HierarchicalPrior, bg.SemiconjugatePrior])
def test_an_unnamed_engine_is_gibbs_where_it_draws_means_and_covariances_in_turn(family):
    observations, _, theta = estimated(FAITHFUL)
    prior = family.default(FAITHFUL.to_numpy(), 2)
    assert engines.choose("auto", observations, theta, prior).engine == "gibbs"
    fractional = observations.weighted(np.full(len(FAITHFUL), 0.5))
    assert engines.choose("auto", fractional, theta, prior).engine == "pymc"


@pytest.mark.parametrize("family", [bg.IndependentPrior, None])
def test_an_unnamed_engine_is_pymc_for_other_priors(family):
    observations, _, theta = estimated(FAITHFUL)
    prior = family.default(FAITHFUL.to_numpy(), 2) if family else lambda: ()
    engines.check("auto", prior)
    assert engines.choose("auto", observations, theta, prior) == ("pymc", 1)


def test_an_unnamed_engine_is_nuts_where_components_are_all_but_indistinguishable():
    x = mixed(2.0, 2000)
    observations, prior, theta = estimated(x)
    assert engines.sweeps_per_draw(observations, theta, prior) > 200
    assert engines.choose("auto", observations, theta, prior) == ("nuts", 1)
    settings = {"draws": 10, "tune": 10, "chains": 1, "seed": 1, "progressbar": False}
    assert bg.sample(x, 2, **settings).attrs["engine"] == "nuts"
    # Whoever asks for Gibbs gets it, with as much thinning as there is.
    most = engines.MOST_SWEEPS // engines.PER_DRAW
    assert engines.choose("gibbs", observations, theta, prior) == ("gibbs", most)


def test_gibbs_is_thinned_by_as_much_as_its_draws_depend_on_each_other(monkeypatch):
    monkeypatch.setattr(engines, "CHEAP_ROWS", 1)  # as if rows were many
    predicted, thins = [], []
    for apart in (6.0, 4.0, 3.0):
        observations, prior, theta = estimated(mixed(apart, 1000))
        expected = engines.sweeps_per_draw(observations, theta, prior)
        settings = {"draws": 8000, "tune": 500, "cores": 2, "seed": 1, "progressbar": False}
        raw = gibbs.sample(observations, prior, [theta] * 4, **settings)["posterior"]
        draws = Draws(*(raw[name].to_numpy() for name in ("weights", "means", "covariances")))
        named = draws.reorder(match(*draws, theta).permutation)
        measured = 4 * 8000 / convergence(flatten(*named)).ess_bulk.min()
        assert measured / 3 < expected < 3 * measured, (apart, expected, measured)
        predicted.append(expected)
        thins.append(engines.choose("auto", observations, theta, prior).thin)
        print(f"{apart} sd apart: {expected:.1f} sweeps expected, {measured:.1f} measured")
    assert predicted == sorted(predicted)
    assert thins == sorted(thins)
    assert thins[0] == 1
    assert thins[-1] > 2


@pytest.mark.parametrize(
    ("n_rows", "n_features", "n_components"), [(3, 1, 2), (3, 1, 5), (60, 12, 3), (60, 50, 2)]
)
def test_the_sweeps_of_a_draw_are_bounded_by_what_they_cost(n_rows, n_features, n_components):
    x = np.random.default_rng(1).normal(size=(n_rows, n_features))
    observations, prior = Observations.of(x), bg.ConjugatePrior.default(x, n_components)
    theta = prior.sample(np.random.default_rng(2))
    choice = engines.choose("gibbs", observations, theta, prior)
    work = cost.of_a_sweep(n_rows, n_components, n_features)
    assert 1 <= choice.thin < engines.CHEAP_ROWS // n_rows
    assert choice.thin == 1 or choice.thin * work <= max(engines.CHEAP, engines.AFFORDABLE)


def test_one_component_leaves_no_labels_open_and_its_draws_are_independent():
    observations = Observations.of(FAITHFUL)
    prior = bg.ConjugatePrior.default(FAITHFUL, 1)
    theta = prior.sample(np.random.default_rng(1))
    for engine in ("auto", "gibbs"):
        assert engines.choose(engine, observations, theta, prior) == ("gibbs", 1)
    posterior = bg.sample(FAITHFUL, 1, seed=1, progressbar=False)
    _, values = invariants(posterior)
    varies = values.std(axis=(0, 1)) > 0
    assert convergence(values[..., varies]).ess_bulk.min() > 0.8 * 4000


def test_an_interrupt_while_draws_are_judged_loses_none_of_them(monkeypatch):
    def interrupted(values):
        raise KeyboardInterrupt

    monkeypatch.setattr("bayes_gmm.inference.engines.long_enough", interrupted)
    with pytest.warns(bg.ConvergenceWarning, match="30 draws of each of 4 chains"):
        posterior = bg.sample(FAITHFUL, 2, draws=30, tune=10, seed=1, progressbar=False)
    assert posterior.attrs["partial"] == 1
    assert posterior["posterior"].sizes["draw"] == 30


def test_a_part_of_many_rows_tells_how_slowly_gibbs_forgets(monkeypatch):
    observations, prior, theta = estimated(mixed(4.0, 20_000))
    whole = engines.sweeps_per_draw(observations, theta, prior)
    monkeypatch.setattr(engines, "MOST_ROWS", 4_000)
    part = engines.sweeps_per_draw(observations, theta, prior)
    assert part != whole
    assert part == pytest.approx(whole, rel=0.2)


def test_chains_that_are_too_short_are_made_longer(monkeypatch):
    x = bg.datasets.load("iris").select_dtypes("number")
    settings = {"draws": 400, "tune": 100, "chains": 2, "seed": 1, "progressbar": False}
    monkeypatch.setattr(gibbs, "LONGEST", 0)
    short = bg.sample(x, 3, **settings)
    assert not bg.diagnose(short).converged
    monkeypatch.undo()
    longer = bg.sample(x, 3, **settings)
    assert bg.diagnose(longer).converged
    assert longer.attrs["thin"] > short.attrs["thin"]
    assert longer["posterior"].sizes == short["posterior"].sizes


@pytest.mark.parametrize("engine", ["nuts", "gibbs", "vb"])
def test_an_engine_that_needs_the_conjugate_prior_says_so(engine):
    prior = bg.IndependentPrior.default(FAITHFUL.to_numpy(), 2)
    for other in (prior, lambda: ()):
        with refuses("engine", repr(engine), "pymc"):
            bg.sample(FAITHFUL, 2, prior=other, engine=engine)


@pytest.mark.parametrize("engine", ["hmc", None, 3])
def test_an_engine_that_there_is_not_is_refused(engine):
    with refuses("engine", repr(engine), "auto, nuts, gibbs, pymc, vb"):
        bg.sample(FAITHFUL, 2, engine=engine)


@pytest.mark.parametrize("engine", engines.ENGINES)
@pytest.mark.parametrize(
    ("name", "value"), [("draws", 0), ("tune", 0), ("chains", 0), ("cores", 0), ("seed", -1)]
)
def test_a_number_out_of_range_is_refused_by_every_engine(engine, name, value):
    with refuses(name, repr(value)):
        bg.sample(FAITHFUL, 2, engine=engine, **{name: value})


RUN = """
import signal, sys
import numpy as np
import bayes_gmm as bg
signal.signal(signal.SIGINT, signal.default_int_handler)
engine, n, tune, path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
theta = bg.Parameters([0.4, 0.6], [[0.0, 0.0], [4.0, 1.0]], [np.eye(2), 2 * np.eye(2)])
x = bg.simulate(theta, n, seed=1)["x"]
posterior = bg.sample(x, 2, engine=engine, draws=50_000, tune=tune, chains=2, cores=2, seed=1)
bg.save(posterior, path)
"""


@pytest.mark.parametrize(("engine", "n", "tune"), [("gibbs", 200_000, 1), ("nuts", 5_000, 50)])
def test_an_interrupt_leaves_what_was_drawn(engine, n, tune, tmp_path):
    path = tmp_path / "partial.nc"
    arguments = [sys.executable, "-c", RUN, engine, str(n), str(tune), str(path)]
    # The bar is drawn into a pipe only where color is forced.
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": "200"}
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, env=environment) as run:
        assert run.stderr is not None
        written = b""
        while _steps(written) < 4 * tune + 40:
            piece = os.read(run.stderr.fileno(), 1 << 16)
            assert piece, written.decode()
            written += piece
        run.send_signal(signal.SIGINT)
        written += run.stderr.read()
        assert run.wait(timeout=60) == 0, written.decode()
    assert b"Sampling was interrupted" in written
    tree = az.from_netcdf(path)
    assert tree.attrs["partial"] == 1
    assert tree.attrs["engine"] == engine
    n_draws = tree.attrs["draws"]
    assert 0 < n_draws < 50_000
    sizes = tree["posterior"].sizes
    assert (sizes["chain"], sizes["draw"]) == (tree.attrs["chains"], n_draws)
    draws = draws_of(tree)
    assert all(np.isfinite(array).all() for array in draws)
    assert np.abs(draws.means[:, -1] - [[0.0, 0.0], [4.0, 1.0]]).max() < 0.5
    assert isinstance(bg.diagnose(tree).verdict, str)


def _steps(written):
    """How far the progress bar has come."""
    plain = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", written)
    counts = re.findall(rb"(\d+)/\d+", plain)
    return int(counts[-1]) if counts else 0
