"""One self-contained HTML file about an analysis, for reading, printing and sending."""

from bayes_gmm.reports.page import write_report

__all__ = ["write_report"]
