"""Options that select runs, the same for every command."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from kitt_core.cli.invocation import State
from kitt_core.errors import InvalidQueryError
from kitt_core.redaction import shown_value
from kitt_core.runs.grouping import GROUP_FIELDS, STATISTICS
from kitt_core.runs.query import ORDER_FIELDS, RunFilter

if TYPE_CHECKING:
    from kitt_core.storage.contract import ResultStore

__all__ = [
    "as_pairs",
    "comma_separated",
    "filter_options",
    "group_fields",
    "group_help",
    "note_unknown_metrics",
    "number_or_all",
    "order_help",
    "statistics_help",
]


def as_pairs(ctx: click.Context, parameter: click.Parameter, texts: Sequence[str]) -> dict[str, str]:
    """Return the pairs that were given; a click callback.

    Raises:
        BadParameter: A text has no ``=``, a key has an empty value, or is given twice with different values.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{shown_value(text)!r} is not KEY=VALUE", ctx, parameter)
        if not value:  # an unset shell variable
            raise click.BadParameter(f"{key} is empty, expected {key}=VALUE", ctx, parameter)
        if pairs.setdefault(key, value) != value:
            raise click.BadParameter(f"{key} is given twice, with different values", ctx, parameter)
    return pairs


R = TypeVar("R")

_MOST_DIGITS: Final = 18
_MOST_SHOWN: Final = 40
_PART: Final = re.compile(r'\s*(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<bare>[^,]*?))\s*(?:,|\Z)')
_ANY: Final = "Repeat it to allow several; * matches anything."

group_help: Final = f"Fields: {', '.join(GROUP_FIELDS)}, label:KEY."
order_help: Final = f"{', '.join(ORDER_FIELDS)} or metric:NAME; a leading - sorts in descending order."
statistics_help: Final = f"Statistics: {', '.join(STATISTICS)}."


def _labels(ctx: click.Context, parameter: click.Parameter, texts: Sequence[str]) -> dict[str, list[str]] | None:
    labels: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", ctx, parameter)
        labels.setdefault(key, []).append(value)
    return labels or None


def _time(ctx: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    try:
        RunFilter(since=text)
    except InvalidQueryError as error:
        raise click.BadParameter(
            f"{text!r}, expected an ISO 8601 date or time such as 2025-01-31 or 2025-01-31T12:00:00Z",
            ctx,
            parameter,
        ) from error
    return text


_OPTIONS: Final = (
    click.option("--model", metavar="TEXT", multiple=True, help=f"Only runs of this model. {_ANY}"),
    click.option("--engine", metavar="TEXT", multiple=True, help=f"Only runs of this engine. {_ANY}"),
    click.option("--suite", "suite_name", metavar="TEXT", multiple=True, help=f"Only runs of this suite. {_ANY}"),
    click.option("--passed/--failed", default=None, help="Only runs that passed, or only those that failed."),
    click.option(
        "--since",
        metavar="TIME",
        callback=_time,
        help="Only runs that began at or after this ISO 8601 date or time, in UTC unless it has an offset.",
    ),
    click.option(
        "--until", metavar="TIME", callback=_time, help="Only runs that began before this ISO 8601 date or time."
    ),
    click.option(
        "--where",
        metavar="CONDITION",
        multiple=True,
        help="A metric's condition, 'avg_tps>40' or 'throughput/avg_tps>=40'; if repeated, all must hold.",
    ),
    click.option(
        "--label",
        "labels",
        metavar="KEY=VALUE",
        multiple=True,
        callback=_labels,
        help="Only runs with this label; several labels must all match, values of one label are alternatives.",
    ),
    click.option(
        "--search",
        metavar="TEXT",
        help="Only runs with this text in the model, engine, suite, GPU or fingerprint.",
    ),
)
_NAMES: Final = ("model", "engine", "suite_name", "passed", "since", "until", "where", "labels", "search")


def filter_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add the options to a command, which receives them as one `RunFilter`, ``filters``.

    Raises:
        InvalidQueryError: When the command is called and a value can't be read.
    """

    @functools.wraps(command)
    def with_filters(*arguments: Any, **values: Any) -> R:
        given: dict[str, Any] = {name: values.pop(name) for name in _NAMES}
        given["metrics"] = given.pop("where")
        filters = RunFilter(**{name: None if value == () else value for name, value in given.items()})
        return command(*arguments, filters=filters, **values)

    for option in reversed(_OPTIONS):
        with_filters = option(with_filters)
    return with_filters


def note_unknown_metrics(state: State, store: ResultStore, filters: RunFilter, *names: str) -> None:
    """Name on stderr those metrics of the filters and of ``names`` that no stored run has; for empty answers."""
    from kitt_core.service.unknown_metrics import unknown_metrics

    for sentence in unknown_metrics(store, [*(condition.name for condition in filters.metrics or ()), *names]):
        state.note(sentence)


def comma_separated(ctx: click.Context, parameter: click.Parameter, texts: Sequence[str]) -> list[str]:
    """Return the names of an option that is repeated, or given once with commas; for ``callback``.

    A name in double quotes may contain commas; a double quote in it is doubled.
    """
    parts = [part for text in texts for part in _parts(text)]
    if any(part["bare"] == "" for part in parts):  # an unset shell variable
        raise click.BadParameter(
            "one of the names is empty, expected names with commas between them", ctx, parameter
        )
    names = (part["bare"] if part["quoted"] is None else part["quoted"].replace('""', '"') for part in parts)
    return list(dict.fromkeys(names))


def group_fields(ctx: click.Context, parameter: click.Parameter, texts: Sequence[str]) -> list[str]:
    """Return the fields to group by, as `comma_separated` reads them; for ``callback``."""
    names = comma_separated(ctx, parameter, texts)
    if "label:" in names:  # an unset shell variable again: a store could have such a label
        raise click.BadParameter("'label:' has no key, expected label:KEY", ctx, parameter)
    return names


def _parts(text: str) -> Iterator[re.Match[str]]:
    position = 0
    while part := _PART.match(text, position):
        yield part
        position = part.end()
        if position == len(text) and not part[0].endswith(","):
            return


def number_or_all(what: str) -> Callable[[click.Context, click.Parameter, str], int | None]:
    """Return a callback that reads a number of ``what``, and None from the word ``all``."""

    def read(ctx: click.Context, parameter: click.Parameter, text: str) -> int | None:
        if text == "all":
            return None
        # Stores count in 64 bits, and Python does not parse numbers with thousands of digits.
        if not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS or int(text) == 0:
            shown = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
            wanted = f"expected a number of {what} from 1, or the word all"
            raise click.BadParameter(f"{shown!r}, {wanted}", ctx, parameter)
        return int(text)

    return read
