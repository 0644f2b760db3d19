"""Lists of models as servers give them; doing without; servers that are still starting."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kitt_core.engine import Chunk, EngineSession
from kitt_core.errors import EngineError, KittError
from kitt_engines.openai import discovery, session
from kitt_engines.testing import RunningServer

Ask = Callable[..., list[Chunk]]
With = Callable[..., Any]
ENTRY: dict[str, Any] = {"id": "test-model", "owned_by": "vllm"}


async def the_model(session: EngineSession) -> str:
    return session.model


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (json.dumps([ENTRY]), 200),
        (json.dumps({"data": None}), 200),
        (json.dumps({"data": [{"name": "no id"}]}), 200),
        (json.dumps({"data": [ENTRY, {"name": "no id"}]}), 200),
        (json.dumps({"data": [{"id": 3}]}), 200),
        ("[]", 200),
        ("null", 200),
        ("<html>", 200),
        ('{"data": ', 200),
        ("no", 400),
        ("no", 401),
        ("no", 403),
        ("no", 429),
        ("no", 500),
        ("no", 503),
    ],
)
def test_the_list_does_not_decide_when_told_not_to(
    ask: Ask, server: RunningServer, answer: str, status: int
) -> None:
    server.configure(list_answer=answer, list_status=status)
    assert ask(model="test-model", check_model="false")


def test_a_list_that_never_comes_does_not_decide_either(
    with_session: With, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_: Any) -> Any:
        await asyncio.sleep(3600)

    monkeypatch.setattr(discovery, "_PATIENCE", 0.1)
    monkeypatch.setattr(discovery, "_get_models", silent)
    assert with_session(the_model, model="test-model", check_model="false") == "test-model"
    with pytest.raises(EngineError, match="does not answer within"):
        with_session(the_model, model="test-model")


@pytest.mark.parametrize("answer", [[ENTRY], {"data": [{"name": "no id"}, ENTRY]}, {"data": [ENTRY], "x": 1}])
def test_what_is_clear_is_understood(with_session: With, server: RunningServer, answer: Any) -> None:
    server.configure(list_answer=json.dumps(answer))

    async def both(session: EngineSession) -> tuple[str, str | None]:
        return session.model, session.inference_engine

    assert with_session(both) == ("test-model", "vllm")


def test_no_list_is_an_empty_list(with_session: With, server: RunningServer) -> None:
    server.configure(list_answer='{"object": "list", "data": null}')
    assert with_session(the_model, model="test-model") == "test-model"
    with pytest.raises(KittError, match="has no model"):
        with_session(the_model)


@pytest.mark.parametrize("answer", ["[]", '{"data": [{"name": "x"}]}', '{"data": ["a"]}', "3", '{"models": []}'])
def test_what_is_not_a_list_of_models_is_refused(with_session: With, server: RunningServer, answer: str) -> None:
    server.configure(list_answer=answer)
    with pytest.raises(EngineError, match="/models is not a list of models") as caught:
        with_session(the_model)
    assert type(caught.value) is EngineError


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_server_that_starts_is_waited_for_if_the_user_says_so(
    with_session: With, server: RunningServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(discovery, "_POLL", 0.01)
    server.configure(list_answer="loading", list_status=status)
    with pytest.raises(EngineError, match=f"HTTP {status}") as caught:
        with_session(the_model, wait_for_server=0.1)
    assert type(caught.value) is EngineError
    timer = threading.Timer(0.3, server.reset)
    timer.start()
    assert with_session(the_model, wait_for_server=600) == "test-model"
    timer.join()


def test_the_port_may_still_be_closed(with_session: With, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "_POLL", 0.01)
    tries: list[float] = []
    real = discovery._list_models

    async def count(*arguments: Any) -> Any:
        tries.append(1)
        return await real(*arguments)

    monkeypatch.setattr(discovery, "_list_models", count)
    with pytest.raises(EngineError, match="refuses the connection") as caught:
        with_session(the_model, base_url="http://127.0.0.1:1", wait_for_server=0.1)
    assert type(caught.value) is EngineError
    assert len(tries) > 1


def test_answers_may_come_late_too(
    ask: Ask, server: RunningServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session, "_POLL", 0.01)
    server.configure(faults=["*=503"])
    timer = threading.Timer(0.3, server.reset)
    timer.start()
    assert ask(wait_for_server=600)
    timer.join()


@pytest.mark.parametrize("value", ["-1", "nan", "100000"])
def test_a_wrong_time_to_wait_is_refused(with_session: With, value: str) -> None:
    with pytest.raises(KittError, match="wait_for_server"):
        with_session(the_model, wait_for_server=value)


@pytest.mark.parametrize("label", ["application/json", "text/html", "text/plain", "application/octet-stream"])
@pytest.mark.parametrize("behaviour", [{}, {"line_end": "crlf", "reasoning": 3}, {"api": "completions"}])
def test_a_stream_is_one_whatever_its_label(
    ask: Ask, server: RunningServer, label: str, behaviour: dict[str, Any]
) -> None:
    options = {"api": behaviour.pop("api")} if "api" in behaviour else {}
    server.configure(**behaviour)
    plain = ask(**options)
    server.configure(content_type=label)
    assert ask(**options) == plain
    assert len(plain) == 9


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("not-streamed", "the server does not stream"),
        ("not-streamed-error", "does not answer with a stream: out of memory"),
        ("web-page", "the server answers with a web page"),
    ],
)
def test_what_is_not_a_stream_is_still_named(ask: Ask, server: RunningServer, fault: str, expected: str) -> None:
    server.configure(faults=[f"*={fault}"])
    with pytest.raises(EngineError, match=expected):
        ask()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of its own authority for ``right.example`` with its key, in one file."""
    place = tmp_path_factory.mktemp("tls") / "both.pem"
    parts = [place.with_name("key.pem"), place.with_name("certificate.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", str(parts[0]), "-out", str(parts[1]), "-days", "2", "-subj", "/CN=right.example"]
    try:
        subprocess.run([*command, "-addext", "subjectAltName=DNS:right.example"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no openssl to make a certificate with")
    place.write_bytes(b"".join(part.read_bytes() for part in parts))
    return place


def test_a_certificate_for_another_host_says_so(certificate: Path, tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def call() -> str:
        served = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
        url = f"https://127.0.0.1:{served.sockets[0].getsockname()[1]}"
        command = [sys.executable, "-m", "kitt_core", "run", "-e", "openai", "--base-url", url]
        kitt = await asyncio.create_subprocess_exec(
            *command,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=os.environ | {"SSL_CERT_FILE": str(certificate), "KITT_HOME": str(tmp_path)},
        )
        _, said = await kitt.communicate()
        served.close()
        assert kitt.returncode == 1
        return said.decode().replace(url, "URL")

    assert asyncio.run(call()).splitlines() == [
        "error: the certificate of URL is for another host name",
        "hint: give the host in --base-url as its certificate names it",
    ]
