"""What a PyTorch trace told of the messages of collectives: the table `TOOLKIT_COLLECTIVE`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.source.tables import MISSING, first, is_empty, strings
from analysis.source.times import sensible

if TYPE_CHECKING:
    from analysis.source.database import Columns
    from analysis.source.report import Report

COLLECTIVE: Final = "TOOLKIT_COLLECTIVE"

NUMBERS: Final = {
    "thread": "global_tid",
    "device": "device",
    "correlation": "correlation",
    "in_elements": "in_elements",
    "out_elements": "out_elements",
    "size": "group_size",
    "sequence": "sequence",
}
"""Our name for a column of numbers, and its own."""

TEXTS: Final = {"name": "name_id", "dtype": "type_id", "group": "group_id", "ranks": "ranks_id"}
"""Our name for a column of string ids, and its own."""


def message_rows(report: Report) -> Columns:
    """Return the rows of `COLLECTIVE`: the messages of kernels and of the host's calls.

    Returns:
        ``start_ns, end_ns``, the fields of `NUMBERS`, `MISSING` where not told, and those of
        `TEXTS` as text, "" where not told. A kernel has a device and a correlation id, what the
        host did a thread. Empty where there is no such table.
    """
    fields = ("start_ns", "end_ns", *NUMBERS, *TEXTS)
    if is_empty(report, COLLECTIVE):
        return dict.fromkeys(fields, np.empty(0, np.int64))
    more = (
        f', {first(report, COLLECTIVE, column)} AS "{ours}"'
        for ours, column in (NUMBERS | TEXTS).items()
    )
    rows = report.columns(
        f"SELECT start_ns, end_ns{''.join(more)} FROM {COLLECTIVE} ORDER BY rowid"
    )
    rows = sensible(report, COLLECTIVE, rows)
    known = strings(report, np.unique(np.concatenate([rows[ours] for ours in TEXTS])).tolist())
    for ours in TEXTS:
        texts = ["" if at == MISSING else known[at] for at in rows[ours].tolist()]
        rows[ours] = np.array(texts, object)
    return rows
