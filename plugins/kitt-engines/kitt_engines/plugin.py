"""The plugin: registers the engines. NumPy and aiohttp are imported only when their engine is opened."""

from __future__ import annotations

from attrs import field, frozen, validators

from kitt_core.engine import Engine, EngineSession
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import Registry
from kitt_engines.openai.options import OpenAIOptions

__all__ = ["OpenAIOptions", "ReferenceOptions", "kitt_register_engine"]


@frozen
class ReferenceOptions:
    """Options of the engine ``reference``.

    Attributes:
        model: The model's size.
        seed: Seed of the random weights.
        threads: Threads that a matrix product uses.
    """

    model: str = field(default="tiny", metadata={"help": "Size of the model: tiny, mini or small."})
    seed: int = field(default=0, validator=validators.ge(0), metadata={"help": "Seed of the random weights."})
    threads: int = field(
        default=1,
        validator=validators.ge(1),
        metadata={"help": "Threads per matrix product; 1 gives the steadiest figures."},
    )


async def _open_reference(options: ReferenceOptions) -> EngineSession:
    from kitt_engines.model import size_named

    size = size_named(options.model)
    from kitt_engines.reference import ReferenceSession

    return ReferenceSession(size, seed=options.seed, threads=options.threads)


async def _open_openai(options: OpenAIOptions) -> EngineSession:
    from kitt_engines.openai.discovery import open_session

    return await open_session(options)


@hookimpl
def kitt_register_engine(registry: Registry[Engine]) -> None:
    """Register the engines ``reference`` and ``openai``."""
    registry.add(
        Engine(
            name="reference",
            open=_open_reference,
            options=ReferenceOptions,
            summary="A small transformer in NumPy with random weights; needs no model and no network.",
        )
    )
    registry.add(
        Engine(
            name="openai",
            open=_open_openai,
            options=OpenAIOptions,
            summary="Any OpenAI-compatible server: vLLM, SGLang, TGI, llama.cpp, Ollama, LM Studio and others.",
        )
    )
