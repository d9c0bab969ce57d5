"""The commit of a run is that of a folder's own repository, or none."""

import os
import subprocess
from pathlib import Path

import pytest

from profiling.common import host


def repository(folder: Path) -> str:
    """Make a repository with one commit; return that."""
    who = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "first")):
        subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)
    command = ["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def theirs(tmp_path: Path) -> tuple[Path, str]:
    """Somebody's repository, with a folder inside, and its commit."""
    inside = tmp_path / "repository" / "inside"
    inside.mkdir(parents=True)
    (inside / "train.py").write_text("")
    return inside, repository(inside.parent)


def test_it_is_that_of_the_repository_around_the_folder(
    theirs: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, commit = theirs
    assert host.commit(folder) == {"commit": commit}
    (folder / "train.py").write_text("1")
    assert host.commit(folder) == {"commit": f"{commit}-dirty"}
    monkeypatch.setenv("GIT_DIR", str(folder.parent / ".git"))  # as git sets it for its hooks
    assert host.commit(tmp_path) == {}


@pytest.mark.parametrize("how", ["no repository", "no commit", "another's", "no git", "no folder"])
def test_there_is_none(
    how: str, theirs: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = theirs[0]
    if how == "no repository":
        folder = tmp_path
    elif how == "no commit":
        folder = tmp_path / "begun"
        subprocess.run(["git", "init", "-q", str(folder)], check=True)
    elif how == "another's":
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    elif how == "no git":
        monkeypatch.setenv("PATH", os.devnull)
    else:
        folder = tmp_path / "gone"
    assert host.commit(folder) == {}
