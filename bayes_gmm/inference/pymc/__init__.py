"""The mixture as a model of PyMC, its distributions and its likelihood operation."""
