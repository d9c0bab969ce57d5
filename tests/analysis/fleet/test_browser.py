"""The page on many ranks: one file without script or network, whose figures are the tables'."""

import base64
import hashlib
import re
from pathlib import Path

import pytest

from analysis.fleet import __main__ as command
from analysis.show import cli
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.reports.rank_reports import MICRO, rank_reports


def page(folder: Path, *reports: Path) -> str:
    """Return the page about some reports."""
    target = folder / "page.html"
    arguments = [*map(str, reports), "--html", str(target), "--workers", "1"]
    assert cli.run(lambda: command.main(arguments)) == 0
    return target.read_text(encoding="ascii")


def test_the_map_has_a_cell_for_each_rank_and_step_and_the_straggler_stands_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = page(tmp_path, *rank_reports(tmp_path / "r", 8, loads={(5, 3): 500 * MICRO}))
    cells = re.findall(r'<rect class="(\w+)"[^>]*><title>rank (\d), step (\d)', text)
    assert len(cells) == 8 * 5
    assert [cell[1:] for cell in cells if cell[0] != "l0"] == [("5", "3")]
    assert "Step 3 of rank 5, which cost the others 3.500 ms" in text
    assert "load batch" in text
    assert capsys.readouterr().out == ""


def test_it_needs_no_network_and_no_script_and_names_are_text(tmp_path: Path) -> None:
    report = make_report(
        tmp_path / "rank0.sqlite",
        kernels=[Kernel("gemm", 5, 9, launch=2)],
        ranges=[Range("<script>alert(1)</script>", 0, 10)],
    )
    text = page(tmp_path, report)
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    style = re.search(r"<style>(.*)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in text
    assert "http" not in text.replace("http-equiv", "")
