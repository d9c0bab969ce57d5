"""Replay a report as it is, and after some changes: a process for `benchmarks.speed` to time.

python -m benchmarks.speed.replaying report.sqlite 4
"""

import sys
from typing import Final

from analysis import Report
from analysis.measures.predictions.change import Change
from analysis.measures.predictions.edits import edits
from analysis.measures.predictions.predicting import predictions

CHANGES: Final = (
    Change({"gemm": 0.25}),
    Change(host=0.5),
    Change({"gemm": 0.25}, host=0.5),
    Change({"elementwise": 0.5}),
)


def main(path: str, count: int) -> None:
    """Replay a report, then some changes of it one by one, and print what each takes."""
    with Report(path) as report:
        known = predictions(report)
        print("none", known.predict([]).whole_ns)
        for change in CHANGES[:count]:
            print(change.label, known.predict(edits(known.attribution, change)).whole_ns)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
