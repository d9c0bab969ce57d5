"""What is carried to a bare GPU machine: wheels for its Python, and only what it lacks is used."""

import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import numpy as np
import pytest
from packaging.requirements import Requirement

from benchmarks.gpu import carry
from benchmarks.gpu.carry import PACKAGES, main, unpack, wheels
from benchmarks.gpu.evidence import environment_with


def wheel(folder: Path, name: str, *files: str) -> Path:
    made = folder / f"{name}-py3-none-any.whl"
    with ZipFile(made, "w") as archive:
        for file in files:
            archive.writestr(file, "")
    return made


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """Let pip be one that has every package, and return what it was asked."""
    asked: list[Sequence[str]] = []

    def pip(command: Sequence[str], **_: object) -> SimpleNamespace:
        asked.append(command)
        folder = Path(command[command.index("--dest") + 1])
        for module, package in PACKAGES.items():
            wheel(folder, f"{package.replace('-', '_').lower()}-2.0", f"{module}/__init__.py")
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(subprocess, "run", pip)
    return asked


def test_modules_and_packages_are_those_that_are_installed_here() -> None:
    known = packages_distributions()
    for module, package in PACKAGES.items():
        assert package.lower().replace("_", "-") in {
            each.lower().replace("_", "-") for each in known[module]
        }


def test_what_a_package_needs_is_carried_too() -> None:
    carried = {package.lower().replace("_", "-") for package in PACKAGES.values()}
    for package in PACKAGES.values():
        for line in requires(package) or ():
            needed = Requirement(line)
            here = needed.marker is None or needed.marker.evaluate({"extra": ""})
            assert not here or needed.name.lower() in carried | {"pip"}, f"{package}: {line}"


def test_wheels_are_asked_for_the_other_machine_s_python(
    index: list[Sequence[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "new" / "carry"), "--python", "3.13"]) == 0
    [command] = index
    assert command[command.index("--python-version") + 1] == "3.13"
    assert {"--no-deps", "--only-binary=:all:", "manylinux_2_28_x86_64"} <= {*command}
    assert not {"torch", "numpy", "pandas", "pyarrow", "transformers"} & {*command}
    found = wheels(tmp_path / "new" / "carry")
    assert found.keys() == PACKAGES.keys()
    assert found["markdown_it"].name == "markdown_it_py-2.0-py3-none-any.whl"
    assert f"{len(PACKAGES)} packages for Python 3.13 on x86_64" in capsys.readouterr().out


def test_older_wheels_go_and_others_stay(index: list[Sequence[str]], tmp_path: Path) -> None:
    before = wheel(tmp_path, "nvtx-1.0", "nvtx.py")
    own = wheel(tmp_path, "transformers-5.0", "transformers.py")
    assert main([str(tmp_path)]) == 0
    assert not before.exists()
    assert own.exists()
    assert len([*tmp_path.iterdir()]) == len(PACKAGES) + 1


def test_without_an_index_it_is_one_line_and_what_was_there_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "WARNING: a\nERROR: No matching distribution found for nvtx==0.2.11\n"
    answer = SimpleNamespace(returncode=1, stderr=said)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    before = wheel(tmp_path, "nvtx-1.0", "nvtx.py")
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: pip could not fetch the packages (ERROR: No")
    assert [*tmp_path.iterdir()] == [before]
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "file")]) == 1
    assert "name another folder" in capsys.readouterr().err


@pytest.mark.parametrize("python", ["3", "2.7", "312", "3.12.1"])
def test_a_wrong_version_is_status_2(python: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path / "carry"), "--python", python])
    assert stop.value.code == 2
    assert not (tmp_path / "carry").exists()


def test_only_what_is_missing_is_taken(tmp_path: Path) -> None:
    """The machine's own numpy stays; what an earlier call unpacked and is there now goes."""
    wheel(tmp_path, "numpy-1.0", "numpy/__init__.py")
    wheel(tmp_path, "no_such_package-1.0", "no_such_package/__init__.py")
    unpack([wheel(tmp_path, "stale-1.0", "stale.py")], tmp_path / "unpacked")
    (tmp_path / "stale-1.0-py3-none-any.whl").unlink()
    environment = environment_with(tmp_path)
    code = "import numpy, no_such_package; print(numpy.__version__, no_such_package.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[0] == np.__version__
    assert str(tmp_path / "unpacked" / "no_such_package") in done.stdout
    assert [path.name for path in (tmp_path / "unpacked").iterdir()] == ["no_such_package"]


def test_the_folder_of_the_makefile_is_no_part_of_the_repository() -> None:
    assert "gpu_carry/" in (carry.ROOT / ".gitignore").read_text().splitlines()
