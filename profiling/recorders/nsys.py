"""The nsys recorder: find it, ask what it can do, run it, export what it left."""

import os
import re
import shutil
import sqlite3
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from analysis.show import nsys_program
from analysis.show.called import option
from analysis.show.render import plural
from profiling.common.errors import LaunchError
from profiling.processes.strays import TEMPORARY

FIRST_UNHEARD_NVTX: Final = (0, 2, 12)
"""From this version on the Python package names ranges in a way nsys up to 2023.4 cannot read."""


SHAPES: Final = "functions-trace-shapes"
"""The value of ``--pytorch``, since 2026.4, for functions of PyTorch with shapes as payloads."""


@dataclass(frozen=True)
class Nsys:
    """An installed nsys."""

    path: str

    @classmethod
    def find(cls) -> "Nsys | None":
        """Return the nsys that is named (`analysis.show.nsys_program`) or on the PATH, else None.

        Raises:
            LaunchError: what is named cannot be run, or is no nsys.
        """
        asked = nsys_program.asked()
        path = asked or nsys_program.found()
        if path is None:
            return None
        if shutil.which(path) is None:
            raise LaunchError(f"{path} is no program; name the nsys program {nsys_program.BY}")
        found = cls(path)
        if not found.version:
            raise LaunchError(
                f"{path} does not say its version; name a working nsys {nsys_program.BY}"
            )
        return found

    @cached_property
    def version(self) -> str:
        """Its version, as in ``2023.4.4.54``; empty where it does not say."""
        found = re.search(r"\d+(\.\d+)+", self._answer("--version"))
        return found[0] if found else ""

    @property
    def real_path(self) -> Path:
        """The program itself, links followed; a script that starts it counts as it."""
        return Path(shutil.which(self.path) or self.path).resolve()

    def options(self, command: str) -> frozenset[str]:
        """Return the long options of an nsys command; they differ between versions."""
        return nsys_program.long_options(self._answer(command, "--help"))

    @cached_property
    def traces_shapes(self) -> bool:
        """Whether it puts the shapes that PyTorch's functions are called with on their ranges.

        Its help breaks lines inside the value.
        """
        return SHAPES in "".join(self._answer("profile", "--help").split())

    @cached_property
    def may_sample(self) -> bool:
        """Whether this machine lets it sample the CPUs; containers often do not.

        An nsys that does not say is asked to all the same: where it may not, it records the rest.
        """
        said = self._answer("status", "--environment")
        found = re.search(r"CPU Profiling Environment(?: \(process-tree\))?: *(\w+)", said)
        return found is None or found[1] == "OK"

    def profile_command(
        self,
        output: Path,
        device: str,
        command: list[str],
        temporary: Path,
        *,
        stacks: bool = False,
        shapes: bool = False,
    ) -> list[str]:
        """Return the command line that records ``command`` into ``output`` (without suffix).

        What nsys itself writes on the way, as large as the recording, goes to a folder of the run,
        where it is ours to remove; the command keeps the folder for temporary files that it had.

        Only with ``stacks`` are system calls, CPU samples and scheduling recorded: they slow the
        host (steps of 0.9 ms by about a fifth), and samples need rights that a container may not
        give. On a GPU only what stands between cudaProfilerStart and -Stop is recorded, the
        kernels of a CUDA graph one by one, and the events that streams wait for; with ``shapes``
        PyTorch's functions with theirs, where this nsys can.
        """
        on_gpu = device.startswith("cuda")
        traced = [*(["cuda"] if on_gpu else []), "nvtx", *(["osrt"] if stacks else [])]
        sampled = "process-tree" if stacks and self.may_sample else "none"
        wanted = {
            "--trace": ",".join(traced),
            "--sample": sampled,
            "--cpuctxsw": sampled,
            "--force-overwrite": "true",
            "--output": str(output),
        }
        if on_gpu:
            wanted |= {
                "--capture-range": "cudaProfilerApi",
                "--capture-range-end": "stop",
                "--cuda-graph-trace": "node",
                "--cuda-event-trace": "true",
            }
        if on_gpu and shapes and self.traces_shapes:
            wanted["--pytorch"] = SHAPES
        known = self.options("profile")
        chosen = [f"{option}={value}" for option, value in wanted.items() if option in known]
        own = os.environ.get(TEMPORARY)
        back = [f"{TEMPORARY}={own}"] if own else ["-u", TEMPORARY]
        profiled = ["env", *back, *command]
        return ["env", f"{TEMPORARY}={temporary}", self.path, "profile", *chosen, *profiled]

    def export(self, recording: Path, destination: Path) -> None:
        """Write a recording as SQLite.

        Raises:
            LaunchError: nsys could not, with what it said.
        """
        wanted = {
            "--type": "sqlite",
            "--force-overwrite": "true",
            "--output": str(destination),
            nsys_program.INCLUDE_BLOBS: "true",
        }
        known = self.options("export")
        chosen = [f"{option}={value}" for option, value in wanted.items() if option in known]
        done = subprocess.run(
            [self.path, "export", *chosen, str(recording)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode or not destination.exists():
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise LaunchError(
                f"{recording.name}: nsys {self.version} could not export it "
                f"({said[-1] if said else f'exit {done.returncode}'}); "
                "export it with the nsys that recorded it: nsys export --type=sqlite"
            )

    def _answer(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                [self.path, *arguments], capture_output=True, text=True, errors="replace"
            )
        except OSError as error:
            raise LaunchError(f"{self.path} cannot be run: {error.strerror}") from None
        return done.stdout + done.stderr


def check_ranges_arrived(report: Path, pushed: dict[str, int], version: str, nvtx: str) -> None:
    """Make sure that the ranges a run pushed are in its report.

    Args:
        report: the export.
        pushed: how often each name was pushed.
        version: of the nsys that recorded it.
        nvtx: the version of the Python package; empty where it is not known.

    Raises:
        LaunchError: some are missing; it names the known cause where that is the likely one.
    """
    arrived = recorded_ranges(report)
    missing = {name: count - arrived.get(name, 0) for name, count in pushed.items()}
    missing = {name: count for name, count in missing.items() if count > 0}
    if not missing:
        return
    total, lost = sum(pushed.values()), sum(missing.values())
    numbers = tuple(int(part) for part in re.findall(r"\d+", nvtx)[:3])
    if lost == total and numbers >= FIRST_UNHEARD_NVTX:
        cure = (
            f"nsys up to 2023.4 records no ranges of the Python package nvtx {nvtx}; "
            "install nvtx==0.2.11"
        )
    else:
        cure = f"first missing: {next(iter(missing))}; use {option('--recorder', 'torch')}"
    raise LaunchError(f"nsys {version} recorded {total - lost} of {plural(total, 'range')}: {cure}")


def recorded_ranges(report: Path) -> dict[str, int]:
    """Return how often each push/pop range occurs in a report, by name."""
    query = """
        SELECT coalesce(StringIds.value, NVTX_EVENTS.text), count(*) FROM NVTX_EVENTS
        LEFT JOIN StringIds ON StringIds.id = NVTX_EVENTS.textId
        WHERE eventType = 59 GROUP BY 1
    """
    connection = sqlite3.connect(f"{report.resolve().as_uri()}?mode=ro", uri=True)
    try:
        return dict(connection.execute(query).fetchall())
    except sqlite3.OperationalError:  # no such table: nothing was recorded
        return {}
    finally:
        connection.close()
