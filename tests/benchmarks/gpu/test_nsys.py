"""The nsys of a bare GPU machine: carried in a bundle, unpacked once, its recordings completed."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from benchmarks.gpu.evidence import collect, main
from benchmarks.gpu.stages import Step
from tests.made.gpu.steps import give, script, without_nsys
from tests.made.runs.launched import ROOT
from tests.made.runs.recording_half import half_of_nsys

NSYS_STEP = Step("recorded", ("timeit", "-n1", "pass", "--recorder", "nsys"))


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Return the whole nsys, and the half that records; found before NSYS is unset."""
    return half_of_nsys(tmp_path_factory.mktemp("half"))


@pytest.fixture(autouse=True)
def _no_nsys(monkeypatch: pytest.MonkeyPatch) -> None:
    without_nsys(monkeypatch)


def test_without_any_nsys_its_steps_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, NSYS_STEP)
    monkeypatch.setenv("PATH", "")
    found = collect(tmp_path, ["first"], None, 600, again=False)
    assert found.status == {"recorded": "not run: no nsys here; give NSYS_BUNDLE="}


def pack_bundle(folder: Path, bundle: Path) -> Path:
    with tarfile.open(bundle, "w:xz", preset=0) as archive:
        for path in folder.iterdir():
            archive.add(path, path.name)
    return bundle


def a_fake_half(folder: Path, program: str = "#!/bin/sh\necho 2023.4.4.54\n") -> Path:
    """Make what a bundle holds, with a program that only says its version."""
    target = folder / "target-linux-x64"
    target.mkdir(parents=True)
    (target / "nsys").write_text(program)
    (target / "nsys").chmod(0o755)
    return folder


def test_a_bundle_is_unpacked_once_and_names_the_nsys_of_the_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = pack_bundle(a_fake_half(tmp_path / "half"), tmp_path / "bundle.tar.xz")
    monkeypatch.setenv("NSYS_BUNDLE", str(bundle))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    words = script(tmp_path, monkeypatch, 'import os; print(os.environ["NSYS"])')
    give(monkeypatch, Step("names", (*words, "--recorder", "nsys")))
    seen = []
    for _ in range(2):
        found = collect(tmp_path / "out", ["first"], None, 600, again=True)
        assert found.status == {"names": 0}
        program = Path((tmp_path / "out" / "names.log").read_text().splitlines()[1])
        seen.append((program, program.stat().st_ino))
    assert seen[0] == seen[1]
    assert program.is_relative_to(tmp_path / "scratch")
    assert len(list((tmp_path / "scratch").iterdir())) == 1


def test_a_bundle_that_is_none_is_one_line_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    good = pack_bundle(a_fake_half(tmp_path / "half"), tmp_path / "good.tar.xz").read_bytes()
    (tmp_path / "cut.tar.xz").write_bytes(good[: len(good) // 2])
    (tmp_path / "noise.tar.xz").write_bytes(b"noise" * 1000)
    (tmp_path / "mute").mkdir()
    pack_bundle(a_fake_half(tmp_path / "mute", "#!/bin/sh\n"), tmp_path / "mute.tar.xz")
    (tmp_path / "empty" / "target-linux-x64").mkdir(parents=True)
    pack_bundle(tmp_path / "empty", tmp_path / "empty.tar.xz")
    for name, what in (
        ("cut", "damaged ("),
        ("noise", "damaged ("),
        ("none", "No such file or directory; name the packed nsys"),
        ("empty", "holds no nsys; pack its target-linux-x64"),
        ("mute", "its nsys does not run here; pack one that does"),
    ):
        bundle = tmp_path / f"{name}.tar.xz"
        monkeypatch.setenv("NSYS_BUNDLE", str(bundle))
        assert main([str(tmp_path / "out")]) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"error: NSYS_BUNDLE={bundle}: {what}")
        assert said.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_make_passes_the_bundle(tmp_path: Path) -> None:
    words = ("gpu-evidence", f"OUT={tmp_path}/out", f"PYTHON={sys.executable}")
    done = subprocess.run(
        ["make", *words, f"NSYS_BUNDLE={tmp_path}/none.tar.xz"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert f"error: NSYS_BUNDLE={tmp_path}/none.tar.xz: No such file" in done.stderr


@pytest.mark.slow
def test_the_real_half_of_nsys_records_and_the_parts_are_completed_elsewhere(
    half: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the bundle to the report: what `make gpu-evidence` does, on a CPU."""
    whole, program = half
    bundle = pack_bundle(program.parent.parent, tmp_path / "bundle.tar.xz")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("NSYS_BUNDLE", str(bundle))
    common = ("--size", "tiny", "--context", "16", "--device", "cpu", "--reports", "{out}")
    give(monkeypatch, Step("small", ("profiling.launch", *common, "--recorder", "nsys")))
    found = collect(tmp_path / "out", ["first"], None, 600, again=False)
    assert found.status == {"small": 0}, (tmp_path / "out" / "small.log").read_text()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu.unpack", tmp_path / "out", tmp_path / "back"],
        cwd=ROOT,
        env={**os.environ, "NSYS": whole},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "unpacked 4 files into" in done.stdout
    assert (tmp_path / "back" / "tiny.sqlite").exists()
    assert (tmp_path / "back" / "tiny.nsys-rep").exists()
