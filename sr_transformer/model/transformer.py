"""The whole network: a set of rows goes in, a formula comes out token by token.

Rows are read without positions, through inducing points, so that the cost is linear in their
number (Set Transformer, Lee et al. 2019); they are pooled into a fixed number of latents. Beside
them stand *hints*, one for each column and one for the table, made of what simple statistics say
(:mod:`sr_transformer.model.statistics`). Latents and hints together are the *memory*. A causal
decoder with rotary positions (Su et al. 2021) reads the memory and writes the formula in prefix
notation.

Shapes: B tables, N rows, C columns, M latents and hints, T tokens, S samples, H heads, W channels
a head, D channels of the decoder, E of the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sr_transformer.model.prompt import Prompt
from sr_transformer.model.statistics import statistics_sizes, table_statistics
from sr_transformer.model.vocabulary import LONGEST_FORMULA, N_VARIABLES, Vocabulary

_CELL_FEATURES = 32 + 4
_MAX_POSITIONS = LONGEST_FORMULA + 1
_DRAWING = Lock()  # of threads that load, each would restore what another has drawn


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the network.

    Parameters
    ----------
    width : int
        Channels of the decoder.
    encoder_width : int
        Channels of rows and latents; they are many, so they are kept narrower.
    cell_width : int
        Channels into which each number of the table is read, with the same weights for all.
    head_width : int
        Channels of an attention head.
    n_inducing, n_latents : int
        Inducing points through which rows see each other; latents that sum the rows up.
    row_layers, latent_layers, decoder_layers : int
    encoder_expansion, expansion : int
        Hidden channels of the feed-forward layers, as multiples of their width.
    n_columns : int
        Most columns of a table.
    n_tokens : int
        Size of the vocabulary.
    """

    width: int = 192
    encoder_width: int = 128
    cell_width: int = 24
    head_width: int = 32
    n_inducing: int = 16
    n_latents: int = 24
    row_layers: int = 1
    latent_layers: int = 2
    decoder_layers: int = 4
    encoder_expansion: int = 2
    expansion: int = 3
    n_columns: int = N_VARIABLES
    n_tokens: int = len(Vocabulary.of())


PRESETS: dict[str, ModelConfig] = {
    "tiny": ModelConfig(
        width=64, encoder_width=32, cell_width=8, head_width=16, n_inducing=8, n_latents=8,
        latent_layers=1, decoder_layers=2, expansion=2,
    ),
    "small": ModelConfig(),
    "base": ModelConfig(
        width=384, encoder_width=256, cell_width=32, head_width=64, n_inducing=64, n_latents=64,
        row_layers=2, latent_layers=2, decoder_layers=5,
    ),
}  # fmt: skip
"""Named sizes: ``tiny`` for tests, ``small`` for CPU training, ``base`` for a GPU."""


def attend(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False) -> Tensor:
    """Scaled dot-product attention of (B, H, T, W) with (B, H, M, W).

    On a CPU the plain product is faster than torch's fused call for sequences this short, most of
    all in the backward pass, but not for the one newest token of many samples.
    """
    if q.is_cuda or q.shape[2] == 1:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if causal:
        length = q.shape[2]
        future = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(future, float("-inf"))
    return scores.softmax(-1) @ v


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Rotary positions: turn channel pairs of (B, H, T, W) by ``angles`` (2, T, W / 2)."""
    cos, sin = angles.to(x.dtype)
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)


class Norm(nn.Module):
    """Layer normalisation with a learnt scale and no bias (torch has a fused CPU kernel for it)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight.to(x.dtype))


class Attention(nn.Module):
    """Multi-head attention of ``width`` channels to a context of ``context_width`` channels."""

    def __init__(self, width: int, context_width: int, head_width: int) -> None:
        super().__init__()
        self.head_width = head_width
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(context_width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def heads(self, x: Tensor) -> Tensor:
        """Split (B, T, H * W) into (B, H, T, W)."""
        return x.unflatten(-1, (-1, self.head_width)).transpose(1, 2)

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, M, W) of a context (B, M, C)."""
        k, v = self.key_value(context).chunk(2, -1)
        return self.heads(k), self.heads(v)

    def merge(self, x: Tensor) -> Tensor:
        """Join the heads (B, H, T, W) and mix them: (B, T, H * W)."""
        return self.out(x.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Let x (B, T, D) look at the context (B, M, C)."""
        return self.merge(attend(self.heads(self.query(x)), *self.keys_values(context)))


class _SquaredReLU(torch.autograd.Function):
    """relu(x)^2 with one tensor remembered and two passes back, where autograd takes five."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        h = x.relu()
        ctx.save_for_backward(h)
        return h * h

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (h,) = ctx.saved_tensors
        return (gradient * h).mul_(2.0)


class FeedForward(nn.Module):
    """Two linear layers with a squared ReLU between them (So et al. 2021): good and cheap."""

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, expansion * width, bias=False)
        self.out = nn.Linear(expansion * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(_SquaredReLU.apply(self.hidden(x)))


class RowLayer(nn.Module):
    """Rows exchange what they know through inducing points."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        width = c.encoder_width
        self.inducing = nn.Parameter(torch.randn(c.n_inducing, width))
        self.norms = nn.ModuleList(Norm(width) for _ in range(5))
        self.gather = Attention(width, width, c.head_width)
        self.think = FeedForward(width, c.encoder_expansion)
        self.spread = Attention(width, width, c.head_width)
        self.feed = FeedForward(width, c.encoder_expansion)

    def forward(self, rows: Tensor) -> Tensor:
        """Update rows (B, N, R)."""
        normed = self.norms[0](rows)
        points = self.inducing.expand(rows.shape[0], -1, -1)
        points = points + self.gather(self.norms[1](points), normed)
        points = points + self.think(self.norms[2](points))
        rows = rows + self.spread(normed, self.norms[3](points))
        return rows + self.feed(self.norms[4](rows))


class LatentLayer(nn.Module):
    """Latents look at each other."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        width = c.encoder_width
        self.norms = nn.ModuleList(Norm(width) for _ in range(2))
        self.attention = Attention(width, width, c.head_width)
        self.feed = FeedForward(width, c.encoder_expansion)

    def forward(self, x: Tensor) -> Tensor:
        """Update latents (B, M, E)."""
        normed = self.norms[0](x)
        x = x + self.attention(normed, normed)
        return x + self.feed(self.norms[1](x))


class Hints(nn.Module):
    """What statistics say, as one latent for each column and one for the table."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        width = c.encoder_width
        of_column, of_table = statistics_sizes(c.n_columns)
        self.column = nn.Linear(of_column, width, bias=False)
        self.names = nn.Parameter(torch.randn(c.n_columns, width) * 0.5)
        self.table = nn.Linear(of_table, width)
        self.norms = nn.ModuleList(Norm(width) for _ in range(2))
        self.feed = FeedForward(width, c.encoder_expansion)

    def forward(self, prompt: Prompt) -> Tensor:
        """Hints (B, C + 1, E) of tables of finite numbers."""
        of_columns, of_table = table_statistics(prompt)
        columns = self.column(of_columns) + self.names * prompt.present[..., None]
        hints = self.norms[0](torch.cat((columns, self.table(of_table)[:, None]), 1))
        return self.norms[1](hints + self.feed(hints))  # no larger than latents: they are to mix


class Encoder(nn.Module):
    """From a table to its memory."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        width = c.encoder_width
        self.cell = nn.Linear(_CELL_FEATURES, c.cell_width, bias=False)
        self.row = nn.Linear((c.n_columns + 1) * c.cell_width, width)
        self.row_feed = FeedForward(width, c.encoder_expansion)
        self.row_layers = nn.ModuleList(RowLayer(c) for _ in range(c.row_layers))
        self.latents = nn.Parameter(torch.randn(c.n_latents, width))
        self.norms = nn.ModuleList(Norm(width) for _ in range(3))
        self.pool = Attention(width, width, c.head_width)
        self.hints = Hints(c)
        self.latent_layers = nn.ModuleList(LatentLayer(c) for _ in range(c.latent_layers))
        self.norm = Norm(width)
        byte = (torch.arange(256)[:, None] >> torch.arange(8) & 1).float() * 2.0 - 1.0
        self.register_buffer("bits_of_byte", F.pad(byte, (0, 0, 0, 1)), persistent=False)

    def features(self, prompt: Prompt) -> Tensor:
        """Features of each number (B, N, C + 1, 36): 32 bits as +-1, smooth ones, and a one.

        All zero where the column is absent.
        """
        present = F.pad(prompt.present, (0, 1), value=True)[:, None, :, None]
        value = prompt.rows.contiguous()
        octets = value.view(torch.uint8).unflatten(-1, (-1, 4)).int()
        # Row 256 of the table is zero: the "bits" of a column that is not there.
        bits = F.embedding(octets.masked_fill(~present, 256), self.bits_of_byte)
        smooth = (
            value.clamp(-8.0, 8.0) * 0.5,
            torch.asinh(4.0 * value) * 0.5,
            torch.log(value.abs().clamp(1e-6, 1e6)) * 0.5,
            torch.ones_like(value),
        )
        return torch.cat((bits.flatten(-2), torch.stack(smooth, -1) * present), -1)

    def read_rows(self, features: Tensor) -> Tensor:
        """Rows (B, N, E): every cell is read with the same weights, then mixed by its column.

        Both steps are linear, so their small matrices are multiplied first and the many rows once.
        """
        mix = self.row.weight.unflatten(1, (-1, self.cell.out_features))  # (E, C + 1, cell)
        weight = (mix @ self.cell.weight).flatten(1)
        return F.linear(features.flatten(2), weight.to(features.dtype), self.row.bias)

    def forward(self, prompt: Prompt) -> Tensor:
        """Memory (B, M, E) of tables."""
        finite = torch.nan_to_num(prompt.rows.float(), nan=0.0).clamp(-1e30, 1e30)
        prompt = prompt._replace(rows=finite)
        rows = self.read_rows(self.features(prompt))
        rows = rows + self.row_feed(self.norms[0](rows))
        for layer in self.row_layers:
            rows = layer(rows)
        latents = self.latents.expand(len(rows), -1, -1)
        latents = latents + self.pool(self.norms[1](latents), self.norms[2](rows))
        latents = torch.cat((latents, self.hints(prompt)), 1)
        for layer in self.latent_layers:
            latents = layer(latents)
        return self.norm(latents)


class DecoderLayer(nn.Module):
    """One token layer: look back, look at the memory, think."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.norms = nn.ModuleList(Norm(c.width) for _ in range(3))
        self.attention = Attention(c.width, c.width, c.head_width)
        self.cross = Attention(c.width, c.encoder_width, c.head_width)
        self.feed = FeedForward(c.width, c.expansion)

    def _look_back(self, x: Tensor, angles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of the tokens themselves."""
        normed = self.norms[0](x)
        q = self.attention.heads(self.attention.query(normed))
        k, v = self.attention.keys_values(normed)
        return rotate(q, angles), rotate(k, angles), v

    def forward(self, x: Tensor, memory: Tensor, angles: Tensor) -> Tensor:
        """Update all tokens (B, T, D) at once, each seeing only those before it."""
        x = x + self.attention.merge(attend(*self._look_back(x, angles), causal=True))
        x = x + self.cross(self.norms[1](x), memory)
        return x + self.feed(self.norms[2](x))

    def step(self, x: Tensor, cache: Cache, layer: int, angles: Tensor) -> Tensor:
        """Update the newest token (S, 1, D) and remember its key and value."""
        q, k, v = self._look_back(x, angles)
        k, v = cache.remember(layer, k, v)
        x = x + self.attention.merge(attend(q, k, v))

        q = self.cross.heads(self.cross.query(self.norms[1](x)))  # (S, H, 1, W)
        # All samples are queries of one table, so that nothing of it is copied.
        mixed = attend(q.transpose(0, 2), *cache.memory[layer])
        x = x + self.cross.merge(mixed.transpose(0, 2))
        return x + self.feed(self.norms[2](x))


class Cache:
    """What decoding remembers: keys and values of the memory and of the tokens so far.

    Parameters
    ----------
    memory : list of tuple of Tensor
        For each layer, keys and values (1, H, M, W) of the table.
    most : int
        Most samples at a time.
    max_length : int
        Most tokens of a sample.

    Attributes
    ----------
    length : int
        Tokens read so far.
    """

    def __init__(self, memory: list[tuple[Tensor, Tensor]], most: int, max_length: int) -> None:
        k = memory[0][0]
        self.memory = memory
        self.length = 0
        shape = (len(memory), 2, most, k.shape[1], max_length, k.shape[3])
        self._tokens = torch.empty(shape, dtype=k.dtype, device=k.device)

    def remember(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store the newest key and value (S, H, 1, W); return all so far (S, H, length + 1, W)."""
        stored = self._tokens[layer, :, : len(k)]
        stored[0, :, :, self.length] = k[:, :, 0]
        stored[1, :, :, self.length] = v[:, :, 0]
        upto = stored[:, :, :, : self.length + 1]
        return upto[0], upto[1]

    def keep(self, index: Tensor) -> None:
        """Go on with these samples only.

        Parameters
        ----------
        index : Tensor of int64, shape (S',)
            Positions of the samples to keep; one may occur more than once. Those that stay where
            they are cost nothing.
        """
        moved = (index != torch.arange(len(index), device=index.device)).nonzero()[:, 0]
        used = self._tokens[..., : self.length, :]
        used.index_copy_(2, moved, used.index_select(2, index[moved]))


class Transformer(nn.Module):
    """Encoder and decoder.

    Parameters
    ----------
    config : ModelConfig
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.embedding = nn.Embedding(config.n_tokens, config.width)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.norm = Norm(config.width)
        self.head = nn.Linear(config.width, config.n_tokens, bias=False)
        half = config.head_width // 2
        place = torch.arange(_MAX_POSITIONS, dtype=torch.float32)
        frequency = 100.0 ** (-place[:half] / half)  # formulas are short: slow base 100
        angle = place[:, None] * frequency
        self.register_buffer("angles", torch.stack((angle.cos(), angle.sin())), persistent=False)
        self._initialise()

    @classmethod
    def holding(cls, config: ModelConfig, weights: dict[str, Tensor]) -> Transformer:
        """Make a network for evaluation; torch's random state stays as it is."""
        with _DRAWING, torch.random.fork_rng(devices=[]):
            network = cls(config)
        network.load_state_dict(weights, assign=True)
        return network.eval().requires_grad_(False)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        c = self.config
        branches = 2 * (c.row_layers + c.latent_layers) + 3 * c.decoder_layers
        for module in self.modules():
            if isinstance(module, Attention | FeedForward):
                with torch.no_grad():
                    module.out.weight.mul_(branches**-0.5)
        nn.init.normal_(self.embedding.weight)
        nn.init.normal_(self.head.weight, std=0.02)

    def encode(self, prompt: Prompt) -> Tensor:
        """Read tables: the memory (B, M, E)."""
        return self.encoder(prompt)

    def decode(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Logits (B, T, V) after each of the tokens (B, T), which begin with BOS."""
        angles = self.angles[:, : tokens.shape[1]]
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x, memory, angles)
        return self.head(self.norm(x))

    def forward(self, prompt: Prompt, tokens: Tensor) -> Tensor:
        """Logits (B, T, V) for tables and the tokens before each position (teacher forcing)."""
        return self.decode(self.encode(prompt), tokens)

    def start(self, memory: Tensor, most: int, max_length: int = 64) -> Cache:
        """Prepare step-by-step decoding of samples for one table.

        Parameters
        ----------
        memory : Tensor of shape (1, M, E)
        most : int
            Most samples at a time.
        max_length : int, default=64
            Most tokens that will be read, BOS included; at most 512.
        """
        if memory.shape[0] != 1:
            raise ValueError(f"memory of {memory.shape[0]} tables; samples are of one table.")
        if max_length > _MAX_POSITIONS:
            raise ValueError(f"max_length is {max_length}; at most {_MAX_POSITIONS} is possible.")
        return Cache([layer.cross.keys_values(memory) for layer in self.layers], most, max_length)

    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Read one token of each sample (S,) and return the logits (S, V) of the next."""
        angles = self.angles[:, cache.length : cache.length + 1]
        x = self.embedding(tokens).unsqueeze(1)
        for i, layer in enumerate(self.layers):
            x = layer.step(x, cache, i, angles)
        cache.length += 1
        return self.head(self.norm(x)).squeeze(1)
