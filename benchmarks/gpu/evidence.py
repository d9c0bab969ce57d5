"""Everything that must be true on a GPU, in stages of a few minutes that each leave their result.

    python -m benchmarks.gpu.evidence OUT                       all stages that are not done yet
    python -m benchmarks.gpu.evidence OUT --stages flash,sweep  some of them
    python -m benchmarks.gpu.evidence OUT --budget-s 540        be done after that long

Made for a bare machine: Python, torch and triton, no network. `--carry DIR` names a folder with
what is missing there (`make gpu-carry` fills one), NSYS_BUNDLE=FILE.tar.xz a packed nsys where none
is installed. A step that is done is not run again; one that failed or was cut off is, by the next
call, and one that would not be done in the time left is not started. All results are packed after
every step into OUT/evidence.tar.xz.00 and so on; `benchmarks.gpu.unpack` unpacks them elsewhere.
"""

import argparse
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from analysis.show.errors import one_line
from benchmarks.gpu import carry as gpu_carry
from benchmarks.gpu import nsys as gpu_nsys
from benchmarks.gpu import pack as gpu_pack
from benchmarks.gpu import process
from benchmarks.gpu.stages import STAGES, Step
from profiling.common import cli
from profiling.common.errors import LaunchError
from profiling.processes.starting import ended_by_signals

ROOT: Final = Path(__file__).resolve().parents[2]
MODULE: Final = "benchmarks.gpu.evidence"
STATE: Final = "state.json"
ENOUGH_S: Final = 600
"""How long one step may take."""

DONE: Final = 0
BEGAN: Final = "began"
CUT_OFF: Final = "cut off: this program was ended before the step was"
INTERRUPTED: Final = "interrupted"
_LOCK: Final = ".lock"


class Evidence:
    """The output folder, and which steps have left their result there.

    Args:
        out: made if it is missing.
        room: for what is packed; in ``out`` where none is given.

    Attributes:
        status: of each step: its exit status, or what happened to it.
        seconds: that each took.
        left_out: results there was no room for when all were packed.

    Raises:
        LaunchError: its state is damaged.
    """

    def __init__(self, out: Path, room: gpu_pack.Room | None = None) -> None:
        self.out = out.resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self._room = room or gpu_pack.Room(self.out)
        self._path = self.out / STATE
        self.left_out: list[str] = []
        known = self._read()
        self.status: dict[str, int | str] = {
            name: CUT_OFF if each["status"] == BEGAN else each["status"]
            for name, each in known.items()
        }
        self.seconds: dict[str, float] = {name: each["seconds"] for name, each in known.items()}

    def _read(self) -> dict[str, Any]:
        if not self._path.exists():
            return {}
        try:
            steps: dict[str, Any] = json.loads(self._path.read_text())["steps"]
            if all({"status", "seconds"} <= {*each} for each in steps.values()):
                return steps
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        raise LaunchError(f"{self._path}: damaged; take it away to begin anew")

    def note(self, step: Step, status: int | str, seconds: float = 0.0) -> None:
        """Keep how a step ended: an exit status, or why it was not run."""
        self.status[step.name], self.seconds[step.name] = status, round(seconds, 1)
        self._save()

    def _save(self) -> None:
        steps = {
            name: {"status": status, "seconds": self.seconds[name]}
            for name, status in self.status.items()
        }
        draft = self.out / (STATE + ".part")
        draft.write_text(json.dumps({"steps": steps, "left_out": self.left_out}, indent=1))
        os.replace(draft, self._path)

    def pack(self) -> list[Path]:
        """Put all results into files small enough to be carried, and return them."""

        def told(left_out: list[str]) -> None:
            self.left_out = left_out
            self._save()

        return gpu_pack.pack(self.out, self._room, self._path, told)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold an output folder for this process, and end what an earlier one left running.

    Raises:
        LaunchError: another one is at work there.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LaunchError(
                f"{out}: another call is at work there; wait for it, or name another folder"
            ) from None
        if count := process.end_marked(out.resolve()):
            print(f"ended {count} processes that an earlier call had left", flush=True)
        yield


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


def records_with_nsys(step: Step) -> bool:
    """Return whether a step asks for nsys.

    >>> records_with_nsys(Step("a", ("profiling.launch", "--recorder", "nsys", "--memory")))
    True
    """
    return ("--recorder", "nsys") in zip(step.words, step.words[1:], strict=False)


def hindrance(step: Step, environment: Mapping[str, str]) -> str:
    """Return why a step cannot be run here, or nothing."""
    if records_with_nsys(step) and not environment.get("NSYS"):
        return f"not run: {gpu_nsys.NONE_HERE}"
    lacking = missing(step.modules, environment)
    return f"not run: no {', '.join(lacking)} here; give --carry" if lacking else ""


def run_step(step: Step, evidence: Evidence, environment: Mapping[str, str], most_s: float) -> None:
    """Run one step, its output in its log, and note how it ended."""
    log = evidence.out / f"{step.name}.log"
    if why := hindrance(step, environment):
        log.write_text(f"[{why}]\n")
        evidence.note(step, why)
        return
    words = [word.replace("{out}", str(evidence.out)) for word in step.words]
    command = [sys.executable, "-m", *words]
    evidence.note(step, BEGAN)
    try:
        ended = process.run(command, log, environment, evidence.out, folder=ROOT, most_s=most_s)
    except BaseException:
        evidence.note(step, INTERRUPTED)
        raise
    evidence.note(step, *ended)


def environment_with(carry: Path | None) -> dict[str, str]:
    """Return the environment of the steps: this project, what of the carried is missing, and nsys.

    Raises:
        LaunchError: the nsys that is named is none.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    if carry:
        wheels = gpu_carry.wheels(carry)
        lacking = [wheels[module] for module in missing(wheels, environment)]
        paths.append(str(gpu_carry.unpack(lacking, carry.resolve() / "unpacked")))
    nsys = gpu_nsys.choose(os.environ)
    return {
        **environment,
        "PYTHONPATH": os.pathsep.join(paths),
        **({"NSYS": nsys} if nsys else {}),
    }


def collect(
    out: Path,
    stages: Sequence[str],
    carry: Path | None,
    budget_s: float,
    again: bool,
    room: gpu_pack.Room | None = None,
) -> Evidence:
    """Run the steps of some stages that have not succeeded yet, as long as the budget lasts.

    Raises:
        LaunchError: another call is at work, or the nsys that is named is none.
    """
    end = time.monotonic() + budget_s
    environment = environment_with(carry)
    with alone(out):
        evidence = Evidence(out, room)
        try:
            for stage in stages:
                for step in STAGES[stage]:
                    if evidence.status.get(step.name) == DONE and not again:
                        continue
                    _attempt(step, evidence, environment, end - time.monotonic())
        finally:
            evidence.pack()
    return evidence


def _attempt(step: Step, evidence: Evidence, environment: Mapping[str, str], left_s: float) -> None:
    """Run a step if it can be done in the time left, and say what became of it."""
    if left_s <= 0 or step.expected_s > left_s:
        time_left = f"{max(0.0, left_s):.0f} s are left"
        print(f"{step.name}: not started: {step.expected_s} s expected, {time_left}", flush=True)
        return
    run_step(step, evidence, environment, min(left_s, ENOUGH_S))
    status = evidence.status[step.name]
    line = f"{step.name}: {status}, {evidence.seconds[step.name]:.1f} s"
    if isinstance(status, int) and status != DONE:
        line += f": {one_line(process.last_words(evidence.out / f'{step.name}.log'))}"
    print(line, flush=True)
    evidence.pack()


def report(evidence: Evidence, wanted: Sequence[Step], room: gpu_pack.Room) -> int:
    """Say what there is and what is missing; return the exit status."""
    failed = [step.name for step in wanted if evidence.status.get(step.name) != DONE]
    print(f"done: {len(wanted) - len(failed)} of {len(wanted)} steps")
    if failed:
        print(f"not done: {', '.join(failed)}")
    parts = sorted(room.folder.glob(f"{gpu_pack.PACKED}.[0-9]*"))
    size = sum(part.stat().st_size for part in parts)
    print(f"packed: {len(parts)} files, {size / gpu_pack.MIB:.1f} MiB, in {room.folder}")
    for name in evidence.left_out:
        print(f"too large to be carried, left out: {name}")
    return int(bool(failed))


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = cli.Parser(MODULE, __doc__)
    made.add_argument("out", type=Path, help="where everything goes")
    made.add_argument("--stages", default=",".join(STAGES), help="(default: %(default)s)")
    made.add_argument("--carry", type=Path, help="folder with packages that are missing here")
    made.add_argument("--budget-s", type=float, default=24 * 3600.0, help="seconds in all")
    made.add_argument("--again", action="store_true", help="run what is done, too")
    made.add_argument("--pack-into", type=Path, metavar="DIR", help="for the parts (default: OUT)")
    made.add_argument(
        "--part-mib", type=cli.positive, default=gpu_pack.PART_MIB, help="of a part (%(default)g)"
    )
    made.add_argument("--parts", type=cli.count, default=gpu_pack.PARTS, help="most (%(default)s)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Collect the evidence; return 1 if a step did not succeed."""
    command = parser()
    given = command.parse_args(argv)
    stages = given.stages.split(",")
    if unknown := [stage for stage in stages if stage not in STAGES]:
        command.error(f"no stage is called {unknown[0]!r}; there are: {', '.join(STAGES)}")
    part_bytes = max(1, int(given.part_mib * gpu_pack.MIB))
    room = gpu_pack.Room((given.pack_into or given.out).resolve(), part_bytes, given.parts)
    try:
        with ended_by_signals():
            evidence = collect(given.out, stages, given.carry, given.budget_s, given.again, room)
        return report(evidence, [step for stage in stages for step in STAGES[stage]], room)
    except LaunchError as error:
        return cli.failed(str(error))
    except OSError as error:
        return cli.failed(f"{error.filename or given.out}: {error.strerror}; name another folder")
    except KeyboardInterrupt:
        return cli.failed(INTERRUPTED, 130)


if __name__ == "__main__":
    sys.exit(main())
