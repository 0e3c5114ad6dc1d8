"""Each kernel has one signature and one copy, whatever arrays come and whatever ran before."""

import importlib
import os
import pkgutil
import subprocess
import sys
from collections import Counter

import numba
import numpy as np
import pandas as pd
import pytest
from numba.core.dispatcher import Dispatcher

import bayes_gmm as bg
import bayes_gmm.kernels
from bayes_gmm.kernels import kernel, rule
from bayes_gmm.kernels.kernel import Kernel, c_order
from bayes_gmm.kernels.pointwise import sweep
from bayes_gmm.kernels.signatures import REAL
from bayes_gmm.model.structures import CODES, Structure


def rows():
    """Two groups of 120 rows, in numbers that float32 holds exactly."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(240, 2)) + 5.0 * rng.integers(2, size=240)[:, None]
    return x.astype(np.float32).astype(np.float64)


def mapped(x, folder):
    file = folder / f"{x.dtype}.npy"
    np.save(file, x)
    return np.load(file, mmap_mode="r")


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def misaligned(x):
    found = np.frombuffer(bytes(1) + x.tobytes(), offset=1).reshape(x.shape)
    assert not found.flags.aligned
    return found


KINDS = {
    "float32": lambda x, folder: x.astype(np.float32),
    "Fortran order": lambda x, folder: np.asfortranarray(x),
    "read-only": lambda x, folder: read_only(x),
    "mapped": mapped,
    "mapped float32": lambda x, folder: mapped(x.astype(np.float32), folder),
    "DataFrame": lambda x, folder: pd.DataFrame(x, columns=["x0", "x1"]),
    "every second row": lambda x, folder: np.repeat(x, 2, axis=0)[::2],
    "backwards": lambda x, folder: x[::-1].copy()[::-1],
    "columns of more": lambda x, folder: np.repeat(x, 3, axis=1)[:, ::3],
    "misaligned": lambda x, folder: misaligned(x),
    "other byte order": lambda x, folder: x.astype(">f8"),
    "lists": lambda x, folder: x.tolist(),
    "blocks": lambda x, folder: [x[:100], np.asfortranarray(x[100:])],
}


def everything(x, in_memory=True):
    """What the verbs return, as arrays."""
    fitted = bg.fit(x, 2, seed=1)
    options = {"tune": 20, "draws": 20, "chains": 2, "seed": 3, "progressbar": False}
    engines = ("gibbs", "nuts") if in_memory else ("gibbs",)
    posteriors = [bg.sample(x, 2, engine=engine, **options) for engine in engines]
    trees = [fitted["point_estimate"], *(tree["posterior"] for tree in posteriors)]
    if in_memory:
        trees += [bg.predict(posteriors[0], x), bg.fit(x, 2, covariance="VEV", seed=1)]
        trees.append(bg.standard_errors(fitted).table.select_dtypes("number").to_numpy())
        trees.append(bg.log_density(posteriors[0], x))
        trees.append(bg.add_log_likelihood(posteriors[0])["log_likelihood"])
    return [np.asarray(a, float) for tree in trees for a in numbers(tree)]


def numbers(tree):
    """Arrays of numbers in a tree, a data set or an array."""
    if hasattr(tree, "subtree"):
        return [a for node in tree.subtree for a in numbers(node.dataset)]
    variables = tree.data_vars.values() if hasattr(tree, "data_vars") else [tree]
    return [np.asarray(each) for each in variables if each.dtype.kind in "fi"]


@pytest.fixture(scope="module")
def of_plain_rows():
    return everything(rows())


def modules():
    paths = pkgutil.iter_modules(bayes_gmm.kernels.__path__, "bayes_gmm.kernels.")
    return [importlib.import_module(path.name) for path in paths]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_equal_numbers_give_equal_results_to_the_last_bit_however_they_are_kept(
    kind, of_plain_rows, tmp_path
):
    x = KINDS[kind](rows(), tmp_path)
    found = everything(x, in_memory=kind != "blocks")
    expected = everything(rows(), in_memory=False) if kind == "blocks" else of_plain_rows
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_after_every_kind_of_input_each_kernel_has_one_signature(of_plain_rows):
    """What numba compiled besides is inlined, and has none of its own."""
    values = [value for module in modules() for value in vars(module).values()]
    kernels = {value for value in values if isinstance(value, Kernel)}
    kernels |= {rule.project(Structure.of(code, 2)) for code in CODES}
    in_use = [each for each in kernels if each._compiled is not None]
    assert len(in_use) > 10
    for each in in_use:
        assert len(each.compiled().signatures) == 1, each.symbol
    for helper in values:
        if isinstance(helper, Dispatcher):
            assert helper.signatures == [], helper


def test_a_kernel_refuses_an_array_of_another_layout_or_type():
    theta = bg.Parameters([0.5, 0.5], [[0.0, 0.0], [1.0, 1.0]], [np.eye(2)] * 2)
    right = c_order(rows(), *theta.log_quadratic(), np.empty(0))
    sweep(*right)
    for wrong in (np.asfortranarray(rows()), rows()[::2], rows().astype(np.float32)):
        with pytest.raises(TypeError, match="No matching definition"):
            sweep(wrong, *right[1:])


def plus_one(number):
    return number + 1.0


def test_a_kernel_is_loaded_from_the_cache_unless_any_source_has_changed(monkeypatch, tmp_path):
    """Its own file may be the same, and one whose functions are inlined another."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))

    def was_loaded():
        made = kernel.kernel(REAL(REAL))(plus_one)
        assert made(1.0) == 2.0
        return bool(made.compiled().stats.cache_hits)

    assert [was_loaded(), was_loaded()] == [False, True]
    monkeypatch.setattr(kernel, "SOURCES", (("log_rho.py", 0.0, 1),))
    assert [was_loaded(), was_loaded()] == [False, True]


def test_an_import_loads_no_kernel():
    program = """
import bayes_gmm.kernels.short_runs, bayes_gmm.kernels.membership, bayes_gmm.inference.gibbs.chain
import gc
from bayes_gmm.kernels.kernel import Kernel
kernels = [each for each in gc.get_objects() if isinstance(each, Kernel)]
assert len(kernels) > 10
assert all(each._compiled is None for each in kernels)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


PREPARE = """
import warnings
import numpy as np
warnings.simplefilter("ignore")
import bayes_gmm as bg
from bayes_gmm.data import Observations

rng = np.random.default_rng(0)
x = rng.normal(size=(1300, {n_features})) + 2.0 * rng.integers(3, size=1300)[:, None]
theta = bg.ConjugatePrior.default(x, 3).sample(rng)
options = dict(draws=30, tune=30, chains=2, cores=2, seed=3, progressbar=False)

def show(*arrays):
    for array in arrays:
        print(np.ascontiguousarray(array, float).tobytes().hex())

def show_tree(tree):
    for node in tree.subtree:
        show(*(each for each in node.dataset.data_vars.values() if each.dtype.kind in "fi"))
"""
PASSES = {
    "pass": """
from bayes_gmm.kernels.chunks import expectation
found = expectation(Observations.of(x))(theta.log_quadratic())
show(found.log_normalizer, found.count, found.first, found.second)
""",
    "gradient": """
from bayes_gmm.inference.settings import standardized
from bayes_gmm.kernels.log_posterior import LogPosterior
from bayes_gmm.model.free_coordinates import FreeCoordinates
observations = Observations.of(x)
coordinates = FreeCoordinates(standardized(bg.ConjugatePrior.default(x, 3), observations))
density = LogPosterior(observations, coordinates)
show(*density(coordinates.of(standardized(theta, observations))))
""",
    "membership": """
from bayes_gmm.kernels.membership import Ensemble
show(*Ensemble.of([theta] * 3).membership(x), Ensemble.of([theta] * 3).log_density(x))
""",
}
VERBS = {
    "fit": "show_tree(bg.fit(x, 2, seed=1)['point_estimate'])",
    "standard errors": """
found = bg.standard_errors(bg.fit(x, 2, covariance="EEE", seed=1))
show(found.table.select_dtypes("number"))
""",
    "gibbs": "show_tree(bg.sample(x, 2, engine='gibbs', **options)['posterior'])",
    "nuts": "show_tree(bg.sample(x, 2, engine='nuts', **options)['posterior'])",
    "predict": """
tree = bg.sample(x, 2, engine='gibbs', **options)
show(bg.log_density(tree, x))
show_tree(bg.add_log_likelihood(tree)['log_likelihood'])
""",
    "operation": """
import pytensor, pytensor.tensor as pt
from bayes_gmm.inference.pymc.fused_op import pointwise_log_density
symbols = pt.matrix("x"), pt.vector("o"), pt.matrix("c"), pt.tensor3("w")
value = pointwise_log_density(*symbols)
gradient = pt.grad(value.sum(), list(symbols[1:]))
show(*pytensor.function(list(symbols), [value, *gradient])(x, *theta.log_quadratic()))
""",
}


def started(cache, program, n_features):
    return subprocess.Popen(
        [sys.executable, "-c", PREPARE.format(n_features=n_features) + program],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        text=True,
    )


def printed(process):
    output, _ = process.communicate()
    assert process.returncode == 0
    assert output.strip()
    return output


def assert_no_process_sees_another(programs, n_features, folder):
    """Several at once on one empty cache, each again there, and each alone on its own."""
    shared = folder / "shared"
    together = {name: started(shared, p, n_features) for name, p in programs.items()}
    outputs = {name: printed(process) for name, process in together.items()}
    for name, program in programs.items():
        assert printed(started(folder / name, program, n_features)) == outputs[name], name
        assert printed(started(shared, program, n_features)) == outputs[name], name
    of_index = Counter(f"{file.name.split('.py3')[0]}" for file in shared.rglob("*.nb[ic]"))
    assert len(of_index) >= 4
    assert set(of_index.values()) == {2}, of_index  # an index, and one compiled version


def test_processes_on_one_empty_cache_compute_what_each_computes_alone(tmp_path):
    assert_no_process_sees_another(PASSES, 2, tmp_path)


@pytest.mark.validate
@pytest.mark.parametrize("n_features", [2, 16])
def test_verbs_on_one_empty_cache_return_what_each_returns_alone(n_features, tmp_path):
    assert_no_process_sees_another(VERBS, n_features, tmp_path)
