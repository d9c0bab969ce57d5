"""Where the importer lies, which recordings it takes, and the notes beside them: no nsys needed."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from profiling.common.cli import run
from profiling.launch import complete
from profiling.recorders import importer
from profiling.recorders.nsys import Nsys
from profiling.recorders.run_notes import RunNotes

FAKE = """#!/bin/sh
case "$1" in
--version) echo "NVIDIA Nsight Systems version {version}" ;;
export) echo "--type --output" ;;
esac
"""


def fake(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(FAKE.format(version=version) + 'test "$1" != -i || { echo no >&2; exit 2; }\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("program", "where"),
    [
        ("nsys/bin/nsys", "nsys/host-linux-x64"),
        ("nsys/target-linux-x64/nsys", "nsys/host-linux-x64"),
        ("nsys/target-linux-sbsa-armv8/nsys", "nsys/host-linux-armv8"),
        ("lib/x86_64-linux-gnu/nsight-systems/target-linux-x64/nsys",
         "lib/nsight-systems/host-linux-x64"),
        ("cuda/bin/nsys", "cuda/nsight-systems-2023.4.4/host-linux-x64"),
    ],
)  # fmt: skip
def test_the_importer_is_found_where_packages_put_it(
    program: str, where: str, tmp_path: Path
) -> None:
    nsys = fake(tmp_path / program, "2023.4.4.54")
    wrong = fake(tmp_path / "cuda" / "nsight-systems-2022.1.1/host-linux-x64/QdstrmImporter", "2")
    assert importer.find(Nsys(str(nsys))) is None
    right = fake(tmp_path / where / "QdstrmImporter", "2023.4.4.54")
    assert importer.find(Nsys(str(nsys))) == right != wrong
    (tmp_path / "link").symlink_to(nsys)
    assert importer.find(Nsys(str(tmp_path / "link"))) == right


def test_a_version_that_differs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = tmp_path / "run.qdstrm"
    recording.write_bytes(b"U3w[END]NVIDIA Nsight Systems Stream 2025.1.2.3-0v0!")
    nsys = fake(tmp_path / "nsys" / "bin" / "nsys", "2023.4.4.54")
    fake(tmp_path / "nsys" / "host-linux-x64" / "QdstrmImporter", "2023.4.4.54")
    monkeypatch.setenv("NSYS", str(nsys))
    assert run(lambda: complete.main([str(recording)])) == 1
    assert capsys.readouterr().err == (
        f"error: {recording}: the importer failed (no); it was recorded by nsys 2025.1.2.3 and the "
        "importer is of 2023.4.4.54; name that nsys with --nsys PATH or NSYS=\n"
    )


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["none.qdstrm"], 1, "none.qdstrm: no such file; give a recording of profiling.launch"),
        (["a.sqlite"], 2, "a.sqlite: no recording; give a .qdstrm or .nsys-rep file"),
        (["a.qdstrm", "b/a.qdstrm", "--reports", "c"], 2, "would make the same report; give one"),
        (["a.qdstrm"], 1, "no nsys is on the PATH; name a whole one with --nsys PATH or NSYS="),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str],
    status: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NSYS", raising=False)
    monkeypatch.setenv("PATH", "")
    (tmp_path / "b").mkdir()
    for name in ("a.qdstrm", "a.sqlite", "b/a.qdstrm"):
        (tmp_path / name).write_bytes(b"")
    assert run(lambda: complete.main(arguments)) == status
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert said.count("\n") == 1


def test_notes_come_back_as_they_were_kept(tmp_path: Path) -> None:
    recording = tmp_path / "run.qdstrm"
    recording.write_bytes(bytes(range(256)) * 40)
    facts: dict[str, Any] = {"recorder": "nsys", "nsys": "2023.4.4", "step_ns": [1, 2]}
    pushed = dict(Counter("aab"))
    kept = RunNotes(facts=facts, costs=[["a", 1, None, 3]], pushed=pushed)
    kept.keep(recording)
    assert RunNotes.read(recording) == kept
    assert RunNotes.read(tmp_path / "other.qdstrm") is None
