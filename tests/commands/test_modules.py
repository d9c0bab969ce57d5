"""Commands as modules: all that README and docs/ name start, and none is executed twice."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from spanlight.commands import NAMES
from tests.made.commands.commands import commands
from tests.made.tools.shared import ROOT

PAGES = (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
MODULE = r"python -m ([a-z_.]*[a-z_])\b(?!\.)"
NAMED = sorted(
    {name for page in PAGES for name in re.findall(MODULE, page.read_text())} | set(NAMES)
)


@pytest.mark.parametrize("module", NAMED)
def test_every_module_that_is_named_is_there(module: str) -> None:
    found = find_spec(module)
    assert found is not None
    path = Path(str(found.origin))
    if path.name == "__init__.py":
        path = path.with_name("__main__.py")
    assert path.is_relative_to(ROOT)
    assert '\nif __name__ == "__main__":' in path.read_text()


TWICE = """
import contextlib, io, runpy, sys
from pathlib import Path
name, real, *words = sys.argv[1:]
sys.argv = [name, *words]
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    runpy.run_module(name, run_name="__main__", alter_sys=True)
print(real in sys.modules)
"""


@pytest.mark.parametrize("module", [command.__name__ for command in commands()])
def test_no_command_is_executed_twice(module: str) -> None:
    name = module.removesuffix(".__main__")
    report = ROOT / "nsys_reports" / "sample.sqlite"
    words = [report, report] if name == "analysis.compare" else [report]
    real = module if module.endswith("__main__") else name
    done = subprocess.run(
        [sys.executable, "-c", TWICE, name, real, *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "False", done.stderr
