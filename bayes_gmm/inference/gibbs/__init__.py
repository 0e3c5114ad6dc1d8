"""Blocked Gibbs sampling: labels and parameters drawn in turn."""
