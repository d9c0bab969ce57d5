"""What the isolated processes of tests run, without torch, which takes longest to import."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from profiling.common.errors import LaunchError, OutOfMemory, UsageError


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Do what the tests of isolated processes ask for."""
    match spec["do"]:
        case "echo":
            print("on stdout, which nobody reads")
            return {"spec": spec, "pid": os.getpid(), "parent": os.getppid()}
        case "list":
            return {"length": len(bytearray(spec["bytes"]))}
        case "launch error":
            raise LaunchError("the disk is full; make room")
        case "too large":
            raise OutOfMemory("about 9 GiB are needed and 1 GiB is free")
        case "usage error":
            raise UsageError("no size is called 'huge'")
        case "bug":
            return {"never": 1 // 0}
        case "exit":
            print("going", file=sys.stderr)
            os._exit(7)
        case "signal":
            os.kill(os.getpid(), getattr(signal, spec["name"]))
        case "sleep":
            Path(spec["file"]).write_text(str(os.getpid()))
            time.sleep(600)
    raise AssertionError(spec)
