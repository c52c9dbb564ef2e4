"""Reports as files: `mlruns/reports/<sweep>/report.html`, with its pictures in the same folder."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from fmnist_sweep.analysis.material import MATERIAL_FILE
from fmnist_sweep.files import write_text_whole, write_whole
from fmnist_sweep.journal.file import JOURNAL_FILE
from fmnist_sweep.report.comparison_page import comparison_page
from fmnist_sweep.report.page import report_page
from fmnist_sweep.report.source import ReportSource, source_in
from fmnist_sweep.report.sweep_pictures import pictures_of
from fmnist_sweep.workspace import Workspace

REPORT_FILE = "report.html"
_MADE_FROM = "made_from.sha256"


def up_to_date_report(sweep: Path, name: str) -> Path:
    """Return the report of a sweep that has begun; it is written only if it is not up to date.

    Args:
        sweep: the sweep's folder.
        name: the sweep's name.
    """
    report, made_from = _report_of(name), _digest(sweep)
    mark = report.with_name(_MADE_FROM)
    if not (report.exists() and mark.exists() and mark.read_text(encoding="utf-8") == made_from):
        source = source_in(sweep)
        assert source is not None  # the sweep has begun
        write_report(source)
        write_text_whole(mark, made_from)
    return report


def write_report(source: ReportSource) -> Path:
    """Write a sweep's report, and return its file."""
    report = _report_of(source.name)
    pictures, notes = pictures_of(source)
    page = report_page(source, pictures, notes)
    shutil.rmtree(report.parent, ignore_errors=True)  # removes pictures that are no longer drawn
    for picture in pictures:
        with write_whole(report.parent / "pictures" / f"{picture.name}.png") as file:
            file.write(picture.png)
    write_text_whole(report, page)
    return report


def report_files(sweep: Path, report: Path) -> list[tuple[Path, str]]:
    """Return the files of a report that are logged, each with its artifact folder: the pictures,
    the page, and the files it can be recreated from together with the journal."""
    pictures = sorted(report.parent.glob("pictures/*.png"))
    return [(sweep / MATERIAL_FILE, ""), *((path, "pictures") for path in pictures), (report, "")]


def write_comparison(sources: Sequence[ReportSource]) -> Path:
    """Write a page that compares sweeps, and return its file."""
    names = "-and-".join(source.name for source in sources)
    path = _reports() / f"{names[:100]}.html"
    write_text_whole(path, comparison_page(sources))
    return path


def _report_of(name: str) -> Path:
    return _reports() / name / REPORT_FILE


def _reports() -> Path:
    return Workspace.here().reports


def _digest(sweep: Path) -> str:
    """Return a digest of everything a report is made from."""
    digest = hashlib.sha256()
    for name in (JOURNAL_FILE, MATERIAL_FILE):
        digest.update(hashlib.sha256((sweep / name).read_bytes()).digest())
    return digest.hexdigest()
