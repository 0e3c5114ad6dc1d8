"""Variational Bayes, by the pass and the loop of EM."""
