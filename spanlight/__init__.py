"""The one command line of the toolkit: ``spanlight COMMAND …``."""

import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parents[1])
_typed = " ".join(sys.orig_argv)
_is_command = sys.argv[:1] == ["-m"] and ("-m spanlight" in _typed or "-mspanlight" in _typed)
if _is_command and not sys.flags.safe_path and sys.path[0] != _ROOT:
    # Python put the current folder in front: a module there may have the name of one of ours.
    del sys.path[0]

from analysis.show.interrupts import end_starting_command  # noqa: E402

end_starting_command()  # before anything that takes time is imported

__version__ = "0.3.0"
