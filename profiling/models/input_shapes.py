"""The shapes to time: one from the command line, or several from a file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from profiling.common.errors import LaunchError

SHIPPED: Final = Path(__file__).with_name("benchmark_configs.json")
"""What ``--configs benchmark_configs.json`` means where no file here is called so."""

_FIELDS: Final = ("batch_size", "input_len")


@dataclass(frozen=True, slots=True)
class InputShape:
    """One configuration: how many sequences of how many tokens."""

    batch_size: int
    input_len: int

    def __str__(self) -> str:
        return f"batch {self.batch_size}, length {self.input_len}"


def read_shapes(path: Path) -> list[InputShape]:
    """Read ``{"configs": [{"batch_size": 1, "input_len": 128}, …]}``.

    Raises:
        LaunchError: it cannot be read, or an entry is not a shape; the entry is named.
    """
    if not path.exists() and str(path) == SHIPPED.name:
        path = SHIPPED
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise LaunchError(f"{path}: cannot be read ({reason}); name another file") from None
    except (ValueError, RecursionError) as error:
        detail = str(error).splitlines()[0]
        raise LaunchError(f"{path}: no JSON ({detail}); correct it") from None
    entries = content.get("configs") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise LaunchError(f'{path}: no configurations; write {{"configs": [{_example()}, …]}}')
    return [_shape(path, place, entry) for place, entry in enumerate(entries)]


def _shape(path: Path, place: int, entry: Any) -> InputShape:
    given = entry if isinstance(entry, dict) else {}
    values: list[Any] = [given.get(field) for field in _FIELDS]
    right = all(type(value) is int and value >= 1 for value in values)
    if not right or len(given) != len(_FIELDS):
        raise LaunchError(
            f"{path}: configs[{place}] must be like {_example()}, of positive whole numbers"
        )
    return InputShape(*values)


def _example() -> str:
    return json.dumps(dict(zip(_FIELDS, (1, 128), strict=True)))
