"""The decoder of CS336: pre-norm blocks of causal attention and SwiGLU, untied LM head, no biases.

Every part stands in a range of its own (`profiling.names`), which costs nothing measurable while
nobody records.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from model import flops
from model.attention import Attention, RotaryEmbedding
from model.config import ModelConfig
from profiling import names
from profiling.spans import span


class RMSNorm(nn.Module):
    """Root-mean-square normalisation (arXiv 1910.07467), in a range called ``name``."""

    def __init__(self, width: int, name: str = names.NORM, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.name = name
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis of ``(..., width)``, in float32 inside."""
        width = x.shape[-1]
        with span(
            self.name, cost=lambda: flops.rmsnorm(x.numel() // width, width, x.element_size())
        ) as mark:
            wide = x.float()
            scale = torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + self.epsilon)
            normal: Tensor = (wide * scale).to(x.dtype) * self.weight
            return mark.output(normal)


class FeedForward(nn.Module):
    """SwiGLU (arXiv 2002.05202): ``down(silu(gate(x)) * up(x))``."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(b, t, d_model)`` to the same shape."""
        tokens = x.numel() // x.shape[-1]
        width, hidden = self.gate.in_features, self.gate.out_features  # whatever shard there is
        with span(
            names.FFN, cost=lambda: flops.ffn(tokens, width, hidden, x.element_size())
        ) as mark:
            result: Tensor = self.down(functional.silu(self.gate(x)) * self.up(x))
            return mark.output(result)


class Block(nn.Module):
    """One layer: attention, then the feed-forward network, each on a normalised residual."""

    def __init__(self, config: ModelConfig, attention: str = "eager") -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model)
        self.attention = Attention(config, attention)
        self.ffn_norm = RMSNorm(config.d_model)
        self.ffn = FeedForward(config.d_model, config.d_ff)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(b, t, d_model)`` to the same shape."""
        with span(names.BLOCK):
            normal = self.attention_norm(x)
            with span(names.ATTENTION):
                attended = self.attention(normal)
            x = x + attended
            result: Tensor = x + self.ffn(self.ffn_norm(x))
            return result


class TransformerLM(nn.Module):
    """A language model with random weights: ``TransformerLM(SIZES["small"])``.

    Built under ``torch.device("meta")`` it takes no memory.

    Args:
        config: its shape.
        attention: what computes attention, one of `model.attention.ATTENTIONS`.
        checkpoint: of how many blocks at a time only the input is kept for the backward pass, which
            runs them again (arXiv 1604.06174); 0 keeps the activations of all.

    Raises:
        ValueError: there is no such attention.
    """

    def __init__(self, config: ModelConfig, attention: str = "eager", checkpoint: int = 0) -> None:
        super().__init__()
        self.config = config
        self.checkpoint = checkpoint
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config, attention) for _ in range(config.num_layers))
        self.final_norm = RMSNorm(config.d_model, name=names.FINAL_NORM)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits ``(b, t, vocabulary)`` of token ids ``(b, t)``."""
        count, width, size = tokens.numel(), self.config.d_model, self.lm_head.weight.itemsize
        with span(names.EMBEDDING, cost=lambda: flops.embedding(count, width, size)) as mark:
            x = mark.output(self.embedding(tokens))
        x = self.final_norm(self._through_blocks(x))
        with span(
            names.LM_HEAD, cost=lambda: flops.linear(count, width, self.config.vocab_size, size)
        ) as mark:
            logits: Tensor = self.lm_head(x)
            return mark.output(logits)

    def prepare(self, positions: int, like: Tensor) -> None:
        """Make the tables of so many positions now, which else the first forward pass makes.

        Queries and keys will be ``like`` this tensor in dtype and device.
        """
        for module in self.modules():
            if isinstance(module, RotaryEmbedding):
                module.tables(positions, like)

    def _through_blocks(self, x: Tensor) -> Tensor:
        """Map ``(b, t, d_model)`` to the same shape."""
        blocks, most = list(self.blocks), self.checkpoint
        if not most or not torch.is_grad_enabled():
            return _through(blocks, x)
        for start in range(0, len(blocks), most):
            group = blocks[start : start + most]
            x = checkpoint(_through, group, x, use_reentrant=False)
        return x


def _through(blocks: Sequence[nn.Module], x: Tensor) -> Tensor:
    for block in blocks:
        x = block(x)
    return x


def next_token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits ``(b, t, v)`` against token ids ``(b, t)``."""
    vocabulary = logits.shape[-1]
    with span(
        names.LOSS,
        cost=lambda: flops.cross_entropy(targets.numel(), vocabulary, logits.element_size()),
    ) as mark:
        return mark.output(
            functional.cross_entropy(logits.reshape(-1, vocabulary), targets.reshape(-1))
        )
