"""The options of a backend or an engine, described by one attrs class.

The class is the only description: ``-O key=value``, environment variables, configuration files, ``kitt plugins
show`` and the redaction of secrets are all derived from its fields and their metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin

import attrs
from attrs import frozen

from kitt_core.errors import ConfigurationError
from kitt_core.redaction import REDACTED, shown_value
from kitt_core.runs.query import nearest

__all__ = [
    "Option",
    "attrs_class",
    "build_options",
    "describe_options",
    "home_expanded",
    "not_empty",
    "target_option",
]

T = TypeVar("T")

_TRUE: Final = {"true", "yes", "on", "1"}
_FALSE: Final = {"false", "no", "off", "0"}


@frozen
class Option:
    """One option, as its field describes it.

    Attributes:
        name: The field's name.
        type: The field's type.
        default: Its default, None if there is none or it is computed.
        help: One line.
        env: The environment variable that sets it.
        secret: Whether its value must never be shown.
        target: ``path`` or ``uri`` if the option takes the target, or part of it.
    """

    name: str
    type: Any
    default: Any
    help: str = ""
    env: str | None = None
    secret: bool = False
    target: str | None = None

    @property
    def type_name(self) -> str:
        """The type of its values, in words."""
        return _type_name(self.type)

    def hides(self, value: object) -> bool:
        """Whether ``value`` must not be shown at all."""
        if value is None or self.secret:
            return value is not None
        # A connection is a URI or key=value text. A bare word in its place may be just the password.
        return (
            self.target == "uri" and str(value).strip() != "" and "=" not in str(value) and "://" not in str(value)
        )

    def shown(self, value: object) -> str:
        """Return ``value`` as it may be shown."""
        return REDACTED if self.hides(value) else shown_value(str(value))


def describe_options(options: type[Any]) -> list[Option]:
    """Return the options that the attrs class describes, in order of definition."""
    attrs.resolve_types(options)
    return [
        Option(
            name=field.name,
            type=field.type,
            default=field.default if _is_plain(field.default) else None,
            **{key: value for key, value in field.metadata.items() if key in {"help", "env", "secret", "target"}},
        )
        for field in attrs.fields(options)
    ]


def _is_plain(default: object) -> bool:
    return default is not attrs.NOTHING and type(default).__name__ != "Factory"


def attrs_class(instance: object, _attribute: object, value: type[Any]) -> None:
    """Refuse a record whose ``options`` is not an attrs class; an attrs validator."""
    if not (isinstance(value, type) and attrs.has(value)):
        raise TypeError(f"options of {instance.name!r} are {value!r}, expected an attrs class")  # type: ignore[attr-defined]  # every record has a name


def target_option(options: type[Any]) -> Option | None:
    """Return the option that takes the target's path or URI, None if there is none."""
    return next((option for option in describe_options(options) if option.target), None)


def not_empty(value: T, what: str, *, cure: str = "leave it out") -> T:
    """Return ``value`` unless it is text without content, as it is where a script's variable was never set.

    The one rule for all that users set: an empty value is not the same as none. Taken for none, it would lead to
    another store than the one that was meant; taken for a path, to the current directory.

    Args:
        value: Any value.
        what: Who gave it: an option, an environment variable, a key of a file.
        cure: What to do if no value is wanted.

    Raises:
        ConfigurationError: It is empty.
    """
    if isinstance(value, str) and not value.strip():
        raise ConfigurationError(
            f"{what} is empty, expected a value",
            hint=f"give it a value, or {cure}; is a shell variable not set?",
        )
    return value


def build_options(options: type[Any], values: Mapping[str, Any], owner: str, *, flag: str = "-O") -> Any:
    """Return an ``options`` object with the ``values``, strings converted to the fields' types.

    Args:
        options: The attrs class.
        values: By option name; strings (from flags and the environment) or typed values (from files and code).
        owner: What messages call the owner of the options, such as ``backend sqlite``.
        flag: The flag that sets one of them.

    Raises:
        ConfigurationError: An option is unknown, missing, empty or of the wrong type.
    """
    known = {option.name: option for option in describe_options(options)}
    for name in values:
        if name not in known:
            raise ConfigurationError(
                f"{owner} has no option {name!r}", hint=nearest(name, known) or f"{owner} has no options"
            )
    arguments = {name: _converted(known[name], value, owner) for name, value in values.items()}
    for field in attrs.fields(options):
        if field.default is attrs.NOTHING and field.name not in arguments:
            hint = f"give {flag} {field.name}=…" + (f" or set {env}" if (env := known[field.name].env) else "")
            raise ConfigurationError(f"{owner} needs the option {field.name}", hint=hint)
    try:
        return options(**arguments)
    except ValueError as error:
        raise ConfigurationError(f"{owner}: {error}") from error


def _converted(option: Option, value: Any, owner: str) -> Any:
    not_empty(value, f"option {option.name} of {owner}")
    try:
        return _structured(value, option.type)
    except Exception as error:  # cattrs raises what the field's type raises
        raise ConfigurationError(
            f"option {option.name} of {owner} is {option.shown(repr(value))}, expected {option.type_name}"
        ) from error


def _structured(value: Any, kind: Any) -> Any:
    if kind in _PLAIN:
        return _PLAIN[kind](value)
    if get_origin(kind) in {Union, UnionType} and type(None) in get_args(kind):
        kinds = [part for part in get_args(kind) if part is not type(None)]
        if value is None or len(kinds) == 1:
            return None if value is None else _structured(value, kinds[0])
    return _converter().structure(value, kind)


@cache
def _converter() -> Any:
    import cattrs  # importing it takes three times as long as starting Python, and few options need it

    converter = cattrs.Converter()
    for kind, convert in _PLAIN.items():
        converter.register_structure_hook(kind, _as_hook(convert))
    return converter


def _as_hook(convert: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda value, _: convert(value)


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise ValueError(value)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError(value)
    return int(value)


def _real(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError(value)
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _path(value: Any) -> Path:
    return home_expanded(value)


def home_expanded(value: str | Path) -> Path:
    """Return a path, with ``~`` expanded only if the text begins with it: ``./~`` is a directory of that name.

    Raises:
        RuntimeError: There is no such home directory.
    """
    path = Path(value)  # which drops a leading "./"
    return path.expanduser() if str(value).startswith("~") else path


_PLAIN: Final[dict[Any, Callable[[Any], Any]]] = {
    bool: _bool,
    int: _whole,
    float: _real,
    str: _text,
    Path: _path,
}


def _type_name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    choices = [part for part in get_args(kind) if part is not type(None)]
    if choices:
        return " or ".join(map(_type_name, choices))
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
    return names.get(kind, getattr(kind, "__name__", str(kind)))
