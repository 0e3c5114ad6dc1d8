"""The fold over blocks of rows: the same statistics, however the rows are cut and shared out."""

import multiprocessing
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import random_parameters
from threadpoolctl import threadpool_info, threadpool_limits

from bayes_gmm.data import Observations
from bayes_gmm.kernels import reference, rows
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.statistics import SufficientStatistics

FIELDS = ("log_normalizer", "count", "first", "second", "center")


def problem(n_rows: int, n_features: int) -> tuple[Observations, Parameters]:
    rng = np.random.default_rng([n_rows, n_features])
    unit = 10.0 ** rng.uniform(-3, 3, n_features)
    x = unit * (rng.normal(size=(n_rows, n_features)) + 4)
    return Observations.of(x), random_parameters(rng, 3, n_features, spread=1.0)


def assert_close(a: SufficientStatistics, b: SufficientStatistics, rtol: float) -> None:
    for name in FIELDS:
        found, expected = np.asarray(getattr(a, name)), np.asarray(getattr(b, name))
        np.testing.assert_allclose(
            found, expected, rtol=rtol, atol=rtol * np.abs(expected).max(), err_msg=name
        )


@pytest.mark.parametrize("n_features", [2, 13])
def test_statistics_add_over_blocks_of_any_size(n_features):
    observations, theta = problem(2000, n_features)
    functions = theta.log_quadratic()
    whole = reference.accumulate(
        observations.values, observations.origin, observations.scale, functions
    )
    for block_rows in (37, 511, 512, 1000, 1999, 2000, 10_000):
        expect = expectation(observations, threads=1, block_rows=block_rows)
        assert_close(expect(functions), whole, 1e-12)
    few, _ = problem(30, n_features)
    one_by_one = expectation(few, threads=1, block_rows=1)(functions)
    whole = reference.accumulate(few.values, few.origin, few.scale, functions)
    assert_close(one_by_one, whole, 1e-12)


@pytest.mark.parametrize("n_features", [1, 2, 12, 13, 40])
def test_statistics_are_bitwise_the_same_for_any_number_of_threads(n_features):
    observations, theta = problem(5000, n_features)
    functions = theta.log_quadratic()
    alone = expectation(observations, threads=1, block_rows=600)(functions)
    for threads in (1, 2, 4):
        for _ in range(3):
            found = expectation(observations, threads=threads, block_rows=600)(functions)
            for name in FIELDS:
                np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))
    regrouped = expectation(observations, threads=1, block_rows=500)(functions)
    assert (regrouped.second != alone.second).any()  # the order of a sum does show, if it changes


def test_the_default_cut_and_threads_give_the_statistics_of_the_rows():
    observations, theta = problem(70_000, 2)
    functions = theta.log_quadratic()
    found = expectation(observations)(functions)
    standard = (observations.values - observations.origin) / observations.scale
    assert found.log_normalizer == pytest.approx(mixture.log_likelihood(standard, theta), rel=1e-12)
    assert_close(
        found,
        reference.accumulate(
            observations.values, observations.origin, observations.scale, functions
        ),
        1e-11,
    )
    for name in FIELDS:
        alone = expectation(observations, threads=1)(functions)
        np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))


def test_the_pass_is_in_coordinates_of_mean_zero_and_sd_one():
    observations, _ = problem(1000, 3)
    standard = Parameters([1.0], np.zeros((1, 3)), [np.eye(3)])
    found = expectation(observations)(standard.log_quadratic())
    np.testing.assert_allclose(found.first, 0, atol=1e-9)
    np.testing.assert_allclose(np.diagonal(found.second[0]), 1000, rtol=1e-12)


def test_expect_can_be_called_again_and_forgets_the_call_before():
    observations, theta = problem(3000, 2)
    expect = expectation(observations, threads=2, block_rows=500)
    first = expect(theta.log_quadratic())
    expect(random_parameters(np.random.default_rng(1), 5, 2).log_quadratic())
    again = expect(theta.log_quadratic())
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_memory_mapped_file_gives_the_statistics_of_its_numbers(tmp_path, dtype):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3000, 2)).astype(dtype)
    file = tmp_path / "x.npy"
    np.save(file, x)
    theta = random_parameters(rng, 3, 2)
    mapped = Observations.of(np.load(file, mmap_mode="r"))
    assert mapped.values.dtype == dtype
    read = rows.sorted_blocks(mapped, 700)
    assert next(read()) is not next(read())  # and held nowhere, which would take its memory twice
    found = expectation(mapped, threads=2, block_rows=700)(theta.log_quadratic())
    loaded = Observations.of(x.astype(np.float64))
    np.testing.assert_allclose(mapped.origin, loaded.origin, rtol=1e-12, atol=1e-15)
    expected = expectation(loaded, threads=2, block_rows=700)(theta.log_quadratic())
    assert_close(found, expected, 1e-12)


def test_passes_that_overlap_in_time_leave_blas_as_they_found_it():
    """The first one in is the first one out."""
    observations, theta = problem(1000, 2)
    first_in, second_in, first_out = (threading.Event() for _ in range(3))

    def first_kernel(*arguments, **options):
        first_in.set()
        second_in.wait(2)  # in vain, where passes wait for each other
        return rows.accumulate(*arguments, **options)

    def second_kernel(*arguments, **options):
        second_in.set()
        first_out.wait(2)
        return rows.accumulate(*arguments, **options)

    def threads_of_blas() -> list[int]:
        return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]

    before = threads_of_blas()
    if max(before) == 1:
        pytest.skip("BLAS has one thread here, and none to lose")
    first, second = (
        expectation(observations, kernel=kernel, threads=2)
        for kernel in (first_kernel, second_kernel)
    )
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first, theta.log_quadratic())
        assert first_in.wait(10)
        other = pool.submit(second, theta.log_quadratic())
        one.result()
        first_out.set()
        other.result()
    after = threads_of_blas()
    threadpool_limits(limits=max(before), user_api="blas")  # for the tests that follow
    assert after == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks by habit")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_can_use_threads_though_those_of_its_parent_are_gone():
    observations, theta = problem(3000, 2)
    functions = theta.log_quadratic()
    expect = expectation(observations, threads=2, block_rows=500)
    expected = expect(functions).log_normalizer  # the parent's threads have started now
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(expect(functions).log_normalizer))
    child.start()
    try:
        assert receiver.poll(timeout=20), "the child waits for threads that it does not have"
        assert receiver.recv() == expected
    finally:
        child.kill()
        child.join()
