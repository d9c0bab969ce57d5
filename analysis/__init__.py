"""Where the time went: questions to an Nsight Systems report, answered with tables."""

from analysis.show.interrupts import end_starting_command

end_starting_command()  # before anything that takes time is imported

from typing import TYPE_CHECKING  # noqa: E402

if TYPE_CHECKING:
    from analysis.questions import Report as Report
    from analysis.show.errors import ReportError as ReportError
else:

    def __getattr__(name: str) -> object:
        """Import what is asked for only then: a command's ``--help`` should read no report."""
        if name == "Report":
            from analysis.questions import Report

            return Report
        if name == "ReportError":
            from analysis.show.errors import ReportError

            return ReportError
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Report", "ReportError"]
