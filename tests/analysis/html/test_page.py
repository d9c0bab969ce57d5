"""The page for a browser holds all that was recorded, whatever it is called, and nothing else."""

import json
import re
from pathlib import Path

import pytest

from analysis import Report, copies, gaps, kernels
from analysis.__main__ import main
from analysis.budget import budget
from analysis.html import pack
from analysis.page import browser
from analysis.page.page import page
from analysis.ranges.summary import summary
from analysis.recorded.device_work import device_work
from analysis.show.table import Table
from tests.made.commands.in_process import run_command
from tests.made.reports.build_report import (
    Call,
    Graph,
    Kernel,
    Memory,
    Operator,
    Range,
    make_report,
)
from tests.made.reports.html_page import ReadPage, blocks_of, read_page

AUTOGRAD = 101
EVALUATE = "autograd::engine::evaluate_function: "


def written(report: Path, folder: Path, *arguments: str) -> ReadPage:
    file = folder / "page.html"
    assert main([str(report), "--html", str(file), *arguments]) == 0
    return read_page(file.read_text(encoding="ascii"))


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("step", 1000, 1900),
            Range("forward", 1000, 1300),
            Range("aten::mm, op_id = 7", 1010, 1020),
            Range("aten::mm, op_id = 8", 1030, 1050),
            Range("backward", 1300, 1800),
            Range("MmBackward0", 1400, 1500, thread=AUTOGRAD),
            Range("aten::mm, op_id = 9", 1410, 1450, thread=AUTOGRAD),
        ],
        kernels=[
            Kernel("sgemm", 2000, 2300, launch=1012, stream=7),
            Kernel("sgemm", 2300, 2301, launch=1040, stream=7),
            Kernel("add", 2200, 2250, launch=1035, stream=13),
            Kernel("stray", 1500, 1600, stream=7),
            Kernel("sgemm", 9000, 9900, launch=1420, thread=AUTOGRAD, stream=7),
        ],
        graphs=[Graph(3, 12_000, 13_000)],
        calls=[Call("cudaMemcpyAsync", 1600, 1650, 77)],
        memory=[Memory(14_000, 14_100, 4096, 77), Memory(14_200, 14_201, 16, 78, kind=None)],
        threads={AUTOGRAD: "pt_autograd_0"},
    )


def test_work_of_the_backward_pass_tells_the_forward_range_it_comes_from(tmp_path: Path) -> None:
    report = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("forward", 1000, 1300),
            Range("aten::mm, seq = 3, op_id = 1", 1010, 1020),
            Range("backward", 1300, 1800),
            Range(f"{EVALUATE}MmBackward0, op_id = 5", 1400, 1500, thread=AUTOGRAD),
            Range("MmBackward0, seq = 3, op_id = 6", 1401, 1499, thread=AUTOGRAD),
        ],
        kernels=[
            Kernel("one", 2000, 2300, launch=1012),
            Kernel("its_backward", 2400, 2500, launch=1410, thread=AUTOGRAD),
        ],
    )
    made = written(report, tmp_path)
    one, backward = made.events("kernels")
    assert one.more["origin"] == 0
    assert made.head["names"][backward.more["origin"] - 1] == "aten::mm"


def test_lanes_are_devices_by_stream_and_threads(report: Path, tmp_path: Path) -> None:
    lanes = written(report, tmp_path).head["lanes"]
    assert [(lane["kind"], lane["label"], lane["count"]) for lane in lanes] == [
        ("kernels", "GPU 0 · stream ?", 1),
        ("kernels", "GPU 0 · stream 7", 4),
        ("kernels", "GPU 0 · stream 13", 1),
        ("copies", "GPU 0 · stream ? · copies", 2),
        ("ranges", "thread 100", 5),
        ("calls", "thread 100 · CUDA calls", 4),
        ("ranges", "thread 101 · pt_autograd_0", 2),
        ("calls", "thread 101 · pt_autograd_0 · CUDA calls", 1),
    ]
    assert [lane["stream"] for lane in lanes[:4]] == [None, 7, 13, None]
    assert [(lane["process"], lane["thread"]) for lane in lanes[4:]] == [
        *2 * [(100, 100)],
        *2 * [(100, AUTOGRAD)],
    ]


def test_a_row_is_an_event_with_its_launch(report: Path, tmp_path: Path) -> None:
    made = written(report, tmp_path)
    rows = made.lanes[1]
    assert [(row.name, row.start, row.duration) for row in rows] == [
        ("stray", 1500, 100),
        ("sgemm", 2000, 300),
        ("sgemm", 2300, 1),
        ("sgemm", 9000, 900),
    ]
    launches = [made.launching(row) for row in rows]
    assert [launch and launch.start for launch in launches] == [None, 1012, 1040, 1420]
    (copy, _) = made.events("copies")
    assert copy.more["bytes"] == 4096
    started = made.launching(copy)
    assert started is not None
    assert started.name == "cudaMemcpyAsync"
    assert made.head["origin_ns"] == "1000"
    assert made.head["span_ns"] == 14_201 - 1000


def test_work_says_why_its_device_had_been_idle(report: Path, tmp_path: Path) -> None:
    made = written(report, tmp_path)
    causes = ["", *made.head["causes"]]
    work = sorted(made.events("kernels"), key=lambda row: row.start)
    found = [(row.start, causes[row.more["idle"]]) for row in work]
    with Report(report) as opened:
        listed = opened.gaps(min_gap_us=0, exclude=["none"])
    ends = dict(zip(listed.start_ns + listed.duration_ns, listed.cause, strict=True))
    assert found == [(row.start, ends.get(row.start, "")) for row in work]
    assert sum(cause != "" for _, cause in found) == 3


def test_autograds_ranges_stand_under_the_phase_of_the_thread_that_waits(
    report: Path, tmp_path: Path
) -> None:
    made = written(report, tmp_path)
    rows = made.lanes[6]
    owners = [made.lanes[row.more["owner_lane"] - 1][row.more["owner"] - 1] for row in rows]
    assert [owner.name for owner in owners] == ["backward", "backward"]
    assert all("owner" not in row.more for row in made.lanes[4])


def test_ranges_know_what_tables_call_them(report: Path, tmp_path: Path) -> None:
    head = written(report, tmp_path).head
    called = [head["names"][place] for place in head["called"]]
    assert dict(zip(head["names"], called, strict=True)) | {
        "aten::mm, op_id = 7": "aten::mm",
        "aten::mm": "aten::mm",
        "sgemm": "sgemm",
    } == dict(zip(head["names"], called, strict=True))


def test_kernels_have_a_category_and_ranges_none(report: Path, tmp_path: Path) -> None:
    head = written(report, tmp_path).head
    category = dict(zip(head["names"], head["category"], strict=True))
    assert head["categories"][category["sgemm"]] == "gemm"
    assert category["forward"] == category["cudaLaunchKernel_v7000"] == -1


def test_the_head_says_what_the_page_says(report: Path, tmp_path: Path) -> None:
    made = written(report, tmp_path)
    with Report(report) as opened:
        text = page(opened)
        (found,) = (table for table in text.tables if table.name == "budget")
    head = made.head
    assert head["title"] == "r.sqlite"
    assert head["verdict"] == text.verdict
    assert head["described"] == list(text.lines)
    assert text.advice is not None
    assert [each["text"] for each in head["advice"]] == [
        finding.text for finding in text.advice.findings
    ]
    assert [(each["part"], each["ns"]) for each in head["budget"]] == [
        (row["part"], row["ns"]) for row in found.rows()
    ]
    assert head["steps"] == [{"start": 0, "end": 900, "number": 0, "process": 100}]
    assert head["median_step"] == 0
    assert head["window"] == [0, 900]


def test_the_tables_are_those_of_the_commands(report: Path, tmp_path: Path) -> None:
    made = written(report, tmp_path, "--exclude", "forward")
    with Report(report) as opened:
        answers: dict[str, Table] = {
            "kernels": kernels.ranking(opened, exclude=["forward"]),
            "ranges": summary(opened, exclude=["forward"]),
            "tree": summary(opened, tree=True, exclude=["forward"]),
            "gaps": gaps.gaps(opened, exclude=["forward"]),
            "copies": copies.copies(opened, exclude=["forward"]),
            "budget": budget(opened, exclude=["forward"]),
        }
    for name, answer in answers.items():
        table = made.tables[name]
        assert table["columns"] == list(answer.columns), name
        wanted = [
            [None if value != value else value for value in row.values()] for row in answer.rows()
        ]
        assert table["rows"] == wanted, name
        assert table["heading"] == answer.caption, name


def test_a_question_without_an_answer_says_why(report: Path, tmp_path: Path) -> None:
    table = written(report, tmp_path).tables["roofline"]
    assert table["rows"] == table["columns"] == []
    assert table["heading"].startswith("no range in this report carries FLOPs")


def test_a_run_on_a_cpu_has_its_operators_by_thread(tmp_path: Path) -> None:
    report = make_report(
        tmp_path / "cpu.sqlite",
        operators=[Operator("aten::mm", 10, 40, 30), Operator("aten::add", 50, 60, 10)],
        ranges=[Range("forward", 0, 100)],
    )
    made = written(report, tmp_path)
    assert [(row.name, row.start, row.duration) for row in made.events("operators")] == [
        ("aten::mm", 10, 30),
        ("aten::add", 50, 10),
    ]
    assert {each["device"] for each in made.head["budget"]} == {"cpu"}
    assert made.tables["gaps"]["heading"].startswith("no GPU work in this report")


def test_a_report_of_ranges_alone_has_a_page(tmp_path: Path) -> None:
    report = make_report(tmp_path / "r.sqlite", ranges=[Range("load", 5, 9), Range(None, 6, 7)])
    made = written(report, tmp_path)
    assert [(row.name, row.start, row.duration) for row in made.events("ranges")] == [
        ("load", 5, 4),
        ("", 6, 1),
    ]
    assert made.head["budget"] == made.head["advice"] == []


def test_steps_that_took_no_time_have_a_page(tmp_path: Path) -> None:
    report = make_report(
        tmp_path / "r.sqlite", ranges=[Range("step", 5, 5)], kernels=[Kernel("a", 5, 5, launch=5)]
    )
    made = written(report, tmp_path)
    assert made.head["budget"] == []
    assert made.head["steps"] == [{"start": 0, "end": 0, "number": 0, "process": 100}]


def test_times_since_1970_are_kept_to_the_nanosecond(tmp_path: Path) -> None:
    began = 1_700_000_000_000_000_001
    report = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("a", began, began + 7), Kernel("b", began + 20_007, began + 20_010)],
    )
    made = written(report, tmp_path)
    assert [(row.start, row.duration) for row in made.events("kernels")] == [
        (began, 7),
        (began + 20_007, 3),
    ]
    table = made.tables["gaps"]
    (row,) = (dict(zip(table["columns"], row, strict=True)) for row in table["rows"])
    assert (row["start_ns"], row["duration_ns"]) == (str(began + 7), 20_000)


HOSTILE: list[str | bytes] = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>&lt;&#60;",
    "'\"`${alert(1)}\\",
    "\u202egnp.exe\u2066",
    "two\nlines\x00\x1b[31m\u2028\u2029",
    "{{TABLES}} {{HEAD}} {{EVENTS}} \\1 \\g<0>",
    "__proto__",
    "x" * 1_000_000,
    b"\xed\xa0\x80 half a pair",
    "\U0001f600 é",
]


def test_hostile_names_neither_break_out_nor_get_lost(tmp_path: Path) -> None:
    report = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range(name, 10 * at, 10 * at + 9) for at, name in enumerate(HOSTILE)],
        kernels=[
            Kernel(name, 1000 + 10 * at, 1009 + 10 * at, launch=10 * at + 1)
            for at, name in enumerate(HOSTILE)
        ],
        gpus=["</script><b>GPU"],
    )
    made = written(report, tmp_path)
    with Report(report) as opened:
        wanted = [device_work(opened).names[place] for place in device_work(opened).name]
    assert [row.name for row in made.events("kernels")] == wanted
    assert wanted[:3] == HOSTILE[:3]
    assert {row[0] for row in made.tables["kernels"]["rows"]} == set(wanted)
    assert sorted(row.name for row in made.events("ranges")) == sorted(wanted)
    assert made.tags == blocks_of(pack.built_page()).tags


def test_half_of_a_pair_of_surrogates_is_kept_as_it_is() -> None:
    assert json.loads(pack.as_json({"name": "\ud800"})) == {"name": "\ud800"}
    pack.as_json({"name": "\ud800"}).encode("ascii")


def test_a_page_names_no_place_in_the_network(report: Path, tmp_path: Path) -> None:
    written(report, tmp_path)
    text = (tmp_path / "page.html").read_text(encoding="ascii")
    without_notices = re.sub(r"<!--.*?-->|/\*!.*?\*/", "", text, flags=re.DOTALL)
    assert "://" not in without_notices
    assert "default-src 'none'" in text


@pytest.mark.parametrize(
    ("given", "status", "problem"),
    [
        (["--html", ""], 2, "--html is empty"),
        (["--html", "page.html", "--format", "json"], 2, "--format goes without --html"),
        (["--html", "page.html", "--output", "x"], 2, "--output goes without --html"),
        (["--html", "page.html", "--top", "3"], 2, "--top goes without --html"),
        (["--html", "."], 1, "a directory; name a file for --html"),
        (["--html", "r.sqlite"], 1, "this is the report itself; choose another --html"),
        (["--html", "other.sqlite"], 1, "another report, which is not written to"),
        (["--html", "no/such/page.html"], 1, "cannot be written (no such file or directory)"),
        (["--html", "page.html", "--steps", "7:"], 1, "no such steps"),
    ],
)
def test_a_page_that_cannot_be_written_is_one_line_and_leaves_all_as_it_was(
    given: list[str], status: int, problem: str, report: Path
) -> None:
    folder = report.parent
    (folder / "other.sqlite").write_bytes(report.read_bytes())
    (folder / "page.html").write_text("earlier")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = run_command("analysis", report, *given, cwd=folder)
    assert (done.returncode, done.stdout) == (status, "")
    assert problem in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_page_takes_the_place_of_an_earlier_one_as_a_whole(
    report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "page.html"
    file.write_text("earlier")

    def fails(*_: object) -> str:
        assert file.read_text() == "earlier"
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(browser, "packed", fails)
        with pytest.raises(KeyboardInterrupt):
            main([str(report), "--html", str(file)])
    assert file.read_text() == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "r.sqlite"]
    assert written(report, tmp_path).head["title"] == "r.sqlite"
