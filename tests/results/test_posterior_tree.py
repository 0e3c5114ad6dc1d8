import arviz as az
import numpy as np
import pytest
import xarray as xr
from results.synthetic import sampled_tree

from bayes_gmm.data import Observations
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.results.labels import labelled
from bayes_gmm.results.reading import VARIABLES, draws_of, point_parameters, raw_draws
from bayes_gmm.results.relabel import METHODS, relabel
from bayes_gmm.results.tree import posterior_tree
from tests.helpers import random_parameters

LAYOUT = {
    "posterior": {
        "weights": ("chain", "draw", "cluster"),
        "means": ("chain", "draw", "cluster", "feature"),
        "covariances": ("chain", "draw", "cluster", "feature", "feature_bis"),
    },
    "invariants": {
        "log_likelihood": ("chain", "draw"),
        "log_posterior": ("chain", "draw"),
        "sum_squared_weights": ("chain", "draw"),
        "mixture_mean": ("chain", "draw", "feature"),
        "mixture_covariance_logdet": ("chain", "draw"),
        "log_density_at": ("chain", "draw", "point"),
        "occupied_components": ("chain", "draw"),
        "co_clustering": ("chain", "draw", "pair"),
    },
    "point_estimate": {
        "weights": ("cluster",),
        "means": ("cluster", "feature"),
        "covariances": ("cluster", "feature", "feature_bis"),
    },
    "observed_data": {"x": ("obs_id", "feature")},
    "prior_parameters": {
        "concentration": ("cluster",),
        "mean": ("cluster", "feature"),
        "mean_precision": ("cluster",),
        "degrees_of_freedom": ("cluster",),
        "scale": ("cluster", "feature", "feature_bis"),
    },
}


@pytest.fixture(scope="module")
def pieces():
    """What a sampler might return, with an object column and with components in any order."""
    rng = np.random.default_rng(0)
    pivot = random_parameters(rng, 3, 2, spread=6.0)
    observations = Observations.of(rng.normal(size=(20, 2)) * 5)
    shape = (2, 6)
    draws = Draws(
        *(
            np.broadcast_to(array, (*shape, *array.shape))
            for array in (pivot.weights, pivot.means, pivot.covariances)
        )
    )
    draws = draws._replace(means=draws.means + 0.01 * rng.normal(size=draws.means.shape))
    order = rng.permuted(np.broadcast_to(np.arange(3), (*shape, 3)), axis=2)
    raw = draws.reorder(order)
    sampled = xr.DataTree.from_dict(
        {
            "/posterior": labelled(raw._asdict(), feature_names="ab", leading=("chain", "draw")),
            "/sample_stats": xr.Dataset(
                {
                    "diverging": (("chain", "draw"), rng.random(shape) < 0.5),
                    "energy": (("chain", "draw"), rng.normal(size=shape)),
                    "message": (("chain", "draw"), np.full(shape, None)),
                },
                attrs={"settings": ["a", "list"]},
            ),
        }
    )
    prior = ConjugatePrior.default(observations.values, 3)
    described = {"engine": "pymc", "sampler": "any", "seed": None, "draws": 6, "tune": 1}
    tree = posterior_tree(sampled, pivot, observations, prior, chains=2, **described)
    return tree, raw, draws, order


@pytest.fixture(params=["from its pieces", "of Old Faithful"])
def tree(request):
    if request.param == "of Old Faithful":
        return request.getfixturevalue("faithful_by_pymc")
    return request.getfixturevalue("pieces")[0]


def test_every_group_has_its_variables_with_their_dims(tree):
    for group, variables in LAYOUT.items():
        found = {name: array.dims for name, array in tree[group].data_vars.items()}
        assert found == variables
    stats = tree["sample_stats"].dataset
    assert stats["permutation"].dims == ("chain", "draw", "cluster")
    assert stats["diverging"].dtype == bool
    assert set(tree.children) == {*LAYOUT, "sample_stats"}
    for group in ("posterior", "point_estimate", "prior_parameters", "sample_stats"):
        n_clusters = tree.attrs["n_components"]
        np.testing.assert_array_equal(tree[group]["cluster"], np.arange(n_clusters))
    for group in ("posterior", "point_estimate", "observed_data", "invariants"):
        assert list(tree[group]["feature"]) == list(tree["posterior"]["feature_bis"])


def test_the_attributes_say_how_it_was_made(tree):
    expected = {"kind": "posterior", "engine": "pymc", "n_features": 2}
    assert {name: tree.attrs[name] for name in expected} == expected
    for name in ("sampler", "seed", "draws", "tune", "chains", "bayes_gmm_version", "created_at"):
        assert isinstance(tree.attrs[name], int | str), name
    assert tree.attrs["n_observations"] == tree["observed_data"].sizes["obs_id"]
    assert tree.attrs["chains"] == tree["posterior"].sizes["chain"]
    assert tree.attrs["draws"] == tree["posterior"].sizes["draw"]


def test_a_file_gives_back_what_was_written(tree, tmp_path):
    path = tmp_path / "posterior.nc"
    tree.to_netcdf(path)
    with az.from_netcdf(path) as read:
        assert set(read.children) == set(tree.children)
        assert read.attrs == tree.attrs
        for group in tree.children:
            xr.testing.assert_equal(read[group].to_dataset(), tree[group].to_dataset())


def test_draws_are_named_after_the_point_and_raw_draws_can_be_had_back(pieces):
    tree, raw, draws, order = pieces
    np.testing.assert_array_equal(tree["sample_stats"]["permutation"], np.argsort(order, axis=2))
    assert (order != np.arange(3)).any()
    for name, named, came, back in zip(VARIABLES, draws, raw, raw_draws(tree), strict=True):
        np.testing.assert_array_equal(tree["posterior"][name], named)
        np.testing.assert_array_equal(back, came)


def test_what_was_drawn_is_counted_and_an_interruption_is_marked(pieces):
    tree, raw, *_ = pieces
    assert (tree.attrs["partial"], tree.attrs["relabelling"]) == (0, "pivot")
    cut = sampled_tree(Draws(*(array[:, :4] for array in raw)))
    cut.attrs["partial"] = 1
    observations = Observations.of(tree["observed_data"]["x"].to_numpy())
    prior, pivot = ConjugatePrior.default(observations.values, 3), point_parameters(tree)
    partial = posterior_tree(cut, pivot, observations, prior, draws=6, chains=9)
    assert {name: partial.attrs[name] for name in ("partial", "draws", "chains")} == {
        "partial": 1,
        "draws": 4,
        "chains": 2,
    }


def test_what_the_sampler_says_of_components_is_named_as_the_draws_are(pieces):
    tree, raw, _, order = pieces
    counts = np.arange(36.0).reshape(2, 6, 3)
    shape = {"log_likelihood": np.ones((2, 6)), "log_prior": np.full((2, 6), 2.0)}
    observations = Observations.of(tree["observed_data"]["x"].to_numpy())
    sampled = sampled_tree(raw, component_counts=counts, **shape)
    labelled_by = point_parameters(tree)
    found = posterior_tree(sampled, labelled_by, observations, object())
    np.testing.assert_array_equal(
        found["sample_stats"]["component_counts"],
        np.take_along_axis(counts, np.argsort(order, axis=2), axis=2),
    )
    assert (found["invariants"]["log_posterior"] == 3.0).all()
    # ArviZ would take them for the log-likelihood of each row.
    assert set(found["sample_stats"].data_vars) == {"diverging", "component_counts", "permutation"}
    assert (found["invariants"]["occupied_components"].to_numpy() == (counts >= 0.5).sum(2)).all()
    assert "prior_parameters" not in found.children


def test_statistics_that_no_file_can_hold_are_left_out(pieces):
    assert set(pieces[0]["sample_stats"].data_vars) == {"diverging", "energy", "permutation"}


@pytest.fixture(scope="module")
def with_others(pieces):
    """A tree of the same draws whose model has further variables, and these as they were drawn."""
    tree, raw, *_ = pieces
    rng = np.random.default_rng(1)
    shape = raw.weights.shape[:2]
    drawn = {
        "size": ((), rng.normal(size=shape)),
        "tau": (("cluster",), raw.means[..., 0]),
        "by_feature": (("feature", "cluster"), raw.means.swapaxes(2, 3)),
        "many": (("cluster", "side", "many_dim_2"), raw.means[..., None] + np.zeros((2, 3))),
        "level": (("grade",), rng.normal(size=(*shape, 3))),
        "flag": ((), rng.random(shape) < 0.5),
        "word": ((), np.full(shape, "word", dtype=object)),
        "wave": ((), np.full(shape, 1j)),
    }
    sampled = sampled_tree(raw, names=["a", "b"])
    more = {
        name: (("chain", "draw", *dims), values, {"an": {"attribute": 1}})
        for name, (dims, values) in drawn.items()
    }
    coords = {"side": ["left", "right"], "grade": np.array([1, "b", None], dtype=object)}
    named = {"cluster": range(3), "feature": ["a", "b"]}
    group = sampled["posterior"].to_dataset().assign(more).assign_coords({**coords, **named})
    sampled["posterior"] = xr.DataTree(group)
    observations = Observations.of(tree["observed_data"]["x"].to_numpy())
    return posterior_tree(sampled, point_parameters(tree), observations, object()), drawn


def test_other_variables_of_the_model_stay_and_follow_their_components(with_others, pieces):
    tree, drawn = with_others
    posterior, named = tree["posterior"].to_dataset(), pieces[2]
    kept = ["size", "tau", "by_feature", "many", "level", "flag"]
    assert set(posterior.data_vars) == {*VARIABLES, *kept}  # the others no file can hold
    for name in kept:
        assert posterior[name].dims == ("chain", "draw", *drawn[name][0])
    for name in ("size", "level", "flag"):
        np.testing.assert_array_equal(posterior[name], drawn[name][1])
    assert posterior["flag"].dtype == bool
    np.testing.assert_array_equal(posterior["tau"], named.means[..., 0])
    np.testing.assert_array_equal(posterior["by_feature"], named.means.swapaxes(2, 3))
    np.testing.assert_array_equal(posterior["many"][..., 1, 2], named.means[..., 1])
    np.testing.assert_array_equal(posterior["weights"], named.weights)
    order = np.argsort(tree["sample_stats"]["permutation"].to_numpy(), axis=2)
    raw = np.take_along_axis(posterior["tau"].to_numpy(), order, axis=2)
    np.testing.assert_array_equal(raw, drawn["tau"][1])


def test_other_variables_keep_the_names_along_their_dims_and_go_through_a_file(
    with_others, tmp_path
):
    tree, _ = with_others
    posterior = tree["posterior"].to_dataset()
    assert list(posterior["side"].to_numpy()) == ["left", "right"]
    assert list(posterior["grade"].to_numpy()) == ["1", "b", "None"]
    assert list(posterior["feature"].to_numpy()) == ["x0", "x1"]  # those of the observations
    assert "many_dim_2" not in posterior.coords
    tree.to_netcdf(tmp_path / "posterior.nc")
    with az.from_netcdf(tmp_path / "posterior.nc") as read:
        xr.testing.assert_equal(read["posterior"].to_dataset(), posterior)
    summary = az.summary(tree, var_names=["size", "by_feature", "level"])
    assert "by_feature[x0, 2]" in summary.index


@pytest.mark.parametrize("method", METHODS)
def test_other_variables_follow_their_components_under_every_method(with_others, method):
    tree, drawn = with_others
    by = {"by": lambda draws: -draws.means[..., 1]} if method == "ordering" else {}
    found = relabel(tree, method, **by)["posterior"].to_dataset()
    means = found["means"].to_numpy()
    np.testing.assert_array_equal(found["tau"], means[..., 0])
    np.testing.assert_array_equal(found["by_feature"], means.swapaxes(2, 3))
    for name in ("size", "level"):
        np.testing.assert_array_equal(found[name], drawn[name][1])
    if method == "ordering":
        assert (np.diff(means[..., 1], axis=2) < 0).all()


def test_a_covariance_equals_its_transpose_in_every_draw(faithful_posterior):
    covariances = faithful_posterior["posterior"]["covariances"].to_numpy()
    np.testing.assert_array_equal(covariances, covariances.swapaxes(-1, -2))
    Parameters(*(array[0, 0] for array in draws_of(faithful_posterior)))
