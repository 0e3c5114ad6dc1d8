"""Result classes: they print as text, and have their numbers as tables and labelled arrays."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayes_gmm.posterior.power_scaling import Conflict
    from bayes_gmm.results.analysis import Analysis
    from bayes_gmm.results.checks import Check
    from bayes_gmm.results.comparison import Comparison
    from bayes_gmm.results.diagnosis import Diagnosis, Finding, LabelReport
    from bayes_gmm.results.model_probabilities import Evidence, ModelProbabilities
    from bayes_gmm.results.selection import Selection
    from bayes_gmm.results.sensitivity import Sensitivity
    from bayes_gmm.results.standard_errors import StandardErrors

__all__ = [
    "Analysis",
    "Check",
    "Comparison",
    "Conflict",
    "Diagnosis",
    "Evidence",
    "Finding",
    "LabelReport",
    "ModelProbabilities",
    "Selection",
    "Sensitivity",
    "StandardErrors",
]

_HOMES = {  # loaded when they are first asked for, as the verbs are
    "Analysis": "bayes_gmm.results.analysis",
    "Check": "bayes_gmm.results.checks",
    "Comparison": "bayes_gmm.results.comparison",
    "Conflict": "bayes_gmm.posterior.power_scaling",
    **dict.fromkeys(("Diagnosis", "Finding", "LabelReport"), "bayes_gmm.results.diagnosis"),
    **dict.fromkeys(("Evidence", "ModelProbabilities"), "bayes_gmm.results.model_probabilities"),
    "Selection": "bayes_gmm.results.selection",
    "Sensitivity": "bayes_gmm.results.sensitivity",
    "StandardErrors": "bayes_gmm.results.standard_errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
