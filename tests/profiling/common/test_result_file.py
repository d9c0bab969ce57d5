"""Files of results: refused before the work, whole or not at all, and read back with care."""

import json
import os
from pathlib import Path

import pytest

from analysis.show.errors import ReportError
from profiling.common import result_file
from profiling.common.errors import LaunchError


def refusal(path: Path, **how: bool) -> str:
    with pytest.raises(LaunchError) as refused:
        result_file.check_writable(path, **how)
    return str(refused.value)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    content = result_file.header("sweep", "python -m x", "cpu") | {"total_ns": [1, 2]}
    result_file.write(path, content)
    assert result_file.read(path, "sweep") == content
    assert path.read_text().endswith("}\n")


def test_every_file_says_what_was_run_where_and_with_what() -> None:
    about = result_file.header("benchmark", "python -m profiling.benchmark --size tiny", "cpu")
    assert about["kind"] == "benchmark"
    assert about["command"] == "python -m profiling.benchmark --size tiny"
    assert about["date"].endswith("+00:00")
    assert {"device", "device_name", "python", "torch", "threads", "memory_bytes"} <= set(
        about["facts"]
    )


def test_a_file_that_could_not_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path}: a directory; name a file"
    assert "its folder does not exist; make it" in refusal(tmp_path / "no" / "x.json")
    taken = tmp_path / "x.json"
    taken.write_text("kept")
    assert "exists; name another file, or give --overwrite" in refusal(taken, overwrite=False)
    assert taken.read_text() == "kept"
    result_file.check_writable(taken)
    result_file.check_writable(tmp_path / "new.json")
    result_file.check_writable(None)
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_folder_or_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    (folder / "x.json").write_text("kept")
    (folder / "x.json").chmod(0o400)
    folder.chmod(0o500)
    try:
        if os.access(folder, os.W_OK):
            pytest.skip("this user may write everywhere")
        assert "cannot be written to; name another file" in refusal(folder / "new.json")
        assert "cannot be written to; name another file" in refusal(folder / "x.json")
    finally:
        folder.chmod(0o700)


def test_a_write_that_fails_leaves_the_earlier_file_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("earlier")
    with pytest.raises(ValueError, match="not JSON compliant"):
        result_file.write(path, {"mean": float("nan")})
    with pytest.raises(UnicodeEncodeError):
        result_file.write_text(path, "half a letter: \udcff")
    assert [each.name for each in tmp_path.iterdir()] == ["x.json"]
    assert path.read_text() == "earlier"


def test_a_full_disk_is_one_line_that_names_no_option_of_another_command() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(LaunchError) as refused:
        result_file.write(Path("/dev/full"), {})
    assert str(refused.value) == (
        "/dev/full: cannot be written (no space left on device); name another file"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no JSON; give a file that profiling.benchmark wrote"),
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no result of profiling.benchmark"),
        (b"{}", "no result of profiling.benchmark"),
        (json.dumps({"kind": "sweep"}).encode(), "no result of profiling.benchmark"),
    ],
)
def test_what_is_no_result_is_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "given.json"
    path.write_bytes(content)
    with pytest.raises(ReportError) as refused:
        result_file.read(path, "benchmark")
    assert str(refused.value).startswith(f"{path}: ")
    assert message in str(refused.value)


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "no.json", "no such file"), (tmp_path, "is a directory")):
        with pytest.raises(ReportError, match=reason):
            result_file.read(path, "benchmark")
