"""`bg.sample` with an unknown number of components: what every verb makes of its result."""

import arviz as az
import numpy as np
import pytest
from partition_enumeration import exact

import bayes_gmm as bg
from bayes_gmm.errors import InputError

KNOWN = bg.NumberOfComponents("fixed", 2, concentration="static", alpha=1.0)
LINE = np.array([[-2.1], [-1.8], [1.4], [1.9], [2.2]])


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(3)
    return np.concatenate([rng.normal(size=(40, 2)), rng.normal(size=(30, 2)) + 8])


@pytest.fixture(scope="module")
def posterior(rows):
    return sampled(rows)


def sampled(rows, n_components=None, **settings):
    settings = {"draws": 400, "tune": 200, "chains": 2, "seed": 1} | settings
    return bg.sample(rows, n_components, progressbar=False, **settings)


def means_agree(one, other):
    """|z| < 5 for label-invariant means of two runs: a false alarm once in 10^5 comparisons."""
    for name in ("log_likelihood", "sum_squared_weights", "mixture_mean"):
        a, b = (tree["invariants"][name] for tree in (one, other))
        error = np.sqrt(sum(x.var(("chain", "draw")) / az.ess(x, method="mean") for x in (a, b)))
        z = (a.mean(("chain", "draw")) - b.mean(("chain", "draw"))) / error
        assert float(np.abs(z).max()) < 5, (name, z.to_numpy())


def test_two_separated_groups_are_two_clusters(posterior):
    numbers = posterior["posterior"]["n_clusters"]
    assert float((numbers == 2).mean()) > 0.9
    assert "Number of clusters: 2 (probability" in bg.diagnose(posterior).verdict
    assert bg.diagnose(posterior).converged


def test_draws_are_padded_by_components_of_weight_zero(posterior):
    draws = posterior["posterior"]
    sizes = draws["n_components"].to_numpy()
    assert (draws["weights"].to_numpy() > 0).sum(axis=2).tolist() == sizes.tolist()
    assert (draws["n_clusters"] <= draws["n_components"]).all()
    counts = posterior["sample_stats"]["component_counts"].to_numpy()
    assert ((counts > 0).sum(axis=2) == draws["n_clusters"].to_numpy()).all()
    assert (np.diff((counts > 0).astype(int), axis=2) <= 0).all()  # clusters come first
    assert (counts.sum(axis=2) == 70).all()
    # One move a sweep, and a cluster that was split is merged again as often.
    assert 0 < posterior.attrs["split_acceptance"] < 0.2
    assert 0 < posterior.attrs["merge_acceptance"] < 0.5
    assert np.isfinite(draws["covariances"].to_numpy()).all()
    np.testing.assert_allclose(draws["weights"].sum("cluster"), 1)


def test_given_has_the_draws_of_one_number_of_clusters(posterior):
    found = bg.given(posterior, 2)
    numbers = posterior["posterior"]["n_clusters"].to_numpy()
    share = (numbers == 2).mean()
    assert found.attrs["given_n_clusters"] == 2
    assert found.attrs["given_probability"] == pytest.approx(share)
    kept = found["posterior"].sizes["chain"] * found["posterior"].sizes["draw"]
    assert found.attrs["given_share"] == pytest.approx(kept / (numbers == 2).sum())
    raw = {
        tuple(mean.ravel().round(9))
        for chain, own in enumerate(numbers)
        for mean in np.sort(
            posterior["posterior"]["means"].to_numpy()[chain, own == 2, :2, 0], axis=1
        )
    }
    for mean in np.sort(found["posterior"]["means"].to_numpy()[..., 0], axis=2).reshape(-1, 2):
        assert tuple(mean.round(9)) in raw
    np.testing.assert_allclose(found["posterior"]["weights"].sum("cluster"), 1)
    first = found["posterior"]["means"][..., 0].mean(("chain", "draw")).to_numpy()
    np.testing.assert_allclose(first, [0, 8], atol=0.7)


def test_given_refuses_what_was_not_drawn(posterior):
    with pytest.raises(InputError, match="n_clusters is 9, but no chain has draws of so many"):
        bg.given(posterior, 9)
    with pytest.raises(InputError, match="n_clusters must be"):
        bg.given(posterior, 0)
    with pytest.raises(InputError, match="known number of components already"):
        bg.given(bg.given(posterior))


def test_label_invariant_answers_use_all_draws_and_the_others_one_number(posterior, rows):
    draws = posterior["posterior"]
    theta = [
        bg.Parameters(w[w > 0], m[w > 0], c[w > 0])
        for w, m, c in zip(
            *(
                draws[name].to_numpy().reshape(800, *draws[name].shape[2:])
                for name in ("weights", "means", "covariances")
            ),
            strict=True,
        )
    ]
    densities = np.stack([bg.log_density(one, rows[:3]).to_numpy() for one in theta])
    expected = np.log(np.exp(densities).mean(axis=0))
    found = bg.log_density(posterior, rows[:3]).to_numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    together = bg.co_clustering(posterior, rows=[0, 1, 69]).to_numpy()
    assert together[0, 1] > 0.8
    assert together[0, 2] < 0.05
    assert bg.partition(posterior, seed=1)["label"].to_numpy().max() == 1
    assert np.isfinite(bg.loo(posterior).elpd)
    assert bg.check(posterior, seed=1).ok
    assert bg.predict(posterior).sizes["cluster"] == 2
    assert bg.sample_labels(posterior, seed=1).max() < draws.sizes["cluster"]
    compared = bg.compare(bg.fit(rows, 2, seed=1), posterior)
    assert "2 components" in str(compared)
    assert bg.relabel(posterior, "ordering", by="weights").attrs["relabelling"].startswith("order")


def test_a_file_keeps_all_of_it(posterior, tmp_path):
    loaded = bg.load(bg.save(posterior, tmp_path / "unknown.nc"))
    assert bg.diagnose(loaded).verdict == bg.diagnose(posterior).verdict
    assert bg.given(loaded).attrs["given_share"] == bg.given(posterior).attrs["given_share"]


def test_a_report_opens_with_the_number_of_clusters(posterior, tmp_path):
    page = bg.report(posterior, tmp_path / "report.html").read_text()
    assert "an unknown number of components" in page
    assert page.index("The number of clusters is 2") < page.index("How many clusters?")


def test_the_seed_alone_fixes_the_draws(rows, posterior):
    again, other = sampled(rows, cores=1), sampled(rows, seed=2)
    for name in ("n_clusters", "weights", "means"):
        expected = posterior["posterior"][name].to_numpy()
        assert np.array_equal(again["posterior"][name].to_numpy(), expected)
    assert not np.array_equal(
        other["posterior"]["alpha"].to_numpy(), posterior["posterior"]["alpha"].to_numpy()
    )


def test_units_change_nothing_but_units(rows, posterior):
    other = sampled(1e3 * rows - 5e4)
    assert np.array_equal(
        other["posterior"]["n_clusters"].to_numpy(), posterior["posterior"]["n_clusters"].to_numpy()
    )
    weights = (tree["posterior"]["weights"].to_numpy() for tree in (other, posterior))
    np.testing.assert_allclose(*weights, atol=1e-6)


@pytest.mark.parametrize("covariance", ["EII", "VII", "EEI", "VVI", "EEE", "VVV"])
def test_one_possible_number_gives_the_posterior_of_that_number(covariance):
    rng = np.random.default_rng(5)
    rows = np.concatenate([rng.normal(size=(15, 2)), rng.normal([3, 0], size=(10, 2))])
    prior = bg.ConjugatePrior.default(rows, 2)
    settings = {"prior": prior, "covariance": covariance, "draws": 1000, "chains": 4}
    means_agree(sampled(rows, KNOWN, **settings), sampled(rows, 2, **settings))


def test_the_hierarchical_prior_has_gibbs_for_a_known_number_too():
    rng = np.random.default_rng(6)
    rows = np.concatenate([rng.normal(size=(15, 2)), rng.normal([4, 0], size=(10, 2))])
    prior = bg.HierarchicalPrior.default(rows, 2)
    settings = {"prior": prior, "draws": 1000, "chains": 4}
    known = sampled(rows, 2, **settings)
    assert known.attrs["engine"] == "gibbs"
    means_agree(sampled(rows, KNOWN, **settings), known)


def test_missing_entries_are_drawn_as_for_a_known_number():
    rng = np.random.default_rng(7)
    rows = np.concatenate([rng.normal(size=(20, 2)), rng.normal([4, 4], size=(15, 2))])
    rows[::4, 0] = np.nan
    rows[1::4, 1] = np.nan
    prior = bg.ConjugatePrior.default(bg.datasets.load("faithful"), 2)
    settings = {"missing": "mar", "draws": 1000, "chains": 4, "prior": prior}
    means_agree(sampled(rows, KNOWN, **settings), sampled(rows, 2, **settings))


def test_row_weights_count_as_repeated_rows():
    number = bg.NumberOfComponents([0.2, 0.5, 0.3], alpha=1.5)
    prior = bg.ConjugatePrior([1.0], [0.0], 0.2, 4.0, [[1.5]])
    weights = [2, 1, 1, 2, 1]
    truth = exact(np.repeat(LINE, weights, axis=0), number, prior)
    found = sampled(LINE, number, prior=prior, row_weights=weights, draws=4000)
    numbers = found["posterior"]["n_clusters"]
    for k in (1, 2, 3):
        event = (numbers == k).astype(float)
        p = truth.p_clusters[k - 1]
        error = np.sqrt(p * (1 - p) / float(az.ess(event, method="mean")))
        assert abs(float(event.mean()) - p) < 5 * error


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"engine": "nuts"}, "engine is 'nuts', but an unknown number .* needs engine=\"gibbs\""),
        (
            {"prior": lambda: None},
            "needs a ConjugatePrior, SemiconjugatePrior or Hier",
        ),
        (
            {"prior": bg.ConjugatePrior([1, 2.0], [0.0], 1.0, 3.0, [[1.0]])},
            "prior differs between components",
        ),
        ({"covariance": "VEI"}, "no engine can sample"),
        ({"n_components": 2.5}, "n_components must be"),
        ({"row_weights": [0.5] * 5}, "needs whole numbers"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(arguments, says):
    rows = LINE if "covariance" not in arguments else np.column_stack([LINE, LINE[::-1]])
    with pytest.raises(InputError, match=says):
        sampled(rows, arguments.pop("n_components", None), **arguments)


def test_a_prior_of_the_parameters_is_refused_where_k_is_none(posterior):
    with pytest.raises(InputError, match="unknown number"):
        bg.add_groups(posterior, "prior", seed=1)
    with pytest.raises(InputError, match="unknown number"):
        bg.sensitivity(posterior)


@pytest.mark.validate
def test_galaxies_have_the_numbers_of_components_of_richardson_and_green():
    """Richardson & Green (1997), table 1; their own Monte Carlo error is about .01 a cell."""
    published = [0, 0, 0.061, 0.128, 0.182, 0.199, 0.160, 0.109, 0.071, 0.040, 0.023, 0.013]
    published += [0.006, 0.003]
    galaxies = bg.datasets.load("galaxies")
    number = bg.NumberOfComponents("uniform", concentration="static", maximum=30)
    found = sampled(galaxies, number, draws=20_000, chains=4)
    k = found["posterior"]["n_components"].to_numpy().ravel()
    p = np.bincount(k, minlength=31)[1:] / k.size
    difference = np.abs(p[:14] - published).sum() + p[14:].sum()
    assert 0.5 * difference < 0.02
