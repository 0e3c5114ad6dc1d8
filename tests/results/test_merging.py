"""What `merge` and `modes` return, against responsibilities and densities by hand."""

from itertools import chain

import numpy as np
import pandas as pd
import pytest
from results.synthetic import two_components
from scipy.special import xlogy

import bayes_gmm as bg
from bayes_gmm.model import mixture

FAITHFUL = bg.datasets.load("faithful")


@pytest.fixture(scope="module")
def fit():
    return bg.fit(FAITHFUL, 5, covariance="EEE", seed=0)


def test_merged_responsibilities_and_labels_are_sums_over_components(fit):
    found = bg.merge(fit, n_clusters=2)
    shares = mixture.responsibilities(FAITHFUL.to_numpy(), bg.point_estimate(fit))
    member = found.dataset["merged_cluster"].to_numpy()
    assert sorted(set(member)) == [0, 1]
    summed = np.stack([shares[:, member == c].sum(axis=1) for c in (0, 1)], axis=1)
    np.testing.assert_allclose(found.dataset["responsibilities"], summed, atol=1e-12)
    np.testing.assert_array_equal(found.dataset["label"], summed.argmax(axis=1))
    table = found.table
    assert table["rows"].tolist() == np.bincount(summed.argmax(axis=1)).tolist()
    assert table["weight"].sum() == pytest.approx(1)
    assert sorted(chain.from_iterable(table["components"])) == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(
        found.dataset["entropy"][[1, 4]], [-xlogy(t, t).sum() for t in (summed, shares)]
    )


def test_faithful_has_the_two_clusters_that_everybody_sees(fit):
    by_modes = bg.merge(fit, by="modes", n_clusters=2).dataset["label"].to_numpy()
    by_entropy = bg.merge(fit, n_clusters=2).dataset["label"].to_numpy()
    short = FAITHFUL["eruptions"].to_numpy() < 3
    for label in (by_modes, by_entropy):
        agrees = np.mean((label == label[short][0]) == short)
        assert agrees > 0.98


def test_by_modes_there_is_a_cluster_for_each_mode_that_means_climb_to(fit):
    found, peaks = bg.merge(fit, by="modes"), bg.modes(fit)
    owner = peaks["mode_of_component"].to_numpy()
    member = found.dataset["merged_cluster"].to_numpy()
    np.testing.assert_array_equal(np.equal.outer(member, member), np.equal.outer(owner, owner))
    assert found.n_clusters == len(np.unique(owner)) < 5
    assert found.dataset.attrs["n_modes"] == peaks.sizes["mode"]
    with pytest.raises(bg.InputError, match=r"n_clusters is 5, but there are only \d modes"):
        bg.merge(fit, by="modes", n_clusters=5)


def test_by_entropy_the_usual_cut_is_at_the_elbow_and_small_mixtures_stay_as_they_are(fit):
    found = bg.merge(fit)
    assert found.n_clusters == found.dataset.attrs["elbow"]
    assert f"elbow at {found.n_clusters} clusters" in str(found)
    small = bg.merge(bg.fit(FAITHFUL, 2, seed=0))
    assert small.n_clusters == 2
    assert "no elbow" in str(small)


def test_the_tree_prints_and_is_a_linkage(fit):
    found = bg.merge(fit)
    table = found.mergers
    assert table["clusters left"].tolist() == [4, 3, 2, 1]
    assert sorted(table["joined"].iloc[-1] + table["to"].iloc[-1]) == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(table.iloc[:, -1], found.linkage[:, 2])
    assert found.linkage.shape == (4, 4)
    for printed in (str(found), found._repr_html_()):
        assert "entropy removed" in printed
        assert "5 components, merged by entropy" in printed


def test_row_weights_count_in_the_entropy_and_in_the_rows():
    times = np.arange(len(FAITHFUL)) % 3
    weighted = bg.merge(bg.fit(FAITHFUL, 3, seed=0, row_weights=times), n_clusters=2)
    repeated = FAITHFUL.loc[np.repeat(FAITHFUL.index, times)].reset_index(drop=True)
    other = bg.merge(bg.point_estimate(weighted_fit(times)), repeated, n_clusters=2)
    np.testing.assert_allclose(weighted.dataset["entropy"], other.dataset["entropy"], rtol=1e-9)
    np.testing.assert_allclose(weighted.table["rows"], other.table["rows"])


def weighted_fit(times):
    return bg.fit(FAITHFUL, 3, seed=0, row_weights=times)


def test_a_posterior_is_merged_by_its_averaged_memberships():
    posterior = two_components(3, n=50, n_chains=2, n_draws=30)[3]
    found = bg.merge(posterior, n_clusters=2)
    np.testing.assert_allclose(
        found.dataset["responsibilities"], bg.predict(posterior)["responsibilities"]
    )
    assert bg.merge(posterior, n_clusters=1).table["rows"].tolist() == [50]


def test_parameters_take_rows_and_labels_keep_their_index(fit):
    rows = pd.DataFrame(FAITHFUL.to_numpy()[:5], index=list("abcde"))
    found = bg.merge(bg.point_estimate(fit), rows, n_clusters=2)
    assert found.dataset["obs_id"].to_numpy().tolist() == list("abcde")
    assert bg.merge(bg.Parameters([1.0], [[0.0]], [[[1.0]]]), [[0.0]]).n_clusters == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"by": "distance"}, "by is 'distance'; choose one of 'entropy', 'modes'"),
        ({"n_clusters": 6}, "n_clusters is 6, but there are only 5 components"),
        ({"n_clusters": 0}, "n_clusters must be a whole number >= 1; got 0"),
    ],
)
def test_what_cannot_be_merged_is_refused(fit, settings, said):
    with pytest.raises(bg.InputError, match=said):
        bg.merge(fit, **settings)


def test_modes_of_a_point_estimate_have_names_and_heights(fit):
    found = bg.modes(fit)
    assert found["location"].dims == ("mode", "feature")
    assert found["feature"].to_numpy().tolist() == ["eruptions", "waiting"]
    height = bg.log_density(fit, found["location"].to_numpy())
    np.testing.assert_allclose(found["log_density"], height, rtol=1e-9)
    assert "n_modes" not in found
    with pytest.raises(bg.InputError, match=r"n_draws needs a result of bg\.sample"):
        bg.modes(fit, n_draws=3)


def test_modes_of_a_posterior_are_counted_in_each_draw():
    posterior = two_components(3, n=50, n_chains=2, n_draws=30)[3]
    found = bg.modes(posterior)["n_modes"].to_numpy()
    assert found.shape == (60,)
    drawn = posterior["posterior"]
    by_hand = [
        bg.modes(bg.Parameters(*(drawn[name].to_numpy()[1, 7] for name in NAMES))).sizes["mode"],
        bg.modes(bg.Parameters(*(drawn[name].to_numpy()[0, 0] for name in NAMES))).sizes["mode"],
    ]
    assert found[[37, 0]].tolist() == by_hand
    assert bg.modes(posterior, n_draws=5).sizes["draw"] == 5
    with pytest.raises(bg.InputError, match="n_draws is 61, but the posterior has only 60"):
        bg.modes(posterior, n_draws=61)


NAMES = ("weights", "means", "covariances")
