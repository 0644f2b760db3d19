"""A secret that is given anywhere, in any spelling, is in nothing that KITT prints, logs or writes."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from kitt_core.cli.app import main
from kitt_core.redaction import shown_value

SECRET = "SeCr3tXq"
_ODD = ("", "/", "?", "#", "@", ":", "%", "&", "=", "'", " ", "\t", "\n", "\r\n", "\x1b", "\x85", "\u2028")
_PLACE = "127.0.0.1:9/db"
_SPELLINGS = (
    "postgresql://u:{}@" + _PLACE,
    "postgresql://{}@" + _PLACE,
    "postgresql://:{}@" + _PLACE,
    "postgresql://u:{}",
    "postgresql:u:{}@" + _PLACE,
    "postgresql:/u:{}@" + _PLACE,
    "post\ngresql://u:{}@" + _PLACE,
    "u:{}@" + _PLACE,
    "~u:{}@" + _PLACE,
    "postgresql://127.0.0.1:9/db?user=u&password={}&x=1",
    "host=127.0.0.1 port=9 password={} dbname=d",
    "host=127.0.0.1 port=9 password='{}' dbname=d",
    "sqlite:///x.db?password={}",
    "sqlite://u:{}@host/x.db",
    "nosuch://u:{}@host/x.db",
)
_OTHERS = [text for number, text in enumerate(_SPELLINGS) if number not in (0, 10)]
_COMMANDS = (["storage", "list"], ["config", "show"], ["storage", "copy", "--to", "memory:"])


def _passwords() -> list[str]:
    return [f"{before}{odd}{after}" for odd in _ODD for before, after in (("p", SECRET), (SECRET, "p"))]


def _is_somewhere_else(spelling: str, password: str) -> bool:
    """Whether the secret is by chance the host, or the name of a user."""
    return ("@" in password and "@" not in spelling) or (":" in password and "://{}" in spelling)


def _nothing_holds_it(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    out, err = capsys.readouterr()
    assert SECRET not in out
    assert SECRET not in err
    assert SECRET not in caplog.text
    written = [path for path in Path.cwd().parent.rglob("*") if path.is_file() and path.name != "kitt.toml"]
    assert [path for path in written if SECRET.encode() in path.read_bytes() or SECRET in path.name] == []


@pytest.mark.parametrize("spelling", _SPELLINGS)
def test_no_spelling_shows_it(spelling: str) -> None:
    for password in _passwords():
        if _is_somewhere_else(spelling, password):
            continue
        shown = shown_value(spelling.format(password))
        assert SECRET not in shown, (spelling, password)


@pytest.mark.parametrize(
    "source", ["flag", "KITT_BACKEND", "KITT_DB_DSN", "file", "option", "option's file", "word"]
)
@pytest.mark.parametrize(
    "spelling",
    [_SPELLINGS[0], _SPELLINGS[10], *(pytest.param(text, marks=pytest.mark.long) for text in _OTHERS)],
)
def test_no_command_shows_it(
    source: str,
    spelling: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("KITT_DEBUG", "1")
    for command, odd in product(_COMMANDS, ("\t", "\n@/")):
        target = spelling.format(f"p{odd}{SECRET}")
        if _is_somewhere_else(spelling, f"p{odd}{SECRET}"):
            continue
        arguments = ["-vv", *command]
        quoted = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in target)
        if source == "flag":
            arguments[:0] = ["--backend", target]
        elif source == "option":
            arguments[:0] = ["--backend", "postgres", "-O", f"dsn={target}"]
        elif source == "word":
            arguments.append(target)
        elif source == "file":
            Path("kitt.toml").write_text(f'backend = "{quoted}"', encoding="utf-8")
        elif source == "option's file":
            text = f'backend = "postgres"\n[backends.postgres]\ndsn = "{quoted}"'
            Path("kitt.toml").write_text(text, encoding="utf-8")
        else:
            monkeypatch.setenv(source, target)
        main(arguments)
        _nothing_holds_it(capsys, caplog)


@pytest.mark.parametrize("variable", ["KITT_BACKEND", "KITT_DB_DSN", "KITT_RUN_BASE_URL", "OPENAI_API_KEY"])
def test_neither_does_the_doctor(
    variable: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("KITT_RUN_ENGINE", "openai")
    for odd in ("\t", "\n", ""):
        password = f"p{odd}{SECRET}"
        monkeypatch.setenv(variable, password if "KEY" in variable else f"postgresql://u:{password}@{_PLACE}")
        main(["-vv", "doctor"])
        _nothing_holds_it(capsys, caplog)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-O", f"postgresql://u:{SECRET}@h/db", "storage", "list"],
        ["-O", f"dsn=postgresql://u:{SECRET}@h", "-O", f"dsn=postgresql://u:{SECRET}x@h", "storage", "list"],
        ["storage", "list", "--model", f"http://u:{SECRET}@h", f"http://u:{SECRET}@h"],
        ["storage", f"postgresql://u:{SECRET}@h/db"],
        ["compare", f"postgresql://u:{SECRET}@h/db", "x"],
        ["--config", f"postgresql://u:{SECRET}@h/db", "storage", "list"],
        ["run", "-e", f"http://u:{SECRET}@h"],
        ["run", "-e", "openai", "--base-url", f"http://u:{SECRET}@127.0.0.1:9/v1"],
        ["run", "-e", "openai", "--base-url", f"http://u:p\n{SECRET}@127.0.0.1:9/v1"],
        ["run", "-e", "openai", "--engine-option", f"api_key={SECRET}\n", "--base-url", "http://127.0.0.1:9/v1"],
        ["storage", "list", "--since", f"http://u:{SECRET}@h"],
        ["storage", "import", f"http://u:{SECRET}@h"],
    ],
)
def test_nor_does_a_message_about_the_command_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert main(arguments) != 0
    _nothing_holds_it(capsys, caplog)
