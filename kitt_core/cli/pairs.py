"""Options of the form KEY=VALUE that may be given several times."""

from __future__ import annotations

from collections.abc import Sequence

import click

__all__ = ["as_pairs"]


def as_pairs(ctx: click.Context, parameter: click.Parameter, texts: Sequence[str]) -> dict[str, str]:
    """Return the pairs that were given; a click callback.

    Raises:
        BadParameter: A text has no ``=``, or a key stands twice with different values.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", ctx, parameter)
        if pairs.setdefault(key, value) != value:
            raise click.BadParameter(f"{key} is given twice, as {pairs[key]!r} and as {value!r}", ctx, parameter)
    return pairs
