"""EM: the iteration, the search for the best optimum, and refits from an optimum."""
