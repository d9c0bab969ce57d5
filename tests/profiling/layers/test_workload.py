"""A recorded forward pass shows every layer and its parts in a report."""

import json
import subprocess
from pathlib import Path

import pytest

from analysis.ranges import __main__ as ranges
from analysis.source.trace.convert import convert
from profiling.layers.workload import LayersSettings
from profiling.processes.starting import child_environment, python_command
from profiling.recorders.run_notes import add_run_facts
from tests.made.models.tiny_qwen import save_tiny

LAYERS = 3
STEPS = 2


@pytest.mark.slow
def test_a_report_has_each_layer_under_its_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_tiny(tmp_path / "model", LAYERS)
    settings = LayersSettings(
        model_name=str(model), device="cpu", context=16, steps=STEPS, attention="eager"
    )
    (tmp_path / "settings.json").write_text(json.dumps(settings.fields()))
    read = LayersSettings.from_fields(json.loads((tmp_path / "settings.json").read_text()))
    assert read == settings
    # A profiler of the whole process wants one of its own.
    code = (
        "import json, sys; from pathlib import Path\n"
        "from profiling.layers.recorded_layers import run\n"
        "from profiling.layers.workload import LayersSettings\n"
        "from profiling.recorders.recorded_steps import RecordedProcess\n"
        "from profiling.recorders.torch_recorder import EmbeddedRecorder\n"
        "folder = Path(sys.argv[1])\n"
        "fields = json.loads((folder / 'settings.json').read_text())\n"
        "here = RecordedProcess(recorder=EmbeddedRecorder, device='cpu', folder=folder)\n"
        "result = run(LayersSettings.from_fields(fields), here)\n"
        "(folder / 'result.json').write_text(json.dumps(result))"
    )
    command = [*python_command("x")[:2], "-c", code, str(tmp_path)]
    subprocess.run(command, env=child_environment(), capture_output=True, check=True)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["layers"] == LAYERS
    assert len(result["step_ns"]) == len(result["unprofiled_step_ns"]) == STEPS
    report = tmp_path / "report.sqlite"
    convert(tmp_path / "trace.json", report, strict=False)
    add_run_facts(report, settings.facts(), result["costs"])
    assert ranges.main([str(report), "--tree", "--format", "json", "--exclude", "warmup"]) == 0
    counts = {row["range"]: row["instances"] for row in json.loads(capsys.readouterr().out)}
    times = STEPS * LAYERS
    found = {name.split("/")[-1].strip(): count for name, count in counts.items()}
    assert found["step"] == found["forward"] == STEPS
    for name in ("block", "attention", "attention_core", "output_projection", "ffn"):
        assert found[name] == times, name
