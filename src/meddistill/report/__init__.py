"""One self-contained page per run, and one per comparison of runs."""

from meddistill.report.comparison import write_comparison
from meddistill.report.comparison_tables import ComparedRun
from meddistill.report.page import write_report

__all__ = ["ComparedRun", "write_comparison", "write_report"]
