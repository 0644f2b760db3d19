"""A decoder-only transformer in NumPy.

Pre-norm blocks (RMS norm, multi-head causal attention, feed-forward with GELU), sinusoidal positions,
float32. `Transformer.forward` serves both prefill and decode: it takes the new tokens and a cache with the keys
and values of all earlier ones.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import frozen

from kitt_engines.model import VOCABULARY, ModelSize

__all__ = ["KeyValueCache", "Transformer"]

Array: TypeAlias = npt.NDArray[np.float32]

_EPSILON: Final = np.float32(1e-6)
_GELU_SCALE: Final = np.float32(math.sqrt(2 / math.pi))
_GELU_CUBIC: Final = np.float32(0.044715)


@frozen(eq=False)
class _Block:
    """The weights of one decoder block; a row vector is multiplied from the left."""

    attention_norm: Array
    query_key_value: Array
    attention_output: Array
    feed_forward_norm: Array
    feed_forward_in: Array
    feed_forward_out: Array


class KeyValueCache:
    """Keys and values of the tokens that one request has processed.

    Args:
        size: The model's size.
        capacity: Most tokens that it can hold.
    """

    def __init__(self, size: ModelSize, capacity: int) -> None:
        shape = (size.layers, size.heads, capacity, size.width // size.heads)
        self.keys: Array = np.zeros(shape, dtype=np.float32)
        self.values: Array = np.zeros(shape, dtype=np.float32)
        self.capacity = capacity
        self.length = 0

    @property
    def nbytes(self) -> int:
        """Size in bytes, filled or not."""
        return self.keys.nbytes + self.values.nbytes


class Transformer:
    """A model with random weights.

    Args:
        size: Its shape.
        seed: Seed of the weights.
    """

    def __init__(self, size: ModelSize, *, seed: int) -> None:
        self.size = size
        random = np.random.default_rng(seed)
        self._embedding = _matrix(random, VOCABULARY, size.width, scale=1.0)
        self._positions = _sinusoids(size.context, size.width)
        self._blocks = tuple(_block(random, size) for _ in range(size.layers))
        self._final_norm = np.ones(size.width, dtype=np.float32)
        # Not tied to the embedding: with random weights a tied one would repeat the last token forever.
        self._output = _matrix(random, size.width, VOCABULARY, scale=2 / math.sqrt(size.width))

    @property
    def parameters(self) -> int:
        """Number of weights; the computed table of positions does not count."""
        return sum(weights.size for weights in self._weights())

    @property
    def nbytes(self) -> int:
        """Size of the weights in bytes."""
        return sum(weights.nbytes for weights in self._weights())

    def forward(self, tokens: npt.ArrayLike, cache: KeyValueCache) -> Array:
        """Run new tokens through the model and add their keys and values to the cache.

        Args:
            tokens: The tokens that follow those in the cache: a block of the prompt, or the one just generated.
            cache: The keys and values of the earlier tokens.

        Returns:
            The logits of the successor of each new token.

        Raises:
            ValueError: The cache is too small.
        """
        ids = np.asarray(tokens, dtype=np.intp)
        start, end = cache.length, cache.length + len(ids)
        if end > cache.capacity:
            raise ValueError(f"{end} tokens do not fit into a cache of {cache.capacity}")
        state = self._embedding[ids] + self._positions[start:end]
        for layer, block in enumerate(self._blocks):
            state = state + self._attention(layer, block, _normalised(state, block.attention_norm), cache)
            hidden = _normalised(state, block.feed_forward_norm) @ block.feed_forward_in
            state = state + _gelu(hidden) @ block.feed_forward_out
        cache.length = end
        logits: Array = _normalised(state, self._final_norm) @ self._output
        return logits

    def _attention(self, layer: int, block: _Block, state: Array, cache: KeyValueCache) -> Array:
        count, width = state.shape
        heads, start = self.size.heads, cache.length
        end = start + count
        projected = (state @ block.query_key_value).reshape(count, 3, heads, width // heads)
        query: Array = projected[:, 0].transpose(1, 0, 2)
        cache.keys[layer, :, start:end] = projected[:, 1].transpose(1, 0, 2)
        cache.values[layer, :, start:end] = projected[:, 2].transpose(1, 0, 2)
        scores: Array = query @ cache.keys[layer, :, :end].transpose(0, 2, 1)
        scores *= np.float32(1 / math.sqrt(width // heads))
        if count > 1:
            ahead = np.arange(end)[None, :] > np.arange(start, end)[:, None]
            scores[:, ahead] = -np.inf
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed: Array = (scores @ cache.values[layer, :, :end]).transpose(1, 0, 2).reshape(count, width)
        output: Array = mixed @ block.attention_output
        return output

    def _weights(self) -> list[Array]:
        of_blocks = [
            weights
            for block in self._blocks
            for weights in (
                block.attention_norm,
                block.query_key_value,
                block.attention_output,
                block.feed_forward_norm,
                block.feed_forward_in,
                block.feed_forward_out,
            )
        ]
        return [self._embedding, *of_blocks, self._final_norm, self._output]


def _block(random: np.random.Generator, size: ModelSize) -> _Block:
    width, hidden = size.width, size.hidden
    # As in GPT-2: scaled by depth, so that the residual stream keeps its magnitude.
    residual = 1 / math.sqrt(2 * size.layers)
    return _Block(
        attention_norm=np.ones(width, dtype=np.float32),
        query_key_value=_matrix(random, width, 3 * width, scale=1 / math.sqrt(width)),
        attention_output=_matrix(random, width, width, scale=residual / math.sqrt(width)),
        feed_forward_norm=np.ones(width, dtype=np.float32),
        feed_forward_in=_matrix(random, width, hidden, scale=1 / math.sqrt(width)),
        feed_forward_out=_matrix(random, hidden, width, scale=residual / math.sqrt(hidden)),
    )


def _matrix(random: np.random.Generator, rows: int, columns: int, *, scale: float) -> Array:
    return random.standard_normal((rows, columns), dtype=np.float32) * np.float32(scale)


def _sinusoids(context: int, width: int) -> Array:
    rates = np.exp(np.arange(0, width, 2) * (-math.log(10000.0) / width))
    angles = np.arange(context)[:, None] * rates[None, :]
    table = np.empty((context, width), dtype=np.float32)
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles)
    return table


def _normalised(state: Array, weight: Array) -> Array:
    mean_square = np.einsum("tw,tw->t", state, state)[:, None] / np.float32(state.shape[-1])
    normalised: Array = state / np.sqrt(mean_square + _EPSILON) * weight
    return normalised


def _gelu(state: Array) -> Array:
    inner = _GELU_SCALE * (state + _GELU_CUBIC * state * state * state)
    activated: Array = np.float32(0.5) * state * (1 + np.tanh(inner))
    return activated
