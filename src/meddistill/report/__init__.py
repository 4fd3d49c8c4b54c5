"""One self-contained page per run, and one per comparison of runs."""

from meddistill.report.page import write_report

__all__ = ["write_report"]
