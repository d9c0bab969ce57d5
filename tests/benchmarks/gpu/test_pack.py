"""Results in parts small enough to be carried: joined they are what was packed, or one line."""

import hashlib
import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.gpu import pack as gpu_pack
from benchmarks.gpu import unpack
from benchmarks.gpu.pack import Room, pack
from profiling.common.errors import LaunchError

PART = 20_000


def noise(size: int, seed: int) -> bytes:
    """Return what cannot be compressed."""
    return random.Random(seed).randbytes(size)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return a folder with results, and with what is none."""
    folder = tmp_path / "out"
    (folder / "inner").mkdir(parents=True)
    (folder / "state.json").write_text("{}")
    (folder / "small.log").write_text("hello\n")
    (folder / "empty.log").write_text("")
    (folder / "inner" / f"{'long-' * 25}ä.csv").write_bytes(noise(5_000, 1))
    (folder / "large.sqlite").write_bytes(noise(45_000, 2))
    (folder / ".lock").write_text("")
    (folder / "state.json.part").write_text("draft")
    return folder


def packed(out: Path, parts: int = 8, into: Path | None = None) -> tuple[list[Path], list[str]]:
    told: list[str] = []
    room = Room(into or out, PART, parts)
    return pack(out, room, out / "state.json", told.extend), told


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in gpu_pack.results(folder)
    }


def test_the_parts_joined_are_what_was_packed(out: Path, tmp_path: Path) -> None:
    parts, left_out = packed(out)
    assert left_out == []
    assert [part.name for part in parts] == [f"evidence.tar.xz.{n:02}" for n in range(len(parts))]
    assert len(parts) == 3
    assert [part.stat().st_size for part in parts[:-1]] == [PART, PART]
    assert 0 < parts[-1].stat().st_size <= PART
    made = unpack.unpack(out, tmp_path / "back", overwrite=False)
    assert contents(tmp_path / "back") == contents(out)
    assert len(made) == 5
    assert [path.name for path in (tmp_path / "back").iterdir() if path.name[0] == "."] == []


def test_any_tar_unpacks_them(out: Path, tmp_path: Path) -> None:
    parts, _ = packed(out, into=tmp_path / "parts")
    joined, back = tmp_path / "joined.tar.xz", tmp_path / "back"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    back.mkdir()
    subprocess.run(["tar", "-xJf", joined, "-C", back], check=True)
    manifest = json.loads((back / "evidence-manifest.json").read_text())
    (back / "evidence-manifest.json").unlink()
    assert contents(back) == contents(out)
    for name, known in manifest["files"].items():
        data = (out / name).read_bytes()
        assert known == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_the_largest_is_left_out_and_told_where_there_is_no_room(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts, left_out = packed(out, parts=2)
    assert left_out == ["large.sqlite (45,000 bytes)"]
    assert len(parts) == 1
    unpack.unpack(out, tmp_path / "back", overwrite=False)
    assert {*contents(out)} - {*contents(tmp_path / "back")} == {"large.sqlite"}
    assert "left out over there, too large: large.sqlite (45,000 bytes)" in capsys.readouterr().out


def test_packing_again_renews_what_changed_and_takes_away_what_is_gone(
    out: Path, tmp_path: Path
) -> None:
    assert len(packed(out)[0]) == 3
    before = {path.name for path in (out / ".packed").iterdir()}
    (out / "large.sqlite").unlink()
    (out / "small.log").write_text("something else\n")
    parts, _ = packed(out)
    after = {path.name for path in (out / ".packed").iterdir()}
    assert sorted(path.name for path in out.glob("evidence*")) == ["evidence.tar.xz.00"]
    assert len(before - after) == 2
    assert len(after - before) == 1
    unpack.unpack(parts[0].parent, tmp_path / "back", overwrite=False)
    assert (tmp_path / "back" / "small.log").read_text() == "something else\n"


def damaged(out: Path, tmp_path: Path, how: str) -> Path:
    parts, folder = packed(out)[0], tmp_path / "parts"
    folder.mkdir()
    for part in parts:
        shutil.copy(part, folder)
    first, middle, last = (folder / part.name for part in parts)
    if how == "middle missing":
        middle.unlink()
    elif how == "last missing":
        last.unlink()
    elif how == "all missing":
        shutil.rmtree(folder)
        folder.mkdir()
    elif how == "cut":
        last.write_bytes(last.read_bytes()[:-300])
    elif how == "swapped":
        one, other = first.read_bytes(), middle.read_bytes()
        first.write_bytes(other)
        middle.write_bytes(one)
    else:
        data = bytearray(middle.read_bytes())
        data[1000] ^= 1
        middle.write_bytes(data)
    return folder


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("middle missing", "evidence.tar.xz.01 is missing; bring all parts again"),
        ("last missing", "missing or damaged"),
        ("all missing", "holds no evidence.tar.xz.00; name the folder with the parts"),
        ("cut", "missing or damaged"),
        ("swapped", "missing or damaged"),
        ("one bit", "damaged"),
    ],
)
def test_parts_that_are_not_whole_are_one_line_and_nothing_is_unpacked(
    how: str, message: str, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, back = damaged(out, tmp_path, how), tmp_path / "back"
    assert unpack.main([str(folder), str(back)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {folder}: ")
    assert message in said
    assert said.count("\n") == 1
    assert not back.exists() or list(back.iterdir()) == []


def test_what_is_there_is_not_written_over_unless_asked(out: Path, tmp_path: Path) -> None:
    packed(out)
    back = tmp_path / "back"
    back.mkdir()
    (back / "small.log").write_text("mine")
    with pytest.raises(LaunchError, match=r"small.log: exists; name another folder, or give --ov"):
        unpack.unpack(out, back, overwrite=False)
    assert [path.name for path in back.iterdir()] == ["small.log"]
    assert (back / "small.log").read_text() == "mine"
    unpack.unpack(out, back, overwrite=True)
    assert contents(back) == contents(out)


def test_a_file_that_would_land_elsewhere_is_refused(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = gpu_pack._header
    monkeypatch.setattr(
        gpu_pack, "_header", lambda name, *rest: whole(name.replace("small", "../small"), *rest)
    )
    packed(out)
    with pytest.raises(LaunchError, match="outside the destination"):
        unpack.unpack(out, tmp_path / "back" / "inner", overwrite=False)
    assert not list(tmp_path.glob("back/*.log"))


def test_recordings_are_named_where_no_whole_nsys_is(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NSYS", raising=False)
    monkeypatch.setenv("PATH", "")
    (out / "small.qdstrm").write_bytes(b"")
    packed(out)
    back = tmp_path / "back"
    assert unpack.main([str(out), str(back)]) == 0
    said = capsys.readouterr().out
    assert f"unpacked 6 files into {back}\n" in said
    assert f"whole nsys is: python -m profiling.complete {back}/small.qdstrm\n" in said
