"""Bayesian Gaussian mixtures: the model, EM, the posterior, and a comparison of them.

    z ~ Categorical(phi)        x | z = k ~ N(mu_k, Sigma_k)

Import as ``import bayes_gmm as bg``. Modules are loaded when they are first used, so that importing
the package is instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bayes_gmm import datasets
from bayes_gmm.errors import (
    CollapseError,
    CollapseWarning,
    ConvergenceWarning,
    FileFormatWarning,
    IdentificationWarning,
    InputError,
    OutlierWarning,
)

if TYPE_CHECKING:
    from bayes_gmm import plots, results
    from bayes_gmm.api.compare import compare
    from bayes_gmm.api.fit import fit
    from bayes_gmm.api.from_trace import from_trace
    from bayes_gmm.api.groups import add_groups, add_log_likelihood
    from bayes_gmm.api.posterior import pymc_model, sample
    from bayes_gmm.api.pymc_mixture import mixture_logp, pymc_mixture
    from bayes_gmm.api.select import select
    from bayes_gmm.api.simulate import simulate
    from bayes_gmm.api.standard_errors import point_estimate, standard_errors
    from bayes_gmm.data.files import read
    from bayes_gmm.inference.gibbs.step import GibbsStep
    from bayes_gmm.model.hierarchical_prior import HierarchicalPrior
    from bayes_gmm.model.independent_prior import IndependentPrior
    from bayes_gmm.model.number_of_components import NumberOfComponents
    from bayes_gmm.model.parameters import Parameters
    from bayes_gmm.model.priors import ConjugatePrior
    from bayes_gmm.model.semiconjugate_prior import SemiconjugatePrior
    from bayes_gmm.pipeline import analyze
    from bayes_gmm.reports import write_report as report
    from bayes_gmm.results.analysis import load, save
    from bayes_gmm.results.checks import check
    from bayes_gmm.results.clustering import co_clustering, partition, sample_labels
    from bayes_gmm.results.diagnostics import diagnose
    from bayes_gmm.results.evidence import evidence
    from bayes_gmm.results.given import given
    from bayes_gmm.results.groups import one_feature
    from bayes_gmm.results.loo import loo
    from bayes_gmm.results.predictive import log_density, predict
    from bayes_gmm.results.relabel import relabel
    from bayes_gmm.results.sensitivity import sensitivity

__version__ = "0.1.0"

__all__ = [
    "CollapseError",
    "CollapseWarning",
    "ConjugatePrior",
    "ConvergenceWarning",
    "FileFormatWarning",
    "GibbsStep",
    "HierarchicalPrior",
    "IdentificationWarning",
    "IndependentPrior",
    "InputError",
    "NumberOfComponents",
    "OutlierWarning",
    "Parameters",
    "SemiconjugatePrior",
    "add_groups",
    "add_log_likelihood",
    "analyze",
    "check",
    "co_clustering",
    "compare",
    "datasets",
    "diagnose",
    "evidence",
    "fit",
    "from_trace",
    "given",
    "load",
    "log_density",
    "loo",
    "mixture_logp",
    "one_feature",
    "partition",
    "plots",
    "point_estimate",
    "predict",
    "pymc_mixture",
    "pymc_model",
    "read",
    "relabel",
    "report",
    "results",
    "sample",
    "sample_labels",
    "save",
    "select",
    "sensitivity",
    "simulate",
    "standard_errors",
]

# Where the names live whose modules import NumPy, SciPy or more: "module" or "module:name".
_LATER = {
    "GibbsStep": "bayes_gmm.inference.gibbs.step",
    "HierarchicalPrior": "bayes_gmm.model.hierarchical_prior",
    "IndependentPrior": "bayes_gmm.model.independent_prior",
    "NumberOfComponents": "bayes_gmm.model.number_of_components",
    "Parameters": "bayes_gmm.model.parameters",
    "ConjugatePrior": "bayes_gmm.model.priors",
    "SemiconjugatePrior": "bayes_gmm.model.semiconjugate_prior",
    **dict.fromkeys(("add_groups", "add_log_likelihood"), "bayes_gmm.api.groups"),
    "analyze": "bayes_gmm.pipeline",
    "check": "bayes_gmm.results.checks",
    "co_clustering": "bayes_gmm.results.clustering",
    "compare": "bayes_gmm.api.compare",
    "diagnose": "bayes_gmm.results.diagnostics",
    "evidence": "bayes_gmm.results.evidence",
    "fit": "bayes_gmm.api.fit",
    "load": "bayes_gmm.results.analysis",
    "log_density": "bayes_gmm.results.predictive",
    "given": "bayes_gmm.results.given",
    "loo": "bayes_gmm.results.loo",
    "one_feature": "bayes_gmm.results.groups",
    "from_trace": "bayes_gmm.api.from_trace",
    "mixture_logp": "bayes_gmm.api.pymc_mixture",
    "point_estimate": "bayes_gmm.api.standard_errors",
    "partition": "bayes_gmm.results.clustering",
    "plots": "bayes_gmm.plots:",
    "predict": "bayes_gmm.results.predictive",
    "pymc_mixture": "bayes_gmm.api.pymc_mixture",
    "pymc_model": "bayes_gmm.api.posterior",
    "read": "bayes_gmm.data.files",
    "relabel": "bayes_gmm.results.relabel",
    "report": "bayes_gmm.reports:write_report",
    "results": "bayes_gmm.results:",
    "sample": "bayes_gmm.api.posterior",
    "sample_labels": "bayes_gmm.results.clustering",
    "save": "bayes_gmm.results.analysis",
    "select": "bayes_gmm.api.select",
    "sensitivity": "bayes_gmm.results.sensitivity",
    "simulate": "bayes_gmm.api.simulate",
    "standard_errors": "bayes_gmm.api.standard_errors",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place, colon, attribute = _LATER[name].partition(":")
    module = import_module(place)
    value = module if colon and not attribute else getattr(module, attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATER])
