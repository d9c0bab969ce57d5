"""Print one of NVIDIA's own reports, in NVIDIA's columns, as `nsys stats` 2023.4 does.

    python -m analysis.nvidia report.sqlite --report nvtx_gpu_proj_sum
    python -m analysis.nvidia report.sqlite --report cuda_gpu_kern_sum:base --format csv

Rows, order and cells are NVIDIA's, faults included; the csv is that of `nsys stats -q -f csv`, but
for names that nsys writes so that nothing can read them back (with a comma and a quote, or a line
break). Nothing is left out: warm-up counts. Old names (gpukernsum) are understood.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from analysis.attribution.launches import Attribution
from analysis.knowledge.vocabulary import ALIASES
from analysis.nvidia import cells, kernels, ranges, work
from analysis.show import cli
from analysis.show.errors import ReportError
from analysis.show.render import percent
from analysis.source import tables
from analysis.source.report import Report
from profiling import names

if TYPE_CHECKING:
    from analysis.show.table import Table

Maker = Callable[..., "Table"]

NAMINGS: Final = ("base", "mangled")
NVTX_NAME: Final = "nvtx-name"
DEFAULT: Final = "cuda_gpu_kern_sum"

REPORTS: Final[Mapping[str, tuple[Maker, tuple[str, ...]]]] = {
    "cuda_api_sum": (work.cuda_api_sum, ()),
    "cuda_gpu_kern_sum": (work.cuda_gpu_kern_sum, (*NAMINGS, NVTX_NAME)),
    "cuda_gpu_mem_size_sum": (work.cuda_gpu_mem_size_sum, ()),
    "cuda_gpu_mem_time_sum": (work.cuda_gpu_mem_time_sum, ()),
    "cuda_kern_exec_sum": (work.cuda_kern_exec_sum, (*NAMINGS, NVTX_NAME)),
    "nvtx_gpu_proj_sum": (ranges.nvtx_gpu_proj_sum, ()),
    "nvtx_kern_sum": (kernels.nvtx_kern_sum, NAMINGS),
    "nvtx_pushpop_sum": (ranges.nvtx_pushpop_sum, ()),
    "nvtx_sum": (ranges.nvtx_sum, ()),
}
"""Who makes a report, and the arguments it takes after a colon."""

OLD_NAMES: Final[Mapping[str, str]] = {
    "cudaapisum": "cuda_api_sum",
    "gpukernsum": "cuda_gpu_kern_sum",
    "gpumemsizesum": "cuda_gpu_mem_size_sum",
    "gpumemtimesum": "cuda_gpu_mem_time_sum",
    "kernexecsum": "cuda_kern_exec_sum",
    "nvtxgpuproj": "nvtx_gpu_proj_sum",
    "nvtxkernsum": "nvtx_kern_sum",
    "nvtxppsum": "nvtx_pushpop_sum",
    "nvtxsum": "nvtx_sum",
}
"""What the reports were called up to 2022; the rules are those of 2023.4 all the same."""


@dataclass(frozen=True)
class Request:
    """One of NVIDIA's reports, and the arguments to make it with."""

    name: str
    naming: str = ""
    nvtx_name: bool = False

    def __str__(self) -> str:
        """Return it as one asks for it."""
        arguments = (self.naming, NVTX_NAME if self.nvtx_name else "")
        return ":".join([self.name, *filter(None, arguments)])

    def made(self, report: Report) -> Table:
        """Return NVIDIA's report, made of a file.

        Raises:
            ReportError: this file has nothing for it; nsys prints nothing then.
        """
        maker, _ = REPORTS[self.name]
        options: dict[str, object] = {"naming": self.naming} if self.naming else {}
        if self.nvtx_name:
            options["nvtx_name"] = True
        table = maker(report, **options)
        if not len(table):
            raise ReportError(report.path, f"{self.name} has no row", "nsys prints nothing either")
        return table


def request(text: str) -> Request:
    """Return the report that ``NAME[:base|:mangled][:nvtx-name]`` names; else it is wrong usage.

    A dash does for the colon before ``base`` and ``mangled``, as it does in names of files.
    """
    for naming in NAMINGS:
        text = text.replace(f"-{naming}", f":{naming}")
    name, *arguments = text.split(":")
    name = OLD_NAMES.get(name, name)
    if name not in REPORTS:
        raise argparse.ArgumentTypeError(f"no report {name!r}; there are: {', '.join(REPORTS)}")
    known = REPORTS[name][1]
    for argument in arguments:
        if argument not in known:
            listed = f"it takes: {', '.join(known)}" if known else "it takes none"
            raise argparse.ArgumentTypeError(f"no argument {argument!r} of {name}; {listed}")
    # As in NVIDIA's, base wins over mangled.
    naming = next((one for one in NAMINGS if one in arguments), "")
    return Request(name, naming, NVTX_NAME in arguments)


def warmup_notes(report: Report) -> tuple[str, ...]:
    """Return a line on how much of the work was warm-up, if there was any."""
    if not tables.has_range(report, (names.WARMUP, *ALIASES[names.WARMUP])):
        return ()
    try:
        attribution = Attribution.of(report)
    except ReportError:  # ranges alone
        return ()
    share = percent(
        int(attribution.work.duration_ns[attribution.work_in_warmup].sum())
        / max(int(attribution.work.duration_ns.sum()), 1)
    )
    return (f"{share} of the work was warm-up: included, as NVIDIA's reports do",)


def main(argv: Sequence[str] | None = None) -> int:
    """Print one of NVIDIA's reports; see the module's docstring."""
    parser = cli.parser(__doc__, "analysis.nvidia")
    parser.add_argument(
        "--report",
        dest="wanted",
        type=request,
        default=DEFAULT,
        metavar="NAME[:base|:mangled][:nvtx-name]",
        help=f"one of {', '.join(REPORTS)} (default {DEFAULT})",
    )
    args = cli.parse(parser, argv)
    with Report(args.report) as report:
        table = replace(args.wanted.made(report), notes=warmup_notes(report))
        report.left_out.clear()  # by our own reading, for the note; NVIDIA's reports count all rows
    if args.format in ("table", "markdown"):
        table = cells.readable(table)
    cli.write_answer(table, args, as_csv=cells.as_csv)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
