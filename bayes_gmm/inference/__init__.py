"""Algorithms: EM for point estimates, and Gibbs, NUTS and PyMC for the posterior."""
