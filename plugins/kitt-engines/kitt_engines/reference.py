"""The session of the engine ``reference``: prefill, decode, stream."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import AsyncIterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from threadpoolctl import threadpool_limits

from kitt_core.engine import Chunk, EngineSession, GenerationRequest, Usage
from kitt_core.errors import EngineError
from kitt_engines.model import BEGIN, END, VOCABULARY, ModelSize, decode, encode
from kitt_engines.transformer import Array, KeyValueCache, Transformer

__all__ = ["ReferenceSession"]

_PREFILL_BLOCK: Final = 512
"""Prompt tokens per pass: the attention scores of a whole long prompt would not fit into memory."""
_GB: Final = 1e9


class ReferenceSession(EngineSession):
    """A transformer in this process.

    Args:
        size: The model's size.
        seed: Seed of its weights.
        threads: Threads per matrix product while the session is open. With more threads than idle cores, the small
            products of a decode step wait for each other.
    """

    concurrent = False

    def __init__(self, size: ModelSize, *, seed: int = 0, threads: int = 1) -> None:
        self.model = size.name
        self._size = size
        self._seed = seed
        self._transformer = Transformer(size, seed=seed)
        self._cache_bytes = 0
        self._threads = threads
        self._limit = threadpool_limits(limits=threads, user_api="blas")

    async def stream(self, request: GenerationRequest) -> AsyncIterator[Chunk]:
        """Yield one chunk per token; the last one carries the usage.

        With a seed, tokens are sampled, and equal seeds give equal answers; without one, the likeliest token wins.

        Raises:
            EngineError: Prompt and answer don't fit into the context.
        """
        prompt = encode(request.prompt)
        needed = len(prompt) + request.max_tokens
        if needed > self._size.context:
            raise EngineError(
                f"model {self.model} has a context of {self._size.context} tokens; prompt and answer need {needed}"
            )
        cache = KeyValueCache(self._size, needed)
        self._cache_bytes += cache.nbytes
        try:
            logits = await self._prefill(prompt, cache)
            random = None if request.seed is None else np.random.default_rng(request.seed)
            for count in range(1, request.max_tokens + 1):
                token = _choose(logits, random, may_end=not request.ignore_eos)
                ended = token == END
                last = ended or count == request.max_tokens
                generated = count - 1 if ended else count
                yield Chunk(
                    text="" if ended else decode(token),
                    tokens=0 if ended else 1,
                    usage=Usage(len(prompt), generated) if last else None,
                )
                if last:
                    return
                # Lets other tasks of the event loop run between two tokens.
                await asyncio.sleep(0)
                logits = self._transformer.forward([token], cache)[-1]
        finally:
            self._cache_bytes -= cache.nbytes

    def memory_gb(self) -> Mapping[str, float]:
        """Return the size of the weights, the running requests' caches and this process, in GB (10^9 bytes)."""
        figures = {
            "weights_gb": self._transformer.nbytes / _GB,
            "kv_cache_gb": self._cache_bytes / _GB,
        }
        resident = _resident_bytes()
        if resident is not None:
            figures["host_memory_gb"] = resident / _GB
        return figures

    def describe(self) -> Mapping[str, Any]:
        """Return everything that the engine's speed depends on."""
        return {
            "name": "reference",
            "version": version("kitt-engines"),
            "parameters": self._transformer.parameters,
            "layers": self._size.layers,
            "width": self._size.width,
            "heads": self._size.heads,
            "context": self._size.context,
            "dtype": "float32",
            "seed": self._seed,
            "threads": self._threads,
            "numpy_version": np.__version__,
            "python_version": platform.python_version(),
        }

    async def aclose(self) -> None:
        """Restore the process-wide thread limit."""
        self._limit.restore_original_limits()

    async def _prefill(self, prompt: list[int], cache: KeyValueCache) -> Array:
        logits = np.empty((0, VOCABULARY), dtype=np.float32)
        for start in range(0, len(prompt), _PREFILL_BLOCK):
            logits = self._transformer.forward(prompt[start : start + _PREFILL_BLOCK], cache)
            await asyncio.sleep(0)
        last: Array = logits[-1]
        return last


def _choose(logits: Array, random: np.random.Generator | None, *, may_end: bool) -> int:
    """Return the next token: a byte, or `END` if ``may_end``."""
    allowed = logits.copy()
    allowed[BEGIN] = -np.inf
    if not may_end:
        allowed[END] = -np.inf
    if random is not None:
        # The Gumbel-max trick: the argmax of logits plus Gumbel noise is a sample of the softmax.
        allowed += random.gumbel(size=allowed.shape).astype(np.float32)
    return int(allowed.argmax())


_STATM: Final = Path("/proc/self/statm")


def _resident_bytes() -> int | None:
    """Return the resident set of this process in bytes; None where there is no ``/proc``."""
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
