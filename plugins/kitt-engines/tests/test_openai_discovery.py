"""Finding the server and the model: one line for whatever is wrong, and soon."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from kitt_core.engine import EngineSession
from kitt_core.errors import ConfigurationError, EngineError, EngineLostError, KittError
from kitt_engines.openai import discovery, identity
from kitt_engines.testing import RunningServer
from kitt_engines.testing.behaviour import SERVERS

With = Callable[..., Any]
PATIENCE = 10.0


async def the_model(session: EngineSession) -> str:
    return session.model


async def the_server(session: EngineSession) -> dict[str, Any]:
    found: dict[str, Any] = session.describe()["server"]
    return found


def refused(with_session: With, **options: Any) -> KittError:
    started = time.monotonic()
    with pytest.raises(KittError) as caught:
        with_session(the_model, **options)
    assert time.monotonic() - started < 60, "ten seconds on an idle machine"
    assert "\n" not in str(caught.value)
    return caught.value


@contextmanager
def listener(answer: bytes | None) -> Iterator[str]:
    """A port that sends ``answer`` to every client; with None it stays silent and keeps the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                held.append(connection)
                if answer is not None:
                    connection.recv(65_536)
                    connection.sendall(answer)
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in held:
                connection.close()


def response(status: str, body: str = "", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


def test_the_only_model_is_taken(with_session: With, server: RunningServer) -> None:
    assert with_session(the_model) == "test-model"
    server.configure(models=["a/b"])
    assert with_session(the_model) == "a/b"


def test_of_several_models_one_has_to_be_named(with_session: With, server: RunningServer) -> None:
    server.configure(models=["one", "two"])
    error = refused(with_session)
    assert isinstance(error, ConfigurationError)
    assert "has 2 models: one, two" in error.message
    assert "-m" in str(error.hint)
    assert with_session(the_model, model="two") == "two"


def test_many_models_are_shown_in_part(with_session: With, server: RunningServer) -> None:
    server.configure(models=[f"model-{i}" for i in range(50)])
    assert "model-4 and 45 more" in refused(with_session).message


def test_a_model_that_the_server_does_not_have(with_session: With, server: RunningServer) -> None:
    server.configure(models=["llama-3-8b", "qwen"])
    error = refused(with_session, model="llama-3-8")
    assert type(error) is EngineError
    assert "has no model 'llama-3-8'; it has: llama-3-8b, qwen" in error.message
    assert "did you mean llama-3-8b?" in str(error.hint)
    assert with_session(the_model, model="llama-3-8", check_model="false") == "llama-3-8"


def test_a_model_without_its_tag_is_the_newest(with_session: With, server: RunningServer) -> None:
    server.configure(models=["llama3:latest", "llama3:70b"])
    assert with_session(the_model, model="llama3") == "llama3"


def test_a_server_without_a_list_needs_a_name(with_session: With, server: RunningServer) -> None:
    server.configure(no_model_list=True)
    assert "has no list of models" in refused(with_session).message
    assert with_session(the_model, model="anything") == "anything"
    server.configure(no_model_list=False, models=[])
    assert "has no model" in refused(with_session).message
    assert with_session(the_model, model="anything") == "anything", "it may load what it is asked for"


def test_a_list_that_fails_can_be_done_without(with_session: With) -> None:
    with listener(response("500 Internal Server Error", "no cache")) as url:
        assert "check_model=false" in str(refused(with_session, base_url=url, model="m").hint)
        assert "HTTP 500" in refused(with_session, base_url=url, check_model="false").message
        assert with_session(the_model, base_url=url, model="m", check_model="false") == "m"


@pytest.mark.parametrize("key", [None, "sk-wrong-key-0123456789"])
def test_a_key_that_is_refused_is_not_shown(with_session: With, server: RunningServer, key: str | None) -> None:
    server.configure(api_key="sk-right-key-9876543210")
    error = refused(with_session, api_key=key)
    assert type(error) is EngineError
    assert "HTTP 401" in error.message
    assert "OPENAI_API_KEY" in str(error.hint)
    assert "0123456789" not in str(error)


def test_a_port_without_a_server(with_session: With) -> None:
    error = refused(with_session, base_url="http://127.0.0.1:1")
    assert type(error) is EngineError, "nothing is lost before the first request"
    assert error.message == "http://127.0.0.1:1 refuses the connection"
    assert "--base-url" in str(error.hint)


def test_a_name_that_cannot_be_resolved(with_session: With, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = refused(with_session, base_url="http://no-such-host.invalid:8000/v1")
    assert error.message == "http://no-such-host.invalid:8000: the name no-such-host.invalid cannot be resolved"


def test_a_name_server_that_does_not_answer_delays_nothing(
    with_session: With, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def hang(*_: Any, **__: Any) -> Any:
        release.wait(60)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(discovery, "_LONGEST_CONNECT", 0.4)
    for given, waited in ((0.2, "0.2"), (60, "0.4")):
        error = refused(with_session, base_url="http://slow.invalid", connect_timeout=given)
        assert error.message == f"http://slow.invalid did not accept a connection within {waited} s"
    release.set()


def test_a_server_that_never_answers(with_session: With, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "_PATIENCE", 0.3)
    with listener(None) as url:
        assert (
            "accepts a connection but does not answer within 0.3 s" in refused(with_session, base_url=url).message
        )
        error = refused(with_session, base_url=url, read_timeout=0.1)
        assert "does not answer within 0.1 s" in error.message


def test_the_promise_of_ten_seconds_is_kept_by_the_constants() -> None:
    assert discovery._LONGEST_CONNECT < discovery._PATIENCE <= PATIENCE - 1
    assert identity._PATIENCE < 1 + (PATIENCE - discovery._PATIENCE)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "does not speak HTTP"),
        (b"", "dropped the connection before it answered"),
        (response("200 OK", "<html>hello</html>"), "is not an OpenAI-compatible server"),
        (response("200 OK", '{"data": 3}'), "is not an OpenAI-compatible server"),
        (response("200 OK", "[]"), "is not an OpenAI-compatible server"),
        (
            response("503 Service Unavailable", '{"error": {"message": "Loading model"}}'),
            "HTTP 503: Loading model",
        ),
        (response("500 Oh", "boom"), "HTTP 500: boom"),
        (response("301 Moved", "", "Location: https://elsewhere/v1\r\n"), "redirects to https://elsewhere/v1"),
        (response("404 Not Found"), "has no list of models"),
    ],
)
def test_what_is_not_an_inference_server_is_named(with_session: With, answer: bytes, expected: str) -> None:
    with listener(answer) as url:
        assert expected in refused(with_session, base_url=url).message


def test_a_server_without_tls(with_session: With, server: RunningServer) -> None:
    error = refused(with_session, base_url=server.root.replace("http://", "https://"))
    assert "no TLS connection" in error.message
    assert "http://" in str(error.hint)


async def the_engine(session: EngineSession) -> str | None:
    return session.inference_engine


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_tells_its_name_and_version(with_session: With, server: RunningServer, name: str) -> None:
    server.configure(identity=name, version="0.9.1")
    found = with_session(the_server)
    assert (found["name"], found.get("version")) == (name, "0.9.1" if SERVERS[name].path else None)
    assert with_session(the_engine) == name


@pytest.mark.parametrize("name", ["sglang", "llama.cpp", "ollama", "tgi", "koboldcpp"])
def test_behind_a_gateway_the_version_route_gives_the_name(
    with_session: With, server: RunningServer, name: str
) -> None:
    server.configure(identity=name, owned_by="our-gateway", version="0.9.1")
    found = with_session(the_server)
    assert (found["name"], found["name_from"], found["version"]) == (name, SERVERS[name].path, "0.9.1")


@pytest.mark.parametrize(
    ("header", "name"),
    [("llama.cpp", "llama.cpp"), ("Ollama/0.5", "ollama"), ("KoboldCppServer 1", "koboldcpp"), ("uvicorn", None)],
)
def test_the_header_gives_the_name(
    with_session: With, server: RunningServer, header: str, name: str | None
) -> None:
    server.configure(header=header)
    assert with_session(the_server).get("name") == name
    assert with_session(the_engine) == name


def test_vllms_path_alone_proves_nothing(with_session: With, server: RunningServer) -> None:
    server.configure(identity="vllm", owned_by="openai", version="0.9.1")
    assert with_session(the_server)["version"] == "0.9.1"
    assert with_session(the_engine) is None


def test_a_server_that_does_not_identify_itself(with_session: With, server: RunningServer) -> None:
    found = with_session(the_server)
    assert found.keys() == {"header", "max_model_len"}
    assert found["header"].startswith("Python/")


def test_a_server_without_a_model_list_is_still_identified(with_session: With, server: RunningServer) -> None:
    server.configure(identity="tgi", no_model_list=True)
    assert with_session(the_server, model="m")["name"] == "tgi"


def test_proxies_of_the_environment_are_not_used(
    with_session: With, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert with_session(the_model, base_url=server.url) == "test-model"


def test_loading_the_plugin_and_its_options_imports_no_aiohttp() -> None:
    code = (
        "import sys, kitt_engines.plugin as p\n"
        "p.OpenAIOptions(base_url='http://localhost')\n"
        "print('aiohttp' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_class_of_a_lost_engine_is_an_engine_error() -> None:
    assert issubclass(EngineLostError, EngineError)
    assert EngineLostError.exit_code == 1
