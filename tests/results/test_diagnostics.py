import re

import numpy as np
import pytest
from results.synthetic import (
    conjugate_posterior,
    exact_draws,
    maximum_likelihood,
    one_component,
    posterior_result,
    two_components,
)
from scipy.signal import lfilter

from bayes_gmm.errors import InputError
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.posterior import chains
from bayes_gmm.posterior.convergence import convergence, too_large
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.identification import separation
from bayes_gmm.posterior.modes import log_mass, unconstrained
from bayes_gmm.results.compare import compare
from bayes_gmm.results.diagnostics import diagnose
from bayes_gmm.results.reading import draws_of
from tests.helpers import random_parameters


def names(diagnosis):
    return [finding.name for finding in diagnosis.reasons]


def rebuild(x, draws, n_components, **more):
    return posterior_result(draws, x, ConjugatePrior.default(x, n_components), **more)


def swap(draws, chain, order=(1, 0)):
    """Renumber the components of one chain."""
    swapped = [array.copy() for array in draws]
    for array in swapped:
        array[chain] = array[chain][:, list(order)]
    return tuple(swapped)


def replace_chain(draws, chain, other):
    replaced = [array.copy() for array in draws]
    for array, instead in zip(replaced, other, strict=True):
        array[chain] = instead
    return tuple(replaced)


@pytest.fixture(scope="module")
def clean():
    x, z, _, result = two_components(5, n_draws=500)
    return x, z, draws_of(result), result


@pytest.mark.parametrize("seed", range(3))
def test_sound_samples_are_not_flagged(seed):
    for result in (one_component(seed, n_draws=500)[2], two_components(seed, n_draws=500)[3]):
        diagnosis = diagnose(result)
        assert diagnosis.ok, str(diagnosis)
        assert diagnosis.reasons == ()
        assert diagnosis.verdict.startswith("Converged (largest label-invariant R-hat 1.00")


def test_the_false_alarm_rate_of_rhat_on_eight_scalars_is_small():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(40, 4, 1000, 8))
    largest = [convergence(sample).rhat.max() for sample in samples]
    assert max(largest) < 1.01
    assert max(largest) > 1.001


def test_a_stuck_chain_is_named(clean):
    x, _, draws, _ = clean
    for stuck in (
        tuple(array[2, :1] for array in draws),  # repeats one draw
        (
            draws.weights[2, :1],
            draws.means[2, :1] + 1e-5 * draws.means[2],
            draws.covariances[2, :1],
        ),
    ):
        diagnosis = diagnose(rebuild(x, replace_chain(draws, 2, stuck), 2))
        assert not diagnosis.ok
        assert names(diagnosis) == ["stuck_chains"]
        assert diagnosis.verdict == "Not converged. Chain 2 hardly moved."
        assert diagnosis.chains["mode"].tolist() == ["0", "0", "stuck", "0"]


def test_a_second_mode_is_told_from_short_chains(clean):
    x, _, draws, _ = clean
    rng = np.random.default_rng(1)
    elsewhere = conjugate_posterior(x, rng.integers(0, 2, len(x)), 2)
    other = tuple(array[0] for array in exact_draws(elsewhere, 1, draws.n_draws, rng))
    diagnosis = diagnose(rebuild(x, replace_chain(draws, 3, other), 2))
    assert not diagnosis.converged
    assert names(diagnosis) == ["several_modes"]
    assert "chains 0, 1, 2 (mean log posterior" in diagnosis.verdict
    assert "chain 3 (mean log posterior" in diagnosis.verdict
    assert diagnosis.reasons[0].value == 2
    assert diagnosis.chains["mode"].tolist() == ["0", "0", "0", "1"]


@pytest.mark.parametrize("n_draws", [100, 400])
def test_short_chains_are_told_from_several_modes(n_draws):
    x, exact, _ = one_component(2, d=1)
    rng = np.random.default_rng(n_draws)
    rho = 0.98
    noise = rng.normal(size=(2, 4, n_draws + 500)) * np.sqrt(1 - rho**2)
    slow = lfilter([1], [1, -rho], noise, axis=2)[:, :, 500:]
    variance = exact.scale[0, 0, 0] / exact.degrees_of_freedom[0]
    means = exact.mean[0, 0] + np.sqrt(variance / len(x)) * slow[0]
    draws = (
        np.ones((4, n_draws, 1)),
        means[..., None, None],
        (variance * np.exp(0.2 * slow[1]))[..., None, None, None],
    )
    diagnosis = diagnose(rebuild(x, draws, 1))
    assert not diagnosis.converged
    assert names(diagnosis) == ["short_chains"]
    assert "Draw about" in diagnosis.reasons[0].advice
    found = diagnosis.reasons[0]
    assert (found.value > found.threshold) == ("R-hat" in found.statement)


def test_few_draws_are_short_chains(clean):
    x, _, draws, _ = clean
    few = diagnose(rebuild(x, tuple(array[:, :80] for array in draws), 2))
    assert names(few) == ["short_chains"]
    tiny = diagnose(rebuild(x, tuple(array[:, :4] for array in draws), 2))
    assert names(tiny) == ["short_chains"]
    assert "4 draws per chain cannot be judged" in tiny.verdict
    assert "short_chains" in str(tiny)


def test_label_switching_is_no_fault_and_is_reported_beside_the_verdict(clean):
    x, _, draws, _ = clean
    rng = np.random.default_rng(3)
    order = np.tile([0, 1], (4, draws.n_draws, 1))
    order[1] = [1, 0]
    flipped = rng.random(draws.n_draws) < 0.3
    order[2, flipped] = [1, 0]
    result = rebuild(x, tuple(draws), 2, permutation=order)
    diagnosis = diagnose(result)

    assert diagnosis.ok
    assert diagnosis.reasons == ()
    assert "switch" not in diagnosis.verdict
    assert diagnosis.labels.renamed == pytest.approx((1 + flipped.mean()) / 4)
    assert "Label switching: relabelling changed the labels of" in " ".join(str(diagnosis).split())
    np.testing.assert_allclose(diagnosis.chains["other labels"], [0, 1, flipped.mean(), 0])
    np.testing.assert_allclose(diagnosis.chains["switches"], [0, 0, flipped.mean(), 0])
    raw = draws_of(result).reorder(np.argsort(order, axis=-1))
    assert convergence(raw.means[..., 0, :]).rhat.min() > 1.3  # what a naive look would see


def test_components_that_change_from_chain_to_chain_are_no_failure_of_the_mixture(clean):
    x, _, draws, _ = clean
    diagnosis = diagnose(rebuild(x, swap(draws, 3), 2))
    assert diagnosis.converged
    assert not diagnosis.identified
    assert not diagnosis.ok
    assert names(diagnosis)[0] == "labels_disagree"
    assert "not for every single component" in diagnosis.verdict


def test_two_components_of_the_same_cluster_are_not_told_apart():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    exact = conjugate_posterior(x, rng.integers(0, 2, len(x)), 2)
    diagnosis = diagnose(rebuild(x, exact_draws(exact, 4, 500, rng), 2))
    assert diagnosis.converged
    assert names(diagnosis) == ["not_told_apart", "ambiguous_labels", "dispensable_component"]
    assert diagnosis.reasons[0].value < 2


def test_many_findings_of_a_kind_are_one_with_a_number():
    rng = np.random.default_rng(0)
    x, k = rng.normal(size=(240, 2)), 6
    exact = conjugate_posterior(x, rng.integers(0, k, len(x)), k)
    result = rebuild(x, exact_draws(exact, 4, 250, rng), k)
    found = {one.name: one for one in diagnose(result).reasons}
    distances = [separation(draws_of(result), one, two) for two in range(k) for one in range(two)]
    n_alike = sum(distance < 2 for distance in distances)
    assert n_alike > 6
    said = found["not_told_apart"].statement
    assert said.startswith("Components ")
    assert said.count(" and ") == 4  # three pairs, and
    assert f"and {n_alike - 3} more (see nearest in the table of components)" in said
    assert found["not_told_apart"].value == pytest.approx(min(distances))


def test_several_components_without_rows_are_one_finding():
    rng = np.random.default_rng(0)
    x = np.vstack([rng.normal(size=(98, 1)), [[30.0]], [[60.0]]])
    z = np.array([0] * 98 + [1, 2])
    diagnosis = diagnose(rebuild(x, exact_draws(conjugate_posterior(x, z, 3), 4, 500, rng), 3))
    (empty,) = [one for one in diagnosis.reasons if one.name == "nearly_empty"]
    assert empty.statement.startswith("Components 1, 2 have fewer than 2 rows in up to ")
    shares = diagnosis.labels.table["nearly_empty"]
    assert empty.value == pytest.approx(shares[1:].max())


def test_separation_is_that_of_the_parameter_that_tells_best(clean):
    draws = clean[2]
    distances = []
    for values in (draws.weights, draws.means[..., 0], draws.means[..., 1]):
        difference = values[..., 0] - values[..., 1]
        distances.append(abs(difference.mean()) / difference.std())
    assert separation(draws, 0, 1) == pytest.approx(max(distances))


def test_a_component_without_rows_is_named():
    rng = np.random.default_rng(0)
    x = np.vstack([rng.normal(size=(99, 1)), [[30.0]]])
    z = np.array([0] * 99 + [1])
    diagnosis = diagnose(rebuild(x, exact_draws(conjugate_posterior(x, z, 2), 4, 500, rng), 2))
    assert diagnosis.converged
    assert "nearly_empty" in names(diagnosis)
    assert any(f.statement.startswith("Component 1 has") for f in diagnosis.reasons)


@pytest.mark.parametrize(
    ("share", "found", "ok"),
    [
        (0.02, "divergences", False),
        (0.001, "few_divergences", True),
    ],
)
def test_divergences_count_from_one_in_a_thousand(clean, share, found, ok):
    x, _, draws, _ = clean
    diverging = np.zeros((4, draws.n_draws), dtype=bool)
    diverging[0, : round(share * diverging.size)] = True
    diagnosis = diagnose(rebuild(x, tuple(draws), 2, diverging=diverging))
    assert diagnosis.ok is ok
    assert names(diagnosis) == [found]
    assert diagnosis.reasons[0].value == pytest.approx(share)


def test_a_log_density_that_is_not_finite_is_found(clean):
    result = clean[3].copy(deep=True)
    result["invariants"]["log_posterior"][1, 7] = -np.inf
    diagnosis = diagnose(result)
    assert not diagnosis.converged
    assert names(diagnosis) == ["not_finite"]
    assert "not_finite" in str(diagnosis)


def test_one_chain_is_compared_with_itself(clean):
    x, _, draws, _ = clean
    assert names(diagnose(rebuild(x, tuple(array[:1] for array in draws), 2))) == ["one_chain"]
    drifting = draws.weights[:1], draws.means[:1].copy(), draws.covariances[:1]
    drifting[1][0, :250] += 3.0
    assert "short_chains" in names(diagnose(rebuild(x, drifting, 2)))


def test_the_verdict_does_not_depend_on_the_units():
    x, _, _, result = two_components(5, n_draws=250)
    draws = draws_of(result)
    shift, scale = np.array([4e-9, -3e8]), np.array([1e-9, 1e7])
    moved = (
        draws.weights,
        shift + scale * draws.means,
        draws.covariances * np.outer(scale, scale),
    )
    other = diagnose(rebuild(shift + scale * x, moved, 2))
    here = diagnose(result)
    assert here.ok == other.ok
    measured = ["rhat", "ess_bulk", "ess_tail"]
    np.testing.assert_allclose(other.table[measured], here.table[measured], rtol=0.02)


def test_chains_group_by_what_they_found():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 400, 3))
    values[1] += [0.0, 1.0, 0.0]
    values[4] += [0.0, 1.0, 0.0]
    values[5] += 0.02 * np.arange(400)[:, None]
    assert chains.modes(values) == [[0, 2, 3], [1, 4]]
    sizes = np.stack([convergence(chain[None]).ess_bulk for chain in values])
    assert chains.settled(sizes).tolist() == [True] * 5 + [False]


def test_convergence_survives_constants_and_short_chains():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 100, 3))
    values[..., 1] = 7.0
    measured = convergence(values)
    assert np.isnan(measured.rhat).tolist() == [False, True, False]
    tiny = convergence(1e9 + 1e-5 * values)
    np.testing.assert_allclose(tiny.ess_bulk, measured.ess_bulk, rtol=0.05)
    assert np.isnan(convergence(values[:, :5]).rhat).all()
    apart = convergence(np.broadcast_to(np.arange(4.0)[:, None, None], (4, 100, 1)))
    assert apart.rhat[0] > 1e6


def test_only_a_posterior_is_diagnosed():
    with pytest.raises(InputError, match=r"must be a result of bg.sample; got .* type str"):
        diagnose("posterior")


def test_the_mass_of_a_mode_is_the_evidence_where_there_is_one_mode():
    for seed, n, d in ((0, 60, 2), (1, 200, 1), (2, 300, 3)):
        x, exact, result = one_component(seed, n=n, d=d, n_draws=500)
        prior = ConjugatePrior.default(x, 1)
        evidence = prior.log_normalizer - exact.log_normalizer - n * d / 2 * np.log(2 * np.pi)
        height = result["invariants"]["log_posterior"].to_numpy()
        # The best of 2000 draws is below the peak, by a part of a nat in up to nine dimensions.
        assert log_mass(draws_of(result), height) == pytest.approx(evidence, abs=0.6)
        few = Draws(*(array[:1, :9] for array in draws_of(result)))
        assert np.isnan(log_mass(few, height[:1, :9])) or d == 1


def test_the_mass_counts_two_components_of_known_labels():
    # With labels that are in no doubt, the evidence of the mixture is that of its labelling.
    x, _, exact, result = two_components(3, n_draws=500)
    prior = ConjugatePrior.default(x, 2)
    evidence = prior.log_normalizer - exact.log_normalizer - x.size / 2 * np.log(2 * np.pi)
    height = result["invariants"]["log_posterior"].to_numpy()
    assert log_mass(draws_of(result), height) == pytest.approx(evidence, abs=2.0)


def test_the_jacobian_is_that_of_the_coordinates():
    rng = np.random.default_rng(0)
    theta = random_parameters(rng, 3, 2)
    draws = Draws(*(a[None, None] for a in (theta.weights, theta.means, theta.covariances)))
    lower = np.tril_indices(2)

    def free(flat):
        weights = np.append(flat[:2], 1 - flat[:2].sum())
        covariances = np.empty((3, 2, 2))
        covariances[:, *lower] = flat[8:].reshape(3, 3)
        covariances[:, lower[1], lower[0]] = flat[8:].reshape(3, 3)
        means = flat[2:8].reshape(3, 2)
        return unconstrained(Draws(*(a[None, None] for a in (weights, means, covariances))))[0][
            0, 0
        ]

    at = np.concatenate(
        [theta.weights[:2], theta.means.ravel(), theta.covariances[:, *lower].ravel()]
    )
    steps = 1e-6 * np.eye(len(at))
    slope = np.array([(free(at + step) - free(at - step)) / 2e-6 for step in steps])
    assert unconstrained(draws)[1][0, 0] == pytest.approx(-np.linalg.slogdet(slope)[1], rel=1e-6)


def test_a_chain_in_a_mode_of_negligible_mass_is_recognized(clean):
    x, _, draws, _ = clean
    rng = np.random.default_rng(1)
    elsewhere = conjugate_posterior(x, rng.integers(0, 2, len(x)), 2)
    other = tuple(array[0] for array in exact_draws(elsewhere, 1, draws.n_draws, rng))
    result = rebuild(x, replace_chain(draws, 3, other), 2)
    diagnosis = diagnose(result)
    finding = diagnosis.reasons[0]
    assert "Chain 3 is in a mode with about " in finding.statement
    assert "posterior.isel(chain=[0, 1, 2])" in finding.advice
    assert diagnosis.chains["mode's mass"].tolist()[:3] == [1.0] * 3
    assert diagnosis.chains["mode's mass"][3] < 1e-20
    assert diagnose(result.isel(chain=[0, 1, 2])).ok


def test_modes_of_like_mass_are_both_to_be_reported(clean):
    x, _, draws, _ = clean
    shift = np.zeros((4, 1, 1))
    shift[2:] = 3 * draws.means[..., 0, 0].std()
    moved = draws.means + shift[..., None]
    result = rebuild(x, (draws.weights, moved, draws.covariances), 2)
    finding = diagnose(result).reasons[0]
    assert finding.name == "several_modes"
    assert "These modes hold about" in finding.statement
    assert "report each mode separately" in finding.advice
    del result["invariants"]["log_posterior"]
    silent = diagnose(result)
    assert silent.chains.columns[0] == "log likelihood"
    assert "mass" not in silent.verdict


def test_rhat_is_large_by_chance_as_often_as_is_said():
    rng = np.random.default_rng(0)
    rho, n_quantities = 0.8, 5
    noise = rng.normal(size=(60, 4, 800, n_quantities)) * np.sqrt(1 - rho**2)
    samples = lfilter([1], [1, -rho], noise, axis=2)[:, :, 300:]
    above = 0
    for sample in samples:
        measured = convergence(sample)
        above += (measured.rhat > 1.01).any()
        assert np.isnan(too_large(sample, measured.rhat, 1.01)).all()
    assert above > 30  # which the bare threshold would have accused
    samples[0, 1] += 0.6 * samples[0].std()
    assert (too_large(samples[0], convergence(samples[0]).rhat, 1.01) > 1.01).any()


def test_constants_that_differ_from_chain_to_chain_have_no_excuse():
    apart = np.broadcast_to(np.arange(4.0)[:, None, None], (4, 100, 1))
    assert too_large(apart, convergence(apart).rhat, 1.01).tolist() == [1.01]


def test_label_switching_is_measured(clean):
    x, _, draws, _ = clean
    rng = np.random.default_rng(3)
    order = np.tile([0, 1], (4, draws.n_draws, 1))
    order[1] = [1, 0]
    flipped = rng.random(draws.n_draws) < 0.3
    order[2, flipped] = [1, 0]
    labels = diagnose(rebuild(x, tuple(draws), 2, permutation=order)).labels
    assert labels.renamed == pytest.approx((1 + flipped.mean()) / 4)
    np.testing.assert_allclose(labels.switches, [0, 0, flipped.mean(), 0])
    assert labels.chains_differ
    assert labels.rhat_raw > 1.3
    assert max(labels.rhat_relabelled, labels.rhat_label_free) < 1.01
    assert labels.ambiguous == 0
    assert labels.unidentified == []
    assert labels.occupied.to_dict() == {2: 1.0}
    assert re.search(r"1\.00\d\s+relabelled", str(labels))
    assert "2: 100.0%" in labels._repr_html_()
    np.testing.assert_allclose(labels.table["weight"], draws.weights.mean(axis=(0, 1)))


def test_tables_refuse_to_pretend_that_a_component_without_identity_has_one(clean):
    x, _, draws, _ = clean
    result = rebuild(x, swap(draws, 3), 2)
    labels = diagnose(result).labels
    assert labels.unidentified == [0, 1]
    assert "no: differs between chains" in str(labels)
    assert f"{labels.table['weight'][0]:.3f}" not in str(labels)
    comparison = compare(maximum_likelihood(x, np.repeat([0, 1], 100), 2), result)
    assert not comparison._identified.any()
    rows = [line for line in str(comparison).splitlines() if line.startswith("mean[0")]
    assert rows and all(set(line.split()[2:]) == {"-"} for line in rows)
    said = " ".join(str(comparison).split())
    assert "Components 0, 1 are not identified (differs between chains)" in said
    assert "every parameter lies inside" not in str(comparison)


def test_naming_is_ambiguous_where_draws_of_two_components_are_of_one_kind():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    same = conjugate_posterior(x, rng.integers(0, 2, len(x)), 2)
    labels = diagnose(rebuild(x, exact_draws(same, 4, 250, rng), 2)).labels
    assert labels.ambiguous > 0.1
    assert (labels.table["ambiguous"] == labels.ambiguous).all()  # of two, both swap or neither
