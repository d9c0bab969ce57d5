"""The launcher of ranks: results come back, and what goes wrong ends all of them with a line."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from model.parallel import ParallelError, process_group
from model.parallel.group import VARIABLES, check_gpus
from profiling.common.errors import LaunchError, UsageError
from profiling.processes import ranks
from profiling.processes.running import NotInTime
from tests.made.runs.launched import ROOT

TIMEOUT_S = 90.0


Added = tuple[list[dict[str, Any]], list[tuple[int, dict[str, Any]]]]
"""What two ranks returned, and what each told on the way."""


@pytest.fixture(scope="module")
def added() -> Added:
    """Return what ranks leave that add up a number, in an environment as on a cluster."""
    told: list[tuple[int, dict[str, Any]]] = []
    others = [
        name
        for name, addresses in psutil.net_if_addrs().items()
        if not any(each.address == ranks.HOST for each in addresses)
    ]
    with pytest.MonkeyPatch.context() as patch:
        # As a cluster's environment may say, for ranks on several nodes.
        patch.setenv("GLOO_SOCKET_IFNAME", others[0] if others else "eth0")
        found = ranks.run(
            "tests.made.parallel.ranks_functions:add",
            2,
            {"timeout_s": 30.0},
            timeout_s=TIMEOUT_S,
            on_told=lambda rank, what: told.append((rank, dict(what))),
        )
    return found, told


def test_every_rank_returns_its_result_and_tells_on_the_way(added: Added) -> None:
    found, told = added
    assert [result["sum"] for result in found] == [3.0, 3.0]
    assert {result["device"] for result in found} == {"cpu"}
    for rank in (0, 1):
        mine = [what for whose, what in told if whose == rank]
        assert mine == [{"before": rank + 1.0}, {"after": 3.0}]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raises", r"rank 1 failed with ValueError: no such thing \(ranks_functions.py:\d+\); the"),
        ("killed", r"rank 1 was killed, most likely out of memory; use fewer ranks or less"),
        ("exits", r"rank 1 ended with exit status 3 and said: I go; the other ranks were ended"),
        ("memory", r"rank 1 is out of memory \(RuntimeError: Default.*9 bytes\); use fewer ranks"),
        ("refuses", r"^the ranks have different models: a is b$"),
    ],
)
def test_one_that_fails_is_named_and_all_are_ended(how: str, said: str, tmp_path: Path) -> None:
    arguments = {"how": how, "rank": 1, "pids": str(tmp_path)}
    with pytest.raises(LaunchError, match=said) as caught:
        ranks.run("tests.made.parallel.ranks_functions:fail", 2, arguments, timeout_s=TIMEOUT_S)
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, NotInTime)
    assert none_left(tmp_path)


def none_left(pids: Path) -> bool:
    return not any(psutil.pid_exists(int(path.read_text())) for path in pids.iterdir())


@pytest.mark.slow
def test_the_first_to_fail_is_named_among_several(tmp_path: Path) -> None:
    arguments = {"how": "aborts", "rank": 0, "pids": str(tmp_path)}
    with pytest.raises(LaunchError, match="rank 0 died of SIGABRT"):
        ranks.run("tests.made.parallel.ranks_functions:fail", 3, arguments, timeout_s=TIMEOUT_S)
    assert none_left(tmp_path)


@pytest.mark.slow
def test_one_that_hangs_is_ended_when_the_time_is_up(tmp_path: Path) -> None:
    arguments = {"how": "hangs", "rank": 0, "pids": str(tmp_path)}
    with pytest.raises(NotInTime, match="ranks 0, 1 were not done after 8 s; give"):
        ranks.run("tests.made.parallel.ranks_functions:fail", 2, arguments, timeout_s=8.0)
    assert none_left(tmp_path)


def test_one_that_ends_early_is_told_of() -> None:
    with pytest.raises(LaunchError, match=r"rank 1 failed with .*after rank 0 had ended"):
        ranks.run("tests.made.parallel.ranks_functions:leave_early", 2, {}, timeout_s=TIMEOUT_S)


def test_a_port_that_is_taken_is_refused() -> None:
    with socket.create_server((ranks.HOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(LaunchError, match=f"port {port} is taken; give another, or none"):
            ranks.run(
                "tests.made.parallel.ranks_functions:add", 2, {}, timeout_s=TIMEOUT_S, port=port
            )


def test_a_port_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match=r"there is no port 65536; give another, or none"):
        ranks.run("tests.made.parallel.ranks_functions:add", 2, {}, timeout_s=9.0, port=1 << 16)


def test_nobody_listens_but_on_the_loopback_address(added: Added) -> None:
    for found in added[0]:
        assert len(found["listening"]) >= 2  # a rank's own, and the store
        assert {*found["listening"]} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_fewer_gpus_than_ranks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    check_gpus(2)
    with pytest.raises(ParallelError, match="a GPU for each of 4 ranks, and this machine has 2"):
        check_gpus(4)


def test_ranks_that_want_gpus_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(LaunchError, match=r"^NCCL wants a GPU for each of 2 ranks, .* has 0; use"):
        ranks.run("tests.made.parallel.ranks_functions:nccl", 2, {}, timeout_s=TIMEOUT_S)


def test_a_process_that_is_no_rank_is_told_how_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ParallelError, match=r"RANK is not set.*torchrun --nproc-per-node"):
        process_group().__enter__()


def test_ranks_end_with_their_launcher_even_if_it_is_killed(tmp_path: Path) -> None:
    arguments = json.dumps({"how": "hangs", "rank": 0, "pids": str(tmp_path)})
    program = (
        "import json; from profiling.processes import ranks\n"
        "function = 'tests.made.parallel.ranks_functions:fail'\n"
        f"ranks.run(function, 2, json.loads({arguments!r}), timeout_s=60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: none_left(tmp_path))


def wait_for(happened: Any) -> None:
    end_s = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end_s
        time.sleep(0.1)


TORCHRUN_SCRIPT = """
import torch
from model.parallel import DataParallel, process_group

with process_group("gloo", 60.0):
    rank = torch.distributed.get_rank()
    layer = torch.nn.Linear(1, 1, bias=False)
    model = DataParallel(layer)
    model(torch.full((1, 1), rank + 1.0)).sum().backward()
    model.finish_gradient_synchronization()
    open(f"{rank}.txt", "w").write(str(layer.weight.grad.item()))
"""


@pytest.mark.slow
def test_torchrun_starts_ranks_as_well(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(TORCHRUN_SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [*command, str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)] == ["1.5", "1.5"]
