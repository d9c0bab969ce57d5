"""NVIDIA's Python recipe: how the benchmark finds and runs it, and whether it agrees with us."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from analysis.nvidia import __main__ as nvidia
from benchmarks.speed import agreement, analysis_speed, recipe, recipe_tables
from benchmarks.speed.processes import Runs, measure
from benchmarks.speed.recipe import Recipe
from benchmarks.speed.speed_table import ReportRuns
from benchmarks.text import BenchmarkError
from tests.made.reports.build_report import Call, Kernel, Memory, Range, make_report
from tests.made.tools import shared
from tests.made.tools.nsys_tool import nsys

OURS = "Range,Style,Total Proj Time (ns),Range Instances,Proj Avg (ns),Proj Med (ns),Proj Min (ns),"
OURS += "Proj Max (ns),Proj StdDev (ns)\n"
THEIRS = "Text,Count,Mean,Std,Min,Q1,Median,Q3,Max,Sum,Rank,File\n"


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the nsys of an installation that has a recipe but no third_party, as Debian's."""
    monkeypatch.delenv("RECIPE", raising=False)
    root = tmp_path / "nsys-2023"
    package = root / "target-linux-x64" / "python" / "packages" / "nsys_recipe"
    (package / "recipes" / recipe.NAME).mkdir(parents=True)
    (package / "__init__.py").write_text("from nsys_recipe import third_party\n")
    (package / "data_service.py").write_text("def extract_pid(ids): return ids\n")
    (root / "bin").mkdir()
    program = root / "bin" / "nsys"
    program.touch(mode=0o755)
    return program


@pytest.fixture
def real() -> Recipe:
    """Return the real recipe with an environment that runs it, or skip the test."""
    if not os.environ.get("RECIPE_PYTHON"):
        pytest.skip(f"RECIPE_PYTHON= names no Python for NVIDIA's recipe; {recipe.HOW}")
    found = recipe.find(nsys())
    assert found is not None
    return found


def difference(real: Recipe, report: Path, folder: Path) -> str:
    """Return how our projection of a report differs from that of each mode of the recipe."""
    mine = folder / "ours.csv"
    argv = [str(report), "--report", recipe.NAME, "--format", "csv", "--output", str(mine)]
    assert nvidia.main(argv) == 0
    found = set()
    for name, command in real.commands(report, folder).items():
        measure(command, folder, folder / "out")
        found.add(agreement.recipe(mine, recipe.answer(name, folder)))
    assert len(found) == 1
    return found.pop()


def test_every_statistic_is_compared_and_no_deviation_of_one_is_none(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.csv", tmp_path / "theirs.csv"
    ours.write_text(f"{OURS}a,PushPop,9,1,9.0,9.0,9,9,0.0\nb,PushPop,10,2,5.0,5.0,4,6,1.4\n")
    rows = "a,1,9.0,,9,9.0,9.0,9.0,9,9,0,r\nb,2,5.0,1.41421,4,4.5,5.0,5.5,6,{},0,r\n"
    theirs.write_text(THEIRS + rows.format(10))
    assert agreement.recipe(ours, theirs) == agreement.SAME
    theirs.write_text(THEIRS + rows.format(11))
    assert agreement.recipe(ours, theirs) == "b: Total Proj Time (ns) is 10, NVIDIA's 11"
    theirs.write_text(THEIRS + rows.format(10).partition("\n")[0])
    assert agreement.recipe(ours, theirs) == "only one of us has b"
    theirs.unlink()
    assert agreement.recipe(ours, theirs) == "the recipe wrote no answer"


def test_what_the_installation_lacks_is_made_beside_it(installation: Path, tmp_path: Path) -> None:
    package = recipe.package(str(installation))
    before = sorted(package.rglob("*"))
    made = Recipe(package, sys.executable).environment(tmp_path / "made")
    assert made["NSYS_DIR"] == str(installation.parents[1])
    beside = Path(made["PYTHONPATH"]) / "nsys_recipe"
    assert sorted(path.name for path in beside.iterdir()) == [
        "__init__.py",
        "data_service.py",
        "recipes",
        "third_party",
    ]
    assert (beside / "recipes").readlink() == package / "recipes"
    assert sorted(package.rglob("*")) == before


def test_a_whole_installation_is_run_where_it_is(installation: Path, tmp_path: Path) -> None:
    package = recipe.package(str(installation))
    (package / "third_party").mkdir()
    found = Recipe(package, sys.executable)
    assert found.environment(tmp_path)["PYTHONPATH"] == str(package.parent)
    assert "recipe_third_party" not in found.provenance()


def test_its_python_is_tried_before_anything_is_timed(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECIPE_PYTHON", raising=False)
    assert recipe.find(str(installation)) is None
    monkeypatch.setenv("RECIPE_PYTHON", sys.executable)
    found = recipe.find(str(installation))
    assert found is not None
    assert "pandas " in found.versions
    broken = recipe.package(str(installation)) / "data_service.py"
    broken.write_text("raise ModuleNotFoundError('no asyncore')\n")
    with pytest.raises(BenchmarkError, match=r"ModuleNotFoundError: no asyncore; make an env"):
        recipe.find(str(installation))
    monkeypatch.setenv("RECIPE_PYTHON", "/no/such")
    with pytest.raises(BenchmarkError, match="RECIPE_PYTHON=/no/such is no program; make"):
        recipe.find(str(installation))


def test_a_folder_without_the_recipe_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECIPE", raising=False)
    with pytest.raises(BenchmarkError, match="there is no recipe nvtx_gpu_proj_sum; set RECIPE="):
        recipe.package(str(tmp_path / "bin" / "nsys"))
    monkeypatch.setenv("RECIPE", "nsys recipe nvtx_gpu_proj_sum --input")
    with pytest.raises(BenchmarkError, match=r"RECIPE=nsys recipe .* has no recipe"):
        recipe.package("nsys")


def test_the_tables_hold_what_the_report_does_in_unsigned_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("f", 100, 110, launch=20)],
        ranges=[Range("a", 10, None, registered=True), Range("b", 10, 30)],
    )
    assert recipe_tables.main([str(report), str(tmp_path / "tables")]) == 0
    read = {path.stem: pq.read_table(path) for path in (tmp_path / "tables").iterdir()}
    assert read.keys() == recipe_tables.TABLES.keys()
    assert read["NVTX_EVENTS"].column("end").to_pylist() == [None, 30]
    assert read["NVTX_EVENTS"].column("text").to_pylist() == [None, "b"]
    assert read["CUPTI_ACTIVITY_KIND_MEMCPY"].num_rows == 0
    assert recipe_tables.typed([-1, None], recipe_tables.WORK["globalPid"]).to_pylist() == [
        2**64 - 1,
        None,
    ]

    assert recipe_tables.main([str(report), str(tmp_path / "all"), recipe_tables.WHOLE]) == 0
    whole = [str(tmp_path / "all"), "--report", "nvtx_gpu_proj_sum"]
    assert nvidia.main(whole) == 0
    from_columns = capsys.readouterr().out
    assert nvidia.main([str(report), *whole[1:]]) == 0
    assert capsys.readouterr().out == from_columns


def test_what_the_recipe_alone_shows_is_added_to_an_earlier_run(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text('{"lines": [1]}')
    one = ReportRuns("1m", 10**6, {"nvidia nvtx_gpu_proj_sum": Runs([1.0], [1], [1.0])}, {})
    analysis_speed.saved(path, {"cores": 2}, [one], recipe_only=True)
    data = json.loads(path.read_text())
    assert data["lines"] == [1]
    assert data["recipe"]["conditions"] == {"cores": 2}
    path.write_text("[]")
    with pytest.raises(BenchmarkError, match="no data of an earlier run"):
        analysis_speed.saved(path, {}, [one], recipe_only=True)


def test_the_types_of_the_tables_are_those_of_nsys(tmp_path: Path) -> None:
    capture, folder = tmp_path / "r.nsys-rep", tmp_path / "tables"
    options = ["--sample=none", "--cpuctxsw=none", "--trace=nvtx", "--output", str(capture)]
    subprocess.run([nsys(), "profile", *options, "true"], capture_output=True)
    if not capture.exists():
        pytest.skip("this nsys records nothing here")
    options = ["--type=parquetdir", "--lazy=false", "--output", str(folder)]
    subprocess.run([nsys(), "export", *options, str(capture)], capture_output=True, check=True)
    for table, columns in recipe_tables.TABLES.items():
        schema = pq.read_schema(folder / f"{table}.parquet")
        assert {name: schema.field(name).type for name in columns} == columns


def test_the_real_recipe_projects_a_small_report_as_we_do(real: Recipe, tmp_path: Path) -> None:
    report = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("f", 100, 110, launch=20), Kernel("g", 120, 150, launch=30, thread=7)],
        memory=[Memory(160, 170, 64, correlation=3)],
        calls=[Call("cudaMemcpyAsync_v3020", 40, 45, correlation=3)],
        ranges=[
            Range("outer", 0, 90),
            Range("inner", 10, 25),
            Range("inner", 35, 50, registered=True),
            Range("idle", 60, 70),
            Range("other thread", 0, 90, thread=7),
        ],
    )
    assert difference(real, report, tmp_path) == agreement.SAME


@pytest.mark.parametrize(
    ("range_", "expected"),
    [
        (Range("a", 10, 21), "a: Range Instances"),  # the call ends with it
        (Range("a", 10, None), "only one of us has a"),  # never closed
        (Range("a", 45, 60), "only one of us has a"),  # its kernel took no time
        (Range("a", 10, 30, domain="D"), "only one of us has D:a"),
    ],
)
def test_the_real_recipe_differs_where_its_rules_do(
    range_: Range, expected: str, real: Recipe, tmp_path: Path
) -> None:
    kernels = [Kernel("f", 100, 110, launch=20), Kernel("g", 120, 150, launch=40)]
    kernels.append(Kernel("h", 160, 160, launch=50))
    ranges = [Range("outer", 0, 90), Range("a", 35, 50), range_]
    if "only" in expected:
        ranges.remove(Range("a", 35, 50))
    report = make_report(tmp_path / "r.sqlite", kernels=kernels, ranges=ranges)
    found = difference(real, report, tmp_path)
    assert found.startswith(expected)


@pytest.mark.parametrize("name", ["fsdp-2xh100-after", "mpi-saxpy-2022.2", "sliced-2xh100"])
def test_the_real_recipe_agrees_on_real_reports(name: str, real: Recipe, tmp_path: Path) -> None:
    assert difference(real, shared.report(name), tmp_path) == agreement.SAME
