"""Tokens are counted here if the server does not count and the user gives a tokenizer."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kitt_core.engine import Chunk, EngineSession, Usage
from kitt_core.errors import ConfigurationError, EngineError
from kitt_engines.openai.client_tokenizer import ClientTokenizer, load_tokenizer
from kitt_engines.testing import RunningServer

tokenizers = pytest.importorskip("tokenizers")

Ask = Callable[..., list[Chunk]]
With = Callable[..., Any]


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A tokenizer whose tokens are words; it wants to cut off, to pad and to add tokens of its own."""
    words = {"[UNK]": 0, "[BEGIN]": 1, "hello": 2, "there": 3}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[BEGIN] $A", special_tokens=[("[BEGIN]", 1)]
    )
    made.enable_truncation(4)
    made.enable_padding(length=5)
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    return path


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_where_the_server_does_not_count_the_tokenizer_does(
    ask: Ask, server: RunningServer, words: Path, api: str
) -> None:
    server.configure(usage="none", tokens_per_chunk=3)
    *texts, last = ask("hello there you", max_tokens=8, tokenizer=str(words), api=api)
    assert len(texts) == 3
    assert [chunk.usage for chunk in texts] == [None] * 3
    assert last == Chunk("", usage=Usage(3, 8, "client_tokenizer"))


def test_where_the_server_counts_its_count_wins(ask: Ask, words: Path) -> None:
    assert ask(tokenizer=str(words))[-1].usage == Usage(2, 8, "server_usage")


def test_the_description_says_which_tokenizer_it_is(with_session: With, words: Path) -> None:
    async def describe(session: EngineSession) -> Any:
        return session.describe()["tokenizer"]

    digest = hashlib.sha256(words.read_bytes()).hexdigest()
    assert with_session(describe, tokenizer=str(words)) == {"file": "tokenizer.json", "sha256": digest}
    assert with_session(describe) is None


@pytest.mark.parametrize(("text", "expected"), [("\ud83d\ude00 x", 2), ("\ud83d", 1), ("", None), ("  ", None)])
def test_odd_answers_are_counted_too(words: Path, text: str, expected: int | None) -> None:
    found = asyncio.run(load_tokenizer(str(words)).count("hello", text))
    assert found == (None if expected is None else Usage(1, expected, "client_tokenizer"))


def test_a_text_that_the_tokenizer_cannot_read_fails_the_request() -> None:
    class Refuses:
        def encode_batch(self, *_: Any, **__: Any) -> Any:
            raise Exception("no\nway")  # noqa: TRY002 - as the library does

    tokenizer = ClientTokenizer(Refuses(), {})  # type: ignore[arg-type]  # all that is used
    with pytest.raises(EngineError, match="the tokenizer cannot read the text: no way"):
        asyncio.run(tokenizer.count("hello", "there"))


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff\xfe", b'{"model": 3}'])
def test_a_file_that_is_not_a_tokenizer_is_one_line(ask: Ask, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="cannot be used") as caught:
        ask(tokenizer=str(path))
    assert "\n" not in str(caught.value)
    assert "tokenizer.json" in str(caught.value.hint)


def test_a_directory_is_not_a_tokenizer(ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not a regular file"):
        ask(tokenizer=str(tmp_path))


def test_the_missing_package_is_named(ask: Ask, words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigurationError, match="needs the package tokenizers") as caught:
        ask(tokenizer=str(words))
    assert caught.value.hint == "pip install 'kitt-engines[tokenizer]'"
    assert ask(), "nothing else needs it"
