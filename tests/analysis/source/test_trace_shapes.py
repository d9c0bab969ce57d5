"""What operators of a PyTorch trace were called with, as the converter keeps it."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from analysis.source.trace.convert import convert


def kept(tmp_path: Path, *arguments: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the shapes, types and inputs of the operators of a trace, in order."""
    events = [
        {
            "ph": "X",
            "cat": "cpu_op",
            "name": "aten::mm",
            "pid": 1,
            "tid": 2,
            "ts": 10 * at,
            "dur": 5,
        }
        | {"args": given}
        for at, given in enumerate(arguments)
    ]
    trace, made = tmp_path / "trace.json", tmp_path / "made.sqlite"
    trace.write_text(json.dumps({"traceEvents": events}))
    convert(trace, made, overwrite=True)
    texts = ", ".join(
        f"(SELECT value FROM StringIds WHERE id = {name})" for name in ("shapes", "types", "inputs")
    )
    with closing(sqlite3.connect(made)) as connection:
        return connection.execute(
            f"SELECT {texts} FROM TOOLKIT_OPERATOR ORDER BY start_ns"
        ).fetchall()


def test_shapes_types_and_values_are_kept_as_texts(tmp_path: Path) -> None:
    told = {
        "Input Dims": [[2, 3], [[3, 4], [5]], []],
        "Input type": ["float", "TensorList", "Scalar"],
        "Concrete Inputs": ["", "", "True"],
    }
    assert kept(tmp_path, told) == [
        ("[[2,3],[[3,4],[5]],[]]", '["float","TensorList","Scalar"]', '["","","True"]')
    ]


def test_another_spelling_of_the_shapes_is_known(tmp_path: Path) -> None:
    """Values need not be there."""
    told = {"Input dims": [[2, 3]], "Input type": ["float"]}
    assert kept(tmp_path, told) == [("[[2,3]]", '["float"]', None)]


@pytest.mark.parametrize(
    "odd", [None, "x", 7, {}, [], [[], []], ["", ""], [0], json.loads("[" * 300 + "]" * 300)]
)
def test_what_tells_nothing_is_left_out_and_the_operator_is_not(
    tmp_path: Path, odd: object
) -> None:
    found = kept(tmp_path, {"Input Dims": odd, "Input type": odd, "Concrete Inputs": odd})
    assert len(found) == 1
    if not isinstance(odd, list) or not any(odd):
        assert found == [(None, None, None)]
