"""The priors that are not conjugate, and when each is the one to take.

* `IndependentPrior`, where you know how large a component may be along each feature.
* `HierarchicalPrior`, where components are alike in size and you can't say what size.

`Prior`, the conjugate one, stays the default: it is proper on every data set, rounded ones too,
and every engine takes it.
"""

from bayes_gmm.model.hierarchical_prior import HierarchicalPrior
from bayes_gmm.model.independent_prior import IndependentPrior

__all__ = ["HierarchicalPrior", "IndependentPrior"]
