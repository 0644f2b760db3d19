"""The sizes in which the reference model comes."""

from __future__ import annotations

import difflib
from typing import Final

from attrs import frozen

from kitt_core.errors import ConfigurationError

__all__ = ["SIZES", "ModelSize", "size_named"]


@frozen
class ModelSize:
    """The shape of a transformer.

    Attributes:
        name: What the user types after ``-m``.
        layers: Decoder blocks.
        width: Length of a token's vector.
        heads: Attention heads; divides ``width``.
        context: Tokens, of prompt and answer together, that fit.
    """

    name: str
    layers: int
    width: int
    heads: int
    context: int = 4096

    @property
    def hidden(self) -> int:
        """Width of the feed-forward network."""
        return 4 * self.width


SIZES: Final[tuple[ModelSize, ...]] = (
    ModelSize("tiny", layers=4, width=256, heads=4),
    ModelSize("mini", layers=6, width=384, heads=6),
    ModelSize("small", layers=12, width=768, heads=12),
)


def size_named(name: str) -> ModelSize:
    """Return the size of that name.

    Raises:
        ConfigurationError: There is none; the message names the nearest and all that there are.
    """
    for size in SIZES:
        if size.name == name:
            return size
    names = [size.name for size in SIZES]
    nearest = difflib.get_close_matches(name, names, n=1)
    raise ConfigurationError(
        f"engine reference has no model {name[:60]!r}; there are: {', '.join(names)}",
        hint=f"did you mean {nearest[0]}?" if nearest else "name one of them with -m",
    )
