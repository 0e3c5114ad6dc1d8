"""EM: the loop, the search for the best optimum, and what follows from one."""
