"""Everything that must be true on a GPU, in stages of a few minutes that each leave their result.

    python -m benchmarks.gpu_evidence OUT                       all stages that are not done yet
    python -m benchmarks.gpu_evidence OUT --stages flash,sweep  some of them
    python -m benchmarks.gpu_evidence OUT --budget-s 540        start nothing after that long

Made for a bare machine: Python, torch and triton, no network. `--carry DIR` names a folder with
what is missing there (`make gpu-carry` fills one). A step that is done is not run again; one that
failed is, by the next call.
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.gpu_stages import STAGES, Step

ROOT: Final = Path(__file__).resolve().parent.parent
STATE: Final = "state.json"
PACKED: Final = "evidence.tar.xz"
"""All results in one file, without recordings above `LARGEST_BYTES`."""

LARGEST_BYTES: Final = 12 * 2**20
ENOUGH_S: Final = 600
"""How long one step may take."""

DONE: Final = 0


class Evidence:
    """The output folder, and which steps have left their result there.

    Args:
        out: made if it is missing.
    """

    def __init__(self, out: Path) -> None:
        self.out = out.resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.out / STATE
        self.status: dict[str, int | str] = json.loads(path.read_text()) if path.exists() else {}

    def note(self, step: Step, status: int | str) -> None:
        """Keep how a step ended: an exit status, or why it was not run."""
        self.status[step.name] = status
        draft = self.out / (STATE + ".part")
        draft.write_text(json.dumps(self.status, indent=1))
        os.replace(draft, self.out / STATE)

    def pack(self) -> Path:
        """Put all results into one file, small enough to be carried, and return it."""
        draft = self.out / (PACKED + ".part")
        with tarfile.open(draft, "w:xz", preset=6) as archive:
            for path in sorted(self.out.iterdir()):
                small = path.is_file() and path.stat().st_size <= LARGEST_BYTES
                if small and not path.name.startswith(PACKED):
                    archive.add(path, path.name)
        os.replace(draft, self.out / PACKED)
        return self.out / PACKED


def missing(modules: Iterable[str], environment: Mapping[str, str]) -> list[str]:
    """Return which modules a process with this environment cannot import."""
    code = (
        "from importlib.util import find_spec; import sys; "
        "print(*[module for module in sys.argv[1:] if not find_spec(module)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *modules],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def run_step(step: Step, evidence: Evidence, environment: Mapping[str, str], most_s: float) -> None:
    """Run one step, its output in its log, and note how it ended."""
    if lacking := missing(step.modules, environment):
        evidence.note(step, f"not run: no {', '.join(lacking)} here; give --carry")
        return
    words = [word.replace("{out}", str(evidence.out)) for word in step.words]
    command = [sys.executable, "-m", *words]
    with (evidence.out / f"{step.name}.log").open("wb") as log:
        log.write((" ".join(command) + "\n").encode())
        log.flush()
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                timeout=most_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            evidence.note(step, f"ended after {most_s:.0f} s")
            return
    evidence.note(step, done.returncode)


def environment_with(carry: Path | None) -> dict[str, str]:
    """Return the environment of the steps: this project, and what was carried along."""
    paths = [str(ROOT), *([str(carry.resolve())] if carry else [])]
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, *([known] if known else [])])}


def collect(
    out: Path, stages: Sequence[str], carry: Path | None, budget_s: float, again: bool
) -> Evidence:
    """Run the steps of some stages that have not succeeded yet, as long as the budget lasts."""
    evidence, environment = Evidence(out), environment_with(carry)
    end = time.monotonic() + budget_s
    for stage in stages:
        for step in STAGES[stage]:
            if evidence.status.get(step.name) == DONE and not again:
                continue
            left = end - time.monotonic()
            if left <= 0:
                print(f"{step.name}: no time left", flush=True)
                continue
            run_step(step, evidence, environment, min(left, ENOUGH_S))
            print(f"{step.name}: {evidence.status[step.name]}", flush=True)
        evidence.pack()
    return evidence


def main(argv: Sequence[str] | None = None) -> int:
    """Collect the evidence; return 1 if a step did not succeed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_evidence")
    parser.add_argument("out", type=Path, help="where everything goes")
    parser.add_argument("--stages", default=",".join(STAGES), help="(default: %(default)s)")
    parser.add_argument("--carry", type=Path, help="folder with packages that are missing here")
    parser.add_argument("--budget-s", type=float, default=24 * 3600.0, help="seconds in all")
    parser.add_argument("--again", action="store_true", help="run what is done, too")
    given = parser.parse_args(argv)
    stages = given.stages.split(",")
    if unknown := [stage for stage in stages if stage not in STAGES]:
        parser.error(f"no stage is called {unknown[0]!r}; there are: {', '.join(STAGES)}")
    evidence = collect(given.out, stages, given.carry, given.budget_s, given.again)
    wanted = [step.name for stage in stages for step in STAGES[stage]]
    return int(any(evidence.status.get(name) != DONE for name in wanted))


if __name__ == "__main__":
    sys.exit(main())
