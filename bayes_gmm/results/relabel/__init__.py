"""Label switching: which component of a draw is which, by the method of your choice.

`pivot` compares parameters, `by_rows` compares what the draws say about the rows, `ordering` sorts.
Each finds a permutation per draw, by assignment and never by trying all K! of them.
"""

from bayes_gmm.results.relabel.verb import relabel

__all__ = ["relabel"]
