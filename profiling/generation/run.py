"""Generate from prompts one after another; each leaves a record, whatever becomes of it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import torch

from analysis.generation.records import Failure, Generation
from analysis.show.errors import first_line, one_line
from analysis.show.render import plural
from profiling import names
from profiling.common.cli import is_out_of_memory
from profiling.common.errors import LaunchError
from profiling.common.json_lines import JsonLines
from profiling.common.progress import steps_bar
from profiling.generation.pair import ReadyModels
from profiling.generation.pipeline import Choose, Generated, generate, greedy, sampling
from profiling.generation.record import Prompt, Record, content, ms, timing
from profiling.generation.selection import LESS_MEMORY, Decoding, ModelSelection
from profiling.models.pretrained import positions_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

P = ParamSpec("P")
T = TypeVar("T")

WARMUP_TOKENS: Final = 8
"""How many a warm-up generates: every kind of step several times."""

_LONGEST_REASON: Final = 300


class Generator:
    """Models that generate as they were told to."""

    def __init__(self, ready: ReadyModels, models: ModelSelection, decoding: Decoding) -> None:
        self.ready, self.models, self.decoding = ready, models, decoding

    def generate(self, prompt: Prompt, most: int | None = None) -> Generated:
        """Generate from a prompt, at most ``most`` tokens where that is given.

        Raises:
            LaunchError: the models have too few positions for it.
        """
        limit = self.decoding.max_new_tokens
        tokens = encode(self.ready.tokenizer, prompt.text)
        self._check_positions(len(tokens))
        return generate(
            self.ready.pair,
            tokens,
            limit if most is None else min(most, limit),
            choose=self._choose(prompt),
        )

    def _check_positions(self, tokens: int) -> None:
        """Refuse what the models have no positions for: on a GPU that is an error without a name.

        Raises:
            LaunchError: the prompt, or what may be generated after it, goes beyond the last one.
        """
        pair, new = self.ready.pair, self.decoding.max_new_tokens
        read = {"base": (pair.base, tokens + new), "teacher": (pair.teacher, tokens)}
        for name, (model, wanted) in read.items():
            known = None if model is None else positions_of(model)
            if known and wanted > known:
                further = f" and {plural(new, 'new token')}" if name == "base" else ""
                raise LaunchError(
                    f"{plural(tokens, 'token')} of prompt{further} want {wanted:,} positions, the "
                    f"{name} has {known:,}; shorten the prompt, or lower --max-new-tokens"
                )

    def _choose(self, prompt: Prompt) -> Choose:
        if not self.decoding.temperature:
            return greedy
        generator = torch.Generator(self.ready.pair.device)
        generator.manual_seed(self.decoding.seed + prompt.id)
        return sampling(self.decoding.temperature, generator)

    def record(self, prompt: Prompt, made: Generated) -> Generation:
        """Return the record of a prompt that was generated from."""
        response = self.ready.tokenizer.decode(made.tokens, skip_special_tokens=True)
        assert isinstance(response, str)
        models = self.models.names
        return Generation(
            id=prompt.id,
            prompt=prompt.text,
            response=response,
            model_config=models,
            timing=timing(made, has_teacher=models.teacher_model is not None),
            decode_step_times_ms=[ms(time) for time in made.each_ns(names.DECODE_STEP)],
        )

    def _generated(self, prompt: Prompt) -> Generation:
        return self.record(prompt, self.generate(prompt))

    def warm_up(self, prompts: Sequence[Prompt]) -> None:
        """Generate a little without a record, so that what happens once is over."""
        for prompt in prompts[: self.decoding.warmup and 1]:
            for _ in range(self.decoding.warmup):
                # If it fails, the prompt itself will fail too, and that is on record.
                self.attempt(self.generate, prompt, WARMUP_TOKENS)

    def attempt(
        self, work: Callable[P, T], *given: P.args, **named: P.kwargs
    ) -> tuple[T | None, str]:
        """Return what some work returns, or why it failed."""
        try:
            return work(*given, **named), ""
        # Tokenizer, template and models are other people's: whatever one prompt makes them raise,
        # the next prompt may do well.
        except Exception as error:
            reason = reason_of(error)
        # Out here, where the traceback holds no tensors any more.
        if self.ready.pair.device.startswith("cuda"):
            torch.cuda.empty_cache()
        return None, reason

    def run(self, prompts: Sequence[Prompt], results: JsonLines[Record]) -> list[Failure]:
        """Generate from each prompt, and put each record on the disk before the next prompt.

        Returns:
            The records of those that failed.
        """
        failures = []
        with steps_bar(len(prompts)) as bar:
            for prompt in prompts:
                made, reason = self.attempt(self._generated, prompt)
                kept = made or Failure(id=prompt.id, prompt=prompt.text, error=reason)
                results.add(content(kept))
                if isinstance(kept, Failure):
                    failures.append(kept)
                bar.done(f"prompt {prompt.id}", 0)
        return failures


def encode(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    """Return the tokens of a prompt, as the one message of a chat if there is a chat template."""
    if tokenizer.chat_template:
        message = [{"role": "user", "content": text}]
        encoded: Any = tokenizer.apply_chat_template(
            message, add_generation_prompt=True, tokenize=True, return_dict=True
        )
        return [int(number) for number in encoded["input_ids"]]
    encoded = tokenizer(text)
    return [int(number) for number in encoded["input_ids"]]


def reason_of(error: BaseException) -> str:
    """Return one line on why a prompt failed.

    >>> reason_of(KeyError("layers"))
    "KeyError: 'layers'"
    """
    said = first_line(error)
    if is_out_of_memory(error):
        detail = f" ({said})" if said else ""
        return one_line(f"out of memory{detail}"[:_LONGEST_REASON]) + f"; {LESS_MEMORY}"
    what = said if type(error) in {ValueError, LaunchError} else f"{type(error).__name__}: {said}"
    return one_line(what[:_LONGEST_REASON])
