"""Rules that turn sufficient statistics into the next state: EM, and the posterior by PyMC."""
