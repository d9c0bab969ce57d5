"""The other half of the mutants: see `test_mutants`."""

from pathlib import Path

import pytest

from tests.reports.test_mutants import BY_TWO, check_mutant, numbered

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the reports that mutants are made of."""
    return tmp_path_factory.mktemp("bases")


@pytest.mark.parametrize(("name", "number"), numbered(BY_TWO[1]))
def test_a_mutant_is_answered_or_refused_in_one_line(
    name: str, number: int, bases: Path, tmp_path: Path
) -> None:
    check_mutant(name, number, bases, tmp_path)
