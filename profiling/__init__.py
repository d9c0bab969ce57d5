"""How a model is run and recorded."""

import sys

if sys.argv[:1] == ["-m"] and any(word.partition(".")[0] == __name__ for word in sys.orig_argv):
    # One of our commands starts. It needs our `analysis`, whatever lies in the current folder; for
    # a script that imports us nothing of that name is imported, it may have one of its own.
    _root = __file__.removesuffix("/profiling/__init__.py")
    sys.path.insert(0, _root)
    from analysis.show.interrupts import end_starting_command

    sys.path.remove(_root)
    end_starting_command()
