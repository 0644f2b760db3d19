"""What this distribution registers. NumPy is imported when the engine is opened."""

from __future__ import annotations

from attrs import field, frozen, validators

from kitt_core.engine import Engine, EngineSession
from kitt_core.hookspecs import hookimpl
from kitt_core.registry import Registry

__all__ = ["ReferenceOptions", "kitt_register_engine"]


@frozen
class ReferenceOptions:
    """Options of the engine ``reference``.

    Attributes:
        model: The size.
        seed: Seed of the random weights.
        threads: Threads of one matrix product.
    """

    model: str = field(default="tiny", metadata={"help": "Size of the model: tiny, mini or small."})
    seed: int = field(default=0, validator=validators.ge(0), metadata={"help": "Seed of the random weights."})
    threads: int = field(
        default=1,
        validator=validators.ge(1),
        metadata={"help": "Threads of one matrix product; 1 is the steadiest."},
    )


async def _open_reference(options: ReferenceOptions) -> EngineSession:
    from kitt_engines.sizes import size_named

    size = size_named(options.model)
    from kitt_engines.reference import ReferenceSession

    return ReferenceSession(size, seed=options.seed, threads=options.threads)


@hookimpl
def kitt_register_engine(registry: Registry[Engine]) -> None:
    """Register the engine ``reference``."""
    registry.add(
        Engine(
            name="reference",
            open=_open_reference,
            options=ReferenceOptions,
            summary="A small transformer in NumPy with random weights; needs no model and no network.",
        )
    )
