"""Many ranks of one run: the same tables over all of them, and who keeps whom waiting."""

from analysis.fleet.fleet import Fleet, fleet

__all__ = ["Fleet", "fleet"]
