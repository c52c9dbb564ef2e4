"""Which other sweeps or trainings have the same config, and how they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fmnist_sweep.errors import JournalError
from fmnist_sweep.journal.file import JOURNAL_FILE, first_record
from fmnist_sweep.journal.identity import how_it_differs, is_of_form
from fmnist_sweep.journal.records import Begun

_MOST_REMARKS = 3


def of_the_same_config(
    folder: Path, forms: Sequence[Mapping[str, Any]], what: str = "sweep"
) -> list[str]:
    """Say of each one beside `folder` with the same config how it differs; of the latest where
    there are many. `forms` are those that the identity may be recorded in, today's first."""
    found = []
    for journal in folder.parent.glob(f"*/{JOURNAL_FILE}"):
        try:
            begun = first_record(journal)
        except JournalError:
            continue  # that one's own trouble
        if not isinstance(begun, Begun):
            continue
        form = next((form for form in forms if is_of_form(begun.identity, form)), forms[0])
        differs = how_it_differs(begun.identity, form)
        if differs is not None:
            found.append((begun.at, begun.name, differs))
    lines = [
        f"{what} {name} has the same config, but {differs}: it is left as it is, and this one "
        "starts from the beginning"
        for _, name, differs in sorted(found, reverse=True)
    ]
    if len(lines) > _MOST_REMARKS:
        lines[_MOST_REMARKS:] = [f"{len(lines) - _MOST_REMARKS} older {what}s have it too"]
    return lines
