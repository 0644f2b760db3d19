"""Engines: what generates tokens for ``kitt run``.

An engine plugin registers an `Engine` record. Opening it returns an `EngineSession`, which streams the answers to
requests; everything that is measured (time to first token, gaps, percentiles) is measured by
`kitt_core.benchmarking`, so that all engines are measured in the same way.
"""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

from kitt_core.options import attrs_class

__all__ = ["ENGINE_API_VERSION", "Chunk", "Engine", "EngineSession", "GenerationRequest", "Usage"]

ENGINE_API_VERSION: Final = 1
"""The version of this module's contract; a record that needs a newer one is refused."""


@frozen
class GenerationRequest:
    """One prompt to be completed.

    Attributes:
        prompt: The text to complete.
        max_tokens: Stop after this many output tokens.
        ignore_eos: Always generate ``max_tokens`` tokens, so that runs are comparable.
        seed: For engines that sample; equal seeds give equal output if the engine supports that.
    """

    prompt: str
    max_tokens: int
    ignore_eos: bool = True
    seed: int | None = None


@frozen
class Usage:
    """How many tokens a request took, and who counted them.

    Attributes:
        prompt_tokens: Input tokens; None if they were not counted.
        completion_tokens: Output tokens, those of the reasoning included.
        source: ``engine`` (counted where they were generated), ``server_usage``, ``server_timings`` (a server's
            statistics, as llama.cpp sends them) or ``client_tokenizer``.
        reasoning_tokens: How many of the output tokens are reasoning; None if that is unknown.
    """

    prompt_tokens: int | None
    completion_tokens: int
    source: str = "engine"
    reasoning_tokens: int | None = None


@frozen
class Chunk:
    """A piece of a streamed answer.

    Attributes:
        text: The new text; may be empty in the last chunk.
        tokens: How many output tokens it contains, 0 if the engine doesn't know.
        usage: The count for the whole request; in the last chunk, if the engine reports one.
        reasoning: Whether all of the text is reasoning, which comes before the answer itself.
        own_time: Whether it arrived at a time of its own. False if one read delivered it together with the chunk
            before it, so that the gap between the two says nothing about the engine.
        retries: How often the request had to be sent again before it was answered; in any of the chunks.
    """

    text: str
    tokens: int = 0
    usage: Usage | None = None
    reasoning: bool = False
    own_time: bool = True
    retries: int = 0


class EngineSession(abc.ABC):
    """An engine with its model loaded or its server found.

    Attributes:
        model: The model's name, as the document will have it.
        concurrent: Whether requests may overlap.
        remote: Whether tokens are generated in another process or on another machine, so that this process spends
            its CPU time on generating load only.
        inference_engine: What really generates the tokens, such as ``vllm``, if the plugin only talks to it and
            can tell; it becomes the run's ``engine``. None stands for the plugin's own name.
    """

    model: str
    concurrent: bool = False
    remote: bool = False
    inference_engine: str | None = None

    @abc.abstractmethod
    def stream(self, request: GenerationRequest) -> AsyncIterator[Chunk]:
        """Answer ``request`` chunk by chunk, yielding each as soon as it arrives.

        Raises:
            EngineError: The request failed; the benchmark records it as a failed request.
            EngineLostError: Every further request would fail too; the run ends with what it has measured.
        """

    def memory_gb(self) -> Mapping[str, float]:
        """Return the current memory use in GB by metric name, empty if it can't be measured."""
        return {}

    def describe(self) -> Mapping[str, Any]:
        """Return what identifies the engine (version, size, dtype), for the document's ``engine_info``."""
        return {}

    def notices(self) -> Sequence[str]:
        """Return what happened since the last call that affects how the figures are to be read, one line each.

        Empty by default. Called after each benchmark; the lines go into the entry's ``warnings``: requests that
        were sent again, fields that the server did not know.
        """
        return ()

    async def aclose(self) -> None:
        """Release what the session holds; may be called twice."""


@frozen
class Engine:
    """The record that an engine plugin registers.

    Attributes:
        name: What the user types after ``-e``; equal to the entry point's name.
        open: Opens a session with an options object; imports heavy modules only now. Raises `EngineError` if the
            server can't be reached or the model isn't available.
        options: An attrs class; fields ``model`` and ``base_url`` are filled from ``-m`` and ``--base-url``.
        summary: One line for listings.
        api_version: The `ENGINE_API_VERSION` that it was written for.
    """

    name: str
    open: Callable[[Any], Awaitable[EngineSession]] = field(repr=False)
    options: type[Any] = field(validator=attrs_class)
    summary: str = ""
    api_version: int = 1
