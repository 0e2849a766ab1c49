"""What is found becomes what is read: PaperReport -> plain data -> page, table, figures, text. Loads no matplotlib by itself."""

from theorysim.report.data import claim_data, report_data
from theorysim.report.save import prepare_folder, save_report, write_report
from theorysim.report.schema import load_data
from theorysim.report.terminal import claim_text, summary, summary_text

__all__ = [
    "claim_data",
    "claim_text",
    "load_data",
    "prepare_folder",
    "report_data",
    "save_report",
    "summary",
    "summary_text",
    "write_report",
]
