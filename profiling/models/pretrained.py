"""Load a language model by folder or name, or build its architecture with random weights.

What can go wrong is one line: a model that is neither on disk nor reachable, a damaged folder, a
number format the device has no arithmetic for, too little memory. Where transformers and the
client of the model hub notice it, the line is theirs.
"""

import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import torch

from analysis.show.render import plural
from profiling.common.cli import is_out_of_memory
from profiling.common.errors import LaunchError, UsageError
from profiling.common.machine import available_bytes, choose_device
from profiling.models.random_model import byte_tokenizer, config_of, random_model, weight_count
from profiling.models.request import ModelRequest

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

T = TypeVar("T")

_REMEDY: Final = "give the folder that save_pretrained wrote, or --random-init qwen3-0.6b"
_REACH_SECONDS: Final = 5.0
"""How long the hub may take to answer at all."""

_LONGEST: Final = 300
"""Characters of somebody else's error message."""


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


def positions_of(model: "PreTrainedModel") -> int | None:
    """Return how many positions a model is made for; None where it does not say."""
    return getattr(model.config, "max_position_embeddings", None)


def load(request: ModelRequest) -> LoadedModel:
    """Return a model and its tokenizer.

    Raises:
        UsageError: something asked for does not exist.
        LaunchError: the model cannot be had, or not on this device.
    """
    _check(request)
    if request.random_init:
        model = load_model(request)
        return LoadedModel(model, byte_tokenizer(model.config.vocab_size), request.label)
    from transformers import AutoTokenizer

    # First, because it is quick.
    tokenizer: PreTrainedTokenizerBase = _from_disk_or_hub(
        request,
        lambda where, local: AutoTokenizer.from_pretrained(
            where, local_files_only=local, trust_remote_code=False
        ),
    )
    return LoadedModel(load_model(request), tokenizer, request.label)


def load_model(request: ModelRequest) -> "PreTrainedModel":
    """Return a model alone, for those who have token ids; see `load`."""
    _check(request)
    if request.random_init:
        with _in_one_line(request, request.random_init, "correct the config.json"):
            config = config_of(request.random_init)
            _check_memory(config, request)
            model = random_model(config, request)
    else:
        model = _from_disk_or_hub(request, lambda *where: _weights(request, *where))
    model.train(False)
    model.requires_grad_(False)
    return model


def _check(request: ModelRequest) -> None:
    """Refuse what the device cannot do, before anything is loaded."""
    from transformers.utils import logging as spoken

    spoken.set_verbosity(logging.ERROR)
    if not sys.stderr.isatty():
        spoken.disable_progress_bar()  # type: ignore[no-untyped-call]  # as transformers has it
    cuda, device = torch.cuda, request.device
    on_gpu = choose_device(device).startswith("cuda")
    if request.dtype == "float16" and not on_gpu:
        raise LaunchError(
            "float16 is a GPU's: a processor converts every number to float32 and back; "
            "use --dtype bfloat16 or float32 with --device cpu"
        )
    if request.dtype == "bfloat16" and on_gpu and cuda.get_device_capability(device) < (8, 0):
        raise LaunchError(
            f"{cuda.get_device_name(device)} has no arithmetic in bfloat16; "
            "use --dtype float16 or float32"
        )
    if request.attention == "flash_attention_2" and (not on_gpu or request.dtype == "float32"):
        where = "in float32" if on_gpu else "on a CPU"
        raise LaunchError(f"flash_attention_2 does not work {where}; use --attention sdpa")


def _from_disk_or_hub(request: ModelRequest, read: Callable[[str, bool], T]) -> T:
    """Read from a folder, or from the local cache, or what is missing there from the hub.

    ``read`` is given the folder or name, and whether to stay on this machine.
    """
    name = request.name
    if not name:
        raise UsageError("no model is named; give a folder or a name, or --random-init")
    path = Path(name).expanduser()
    with _in_one_line(request, name, _REMEDY):
        if path.is_dir():
            return read(str(path), True)
        if path.exists() or not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
            what = "a file" if path.exists() else "no such folder"
            raise LaunchError(f"{name}: {what}; {_REMEDY}")
        try:
            return read(name, True)
        except OSError:  # not there, or not all of it
            _check_hub(name)
        return read(name, False)


def _check_hub(name: str) -> None:
    """Ask the hub for a model, once and not for long: transformers would try for half a minute."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(name, timeout=_REACH_SECONDS)
    except Exception as error:
        raise LaunchError(
            f"{name}: not on disk, and not to be had from the model hub ({_line(error)}); {_REMEDY}"
        ) from None


def _weights(request: ModelRequest, where: str, local: bool) -> "PreTrainedModel":
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(where, local_files_only=local, trust_remote_code=False)
    _check_memory(config, request)
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        where,
        config=config,
        local_files_only=local,
        trust_remote_code=False,
        dtype=getattr(torch, request.dtype),
        attn_implementation=request.attention,
        output_loading_info=True,
    )
    model, told = loaded
    if missing := sorted(map(str, told["missing_keys"])):  # transformers would make them up
        raise LaunchError(
            f"{request.name}: {plural(len(missing), 'weight is', 'weights are')} missing, "
            f"{missing[0]} first; the folder is damaged or its config.json of another model"
        )
    made: PreTrainedModel = model.to(request.device)
    return made


def _check_memory(config: "PretrainedConfig", request: ModelRequest) -> None:
    """Refuse weights that do not fit: on a CPU the system would end the process instead."""
    needed = weight_count(config) * getattr(torch, request.dtype).itemsize
    available = available_bytes(request.device)
    if needed > available:
        raise LaunchError(
            f"{request.label}: its weights take {needed / 2**30:.1f} GiB in {request.dtype} and "
            f"{available / 2**30:.1f} GiB are free on {request.device}; use a smaller model, "
            "another --device, or --dtype bfloat16"
        )


@contextmanager
def _in_one_line(request: ModelRequest, what: str, remedy: str) -> Iterator[None]:
    """Put whatever transformers and the hub's client raise in one line: their kinds are many."""
    try:
        yield
    except (LaunchError, UsageError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise LaunchError(
                f"{what}: out of memory while loading in {request.dtype} on {request.device}; "
                "use a smaller model, another --device, or --dtype bfloat16"
            ) from None
        raise LaunchError(f"{what}: cannot be loaded ({_line(error)}); {remedy}") from None


def _line(error: BaseException) -> str:
    r"""Return an error's message in one line, cut.

    >>> _line(ValueError("first\n  second."))
    'first second'
    """
    line = " ".join(str(error).split()).strip(" .;:") or type(error).__name__
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
