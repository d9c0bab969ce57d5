"""Load a language model by folder or name, or build its architecture with random weights.

What can go wrong is one line: a model that is neither on disk nor reachable, a damaged folder, a
number format the device has no arithmetic for, too little memory.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from profiling.common.cli import is_out_of_memory
from profiling.common.errors import LaunchError, UsageError
from profiling.common.machine import available_bytes, choose_device
from profiling.models.model_source import first_error_line, from_disk_or_hub
from profiling.models.random_model import byte_tokenizer, config_of, random_model, weight_count

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

ATTENTIONS: Final = ("eager", "sdpa", "flash_attention_2")
DTYPES: Final = ("float32", "float16", "bfloat16")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to run.

    Attributes:
        model: a causal language model of transformers, in eval mode, frozen, on its device.
        tokenizer: its own; with random weights a byte-level one.
        name: what results call it.
    """

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    name: str


@dataclass(frozen=True, slots=True)
class _How:
    device: str
    dtype: str
    attention: str
    seed: int


def load(
    name_or_path: str | None,
    *,
    random_init: str | None,
    device: str,
    dtype: str,
    attention: str,
    seed: int = 0,
) -> LoadedModel:
    """Return a model and its tokenizer.

    Args:
        name_or_path: a folder that ``save_pretrained`` wrote, or a name on the model hub, sought
            in the local cache first; not looked at where ``random_init`` is given.
        random_init: an architecture (`profiling.models.random_model.PRESETS`) or a ``config.json``.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: one of `DTYPES`.
        attention: one of `ATTENTIONS`.
        seed: of random weights.

    Raises:
        UsageError: something asked for does not exist.
        LaunchError: the model cannot be had, or not on this device.
    """
    how = _checked(device, dtype, attention, seed)
    with _quiet():
        if random_init:
            model = _random(random_init, how)
            return LoadedModel(
                model, byte_tokenizer(model.config.vocab_size), model_label(None, random_init)
            )

        def both(where: str, local: bool) -> "tuple[PreTrainedTokenizerBase, PreTrainedModel]":
            return _tokenizer(where, local), _model(where, local, how)  # the quick one first

        tokenizer, model = from_disk_or_hub(_named(name_or_path), both)
    return LoadedModel(model, tokenizer, model_label(name_or_path, None))


def load_model(
    name_or_path: str | None,
    *,
    random_init: str | None,
    device: str,
    dtype: str,
    attention: str,
    seed: int = 0,
) -> "PreTrainedModel":
    """Return a model alone, for those who have token ids; see `load`."""
    how = _checked(device, dtype, attention, seed)
    with _quiet():
        if random_init:
            return _random(random_init, how)
        name = _named(name_or_path)
        return from_disk_or_hub(name, lambda where, local: _model(where, local, how))


def model_label(name_or_path: str | None, random_init: str | None) -> str:
    """Return what a model is called in results.

    >>> model_label("Qwen/Qwen3-0.6B", None), model_label(None, "qwen3-0.6b")
    ('Qwen/Qwen3-0.6B', 'qwen3-0.6b (random weights)')
    """
    return f"{random_init} (random weights)" if random_init else str(name_or_path)


def _named(name: str | None) -> str:
    if not name:
        raise UsageError("no model is named; give a folder or a name, or --random-init")
    return name


def _checked(device: str, dtype: str, attention: str, seed: int) -> _How:
    """Refuse what the device cannot do, before anything is loaded."""
    _require_transformers()
    device = choose_device(device)
    on_gpu = device.startswith("cuda")
    if dtype not in DTYPES:
        raise UsageError(f"no number format is called {dtype!r}; there are: {', '.join(DTYPES)}")
    if attention not in ATTENTIONS:
        known = ", ".join(ATTENTIONS)
        raise UsageError(f"no attention is called {attention!r}; there are: {known}")
    if dtype == "float16" and not on_gpu:
        raise LaunchError(
            "float16 is a GPU's: a processor converts every number to float32 and back; "
            "use --dtype bfloat16 or float32 with --device cpu"
        )
    if dtype == "bfloat16" and on_gpu and torch.cuda.get_device_capability(device) < (8, 0):
        raise LaunchError(
            f"{torch.cuda.get_device_name(device)} has no arithmetic in bfloat16; "
            "use --dtype float16 or float32"
        )
    if attention == "flash_attention_2":
        _check_flash(on_gpu, dtype)
    return _How(device, dtype, attention, seed)


def _require_transformers() -> None:
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise LaunchError(
            f"transformers cannot be used ({first_error_line(error)}); "
            "install it: pip install 'spanlight[inference]'"
        ) from None


def _check_flash(on_gpu: bool, dtype: str) -> None:
    from transformers.utils.import_utils import is_flash_attn_2_available

    if not on_gpu or dtype == "float32":
        where = "in float32" if on_gpu else "on a CPU"
        raise LaunchError(f"flash_attention_2 does not work {where}; use --attention sdpa")
    if not is_flash_attn_2_available():
        raise LaunchError(
            "flash_attention_2 wants the package flash-attn, which is not installed; "
            "install it, or use --attention sdpa"
        )


def _tokenizer(where: str, local: bool) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    made: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        where, local_files_only=local, trust_remote_code=False
    )
    return made


def _model(where: str, local: bool, how: _How) -> "PreTrainedModel":
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(where, local_files_only=local, trust_remote_code=False)
    _check_memory(where, config, how)
    loaded: Any
    with _memory_named(where, how):
        loaded = AutoModelForCausalLM.from_pretrained(
            where,
            config=config,
            local_files_only=local,
            trust_remote_code=False,
            dtype=getattr(torch, how.dtype),
            attn_implementation=how.attention,
            output_loading_info=True,
        )
        model, told = loaded
        _check_complete(where, told)
        return _ready(model.to(how.device))


def _random(random_init: str, how: _How) -> "PreTrainedModel":
    config = config_of(random_init)
    _check_memory(random_init, config, how)
    with _memory_named(random_init, how):
        model = random_model(
            config, device=how.device, dtype=how.dtype, attention=how.attention, seed=how.seed
        )
        return _ready(model)


def _ready(model: "PreTrainedModel") -> "PreTrainedModel":
    model.train(False)
    model.requires_grad_(False)
    return model


def _check_memory(what: str, config: "PretrainedConfig", how: _How) -> None:
    """Refuse weights that do not fit: on a CPU the system would end the process instead."""
    needed = weight_count(config) * getattr(torch, how.dtype).itemsize
    available = available_bytes(how.device)
    if needed > available:
        raise LaunchError(
            f"{what}: its weights take {needed / 2**30:.1f} GiB in {how.dtype} and "
            f"{available / 2**30:.1f} GiB are free on {how.device}; use a smaller model, "
            "another --device, or --dtype bfloat16"
        )


def _check_complete(where: str, told: dict[str, Any]) -> None:
    """Refuse weights that transformers would have made up."""
    for kind in ("missing_keys", "mismatched_keys"):
        if wrong := sorted(map(str, told.get(kind) or ())):
            word = "missing" if kind == "missing_keys" else "of another shape"
            raise LaunchError(
                f"{where}: {len(wrong)} weights are {word}, {wrong[0]} first; "
                "the folder is damaged or its config.json of another model"
            )


@contextmanager
def _memory_named(what: str, how: _How) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise LaunchError(
            f"{what}: out of memory while loading in {how.dtype} on {how.device}; "
            "use a smaller model, another --device, or --dtype bfloat16"
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Let transformers say nothing, and show its bars only to a person."""
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars
    from transformers.utils import logging as spoken

    before = spoken.get_verbosity()
    quiet = not sys.stderr.isatty()
    spoken.set_verbosity(logging.ERROR)
    if quiet:
        spoken.disable_progress_bar()  # type: ignore[no-untyped-call]  # as transformers has it
        disable_progress_bars()
    try:
        yield
    finally:
        spoken.set_verbosity(before)
        if quiet:
            spoken.enable_progress_bar()  # type: ignore[no-untyped-call]
            enable_progress_bars()
