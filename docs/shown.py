"""What the README and the pages beside this file show: made by running it, in their cog blocks."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]


def console(command: str) -> str:
    """Return what a command of spanlight prints on stdout, as a block of markdown.

    Args:
        command: what stands after ``spanlight``, words without blanks in them.
    """
    done = subprocess.run(
        [sys.executable, "-m", "spanlight", *command.split()],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "88", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    lines = [line.rstrip() for line in done.stdout.rstrip().splitlines()]
    return "\n".join(["```console", f"$ spanlight {command}", *lines, "```"])


def module_names() -> str:
    """Return the commands whose module is called otherwise, as rows of a markdown table."""
    from spanlight.commands import COMMANDS

    return "\n".join(
        f"| `spanlight {name}` | `python -m {command.module}` |"
        for name, command in COMMANDS.items()
        if command.module.rpartition(".")[2] != name
    )


def speed() -> str:
    """Return how fast the answers are beside NVIDIA's, as last measured, in markdown."""
    columns = ("work", "ours", "NVIDIA's", "ratio", "MiB")
    lines, about = measured(
        "analysis_speed", columns, lambda line: line["size"] == "1m" and bool(line["answer"])
    )
    return (
        f"{lines}\n\n{machine(about)}, nsys {about['nsys']}; median and range of "
        f"{about['rounds']} rounds; MiB: peak memory."
    )


def fleet_speed() -> str:
    """Return how fast many ranks are answered beside NVIDIA's recipes, in markdown."""
    columns = ("command", "wall", "CPU", "NVIDIA's wall by ours", "NVIDIA's CPU by ours")
    lines, about = measured("fleet_speed", columns)
    return (
        f"{lines}\n\n{about['ranks']} ranks of {about['size']} kernels. {machine(about)}; median "
        f"and range of {about['rounds']} rounds."
    )


def large_reports() -> str:
    """Return what ten million kernels take beside one million, in markdown."""
    lines, about = measured("large_reports", ("work", "1m", "10m", "ratio of CPU", "MiB resident"))
    return f"{lines}\n\n{machine(about)}; under a limit of 4 GB on memory that is no file's."


def measured(
    name: str, columns: Sequence[str], shows: Callable[[dict[str, str]], bool] = bool
) -> tuple[str, dict[str, Any]]:
    """Return some columns of what a benchmark kept, in markdown, and on what it was measured.

    Args:
        name: of its file, without the suffix.
        columns: which are shown.
        shows: which lines are.
    """
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    rows = [columns, ["---"] * len(columns)]
    rows += [[line.get(column, "") for column in columns] for line in filter(shows, found["lines"])]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows), found["conditions"]


def machine(about: dict[str, Any]) -> str:
    """Return on what something was measured, and when."""
    processor = f"{about['processor']}, {about['cores']} cores"
    return f"{processor}, Python {about['python']}, {about['date'][:10]}"


def predictions() -> str:
    """Return predictions beside what came when a run was really changed so, in markdown."""
    path = ROOT / "benchmarks" / "results" / "predictions.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    about = found["conditions"]
    columns = ("change", "before", "predicted", "after", "predicted / after", "verdict")
    return "\n".join(
        [
            "| change | a step before | predicted | a step after | predicted / after | |",
            "|---|---|---|---|---|---|",
            *(
                "| " + " | ".join(line[column] for column in columns) + " |"
                for line in found["lines"]
            ),
            "",
            f"{found['settings']}. {about['processor']}, threads {about['threads']}, Python "
            f"{about['python']}, torch {about['torch']}, {about['date'][:10]}, load average "
            f"{about['load_average_before']:.2f} before. Steps before and after: median and range "
            f"of {found['turns']} turns; the ratio: with the interval that holds the true median "
            "in 95 % of cases.",
        ]
    )


def goals() -> str:
    """Return what was measured on GPUs against its goals, in markdown."""
    from benchmarks.gpu.goals import section

    return section(ROOT / "benchmarks" / "results" / "gpu")
