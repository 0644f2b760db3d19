"""``kitt run -e openai`` from end to end, as a user calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from kitt_core.cli.app import main
from kitt_engines.testing import RunningServer

KEY = "sk-very-secret-0123456789"


@frozen
class Answer:
    """What one call of ``kitt`` gave."""

    returncode: int
    stdout: str
    stderr: str


class Kitt:
    """Calls ``kitt`` in this process, on a fresh machine."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[bytes]) -> None:
        self.home = home
        self._patch = monkeypatch
        self._capture = capture
        for name in [name for name in os.environ if name.startswith("KITT_") or name == "OPENAI_API_KEY"]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("KITT_HOME", str(home / "kitt"))
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.chdir(home)

    def __call__(self, *arguments: str, **variables: str) -> Answer:
        with self._patch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            code = main(list(arguments))
        said = self._capture.readouterr()
        return Answer(code, said.out.decode(), said.err.decode())

    def document(self) -> dict[str, Any]:
        (path,) = self.home.glob("kitt-results/*/*/*/metrics.json")
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found


@pytest.fixture
def kitt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Kitt:
    return Kitt(tmp_path, monkeypatch, capsysbinary)


def test_an_interrupted_run_keeps_what_it_has_and_leaves_no_request_behind(
    kitt: Kitt, server: RunningServer, spawn: Callable[..., subprocess.Popen[str]]
) -> None:
    server.configure(gap=0.01, faults=["4=mid-silence"])
    process = spawn(
        [sys.executable, "-m", "kitt_core", "run", "-e", "openai", "--base-url", server.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 180
    while server.state()["requests"] < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=180)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in err
    assert kitt.document()["stopped"]
    while server.state()["in_flight"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [each["outcome"] for each in server.requests()] == [*["answered"] * 3, "broken off"]


def everything_written(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


def test_a_run_is_stored_and_says_what_it_measured(kitt: Kitt, server: RunningServer) -> None:
    server.configure(ttft=0.01, gap=0.001, identity="vllm", version="0.11.0")
    done = kitt("run", "-e", "openai", "--base-url", server.root, "--runs", "1")
    assert done.returncode == 0, done.stderr
    busy = ("the load generator was busy", "arrived in one read")  # what a busy machine may add
    assert [line for line in done.stderr.splitlines() if not any(reason in line for reason in busy)] == []
    document = kitt.document()
    assert (document["engine"], document["model"], document["passed"]) == ("vllm", "test-model", True)
    assert document["engine_info"]["server"]["name"] == "vllm"
    assert document["engine_info"]["server"]["version"] == "0.11.0"
    assert document["engine_info"]["base_url"] == server.url
    assert document["config"]["engine_options"]["api"] == "chat"
    assert document["config"]["engine_options"]["api_key"] is None
    for entry in document["results"]:
        for name in ("ttft_ms", "tpot_ms", "itl_ms", "e2e_latency_ms"):
            assert name not in entry["metrics"] or entry["metrics"][name]["p50"] > 0
    latency = next(entry for entry in document["results"] if entry["test_name"] == "latency")
    assert latency["metrics"]["ttft_ms"]["min"] >= 9.9
    listed = json.loads(kitt("storage", "list", "--format", "json").stdout)
    assert [(row["engine"], row["passed"]) for row in listed] == [("vllm", True)]
    assert document["engine_info"]["name"] == "openai", "how it was asked"
    assert list(kitt.home.glob("kitt-results/test-model/vllm/*/metrics.json"))


@pytest.mark.parametrize(
    ("identity", "arguments", "engine"),
    [
        ("", [], "openai"),
        ("ollama", [], "ollama"),
        ("ollama", ["--engine-name", "our-fork"], "our-fork"),
        ("", ["--engine-name", "mlx"], "mlx"),
    ],
)
def test_the_engine_is_the_one_that_answered(
    kitt: Kitt, server: RunningServer, identity: str, arguments: list[str], engine: str
) -> None:
    server.configure(identity=identity)
    done = kitt(
        "run", "-e", "openai", "--base-url", server.url, "--benchmark", "latency", "--requests", "1", *arguments
    )
    assert done.returncode == 0
    document = kitt.document()
    assert document["engine"] == engine
    assert document["engine_info"]["name"] == "openai"
    assert document["engine_info"]["server"].get("name") == (identity or None)
    assert document["config"].get("engine_name") == (engine if arguments else None)
    (group,) = json.loads(kitt("storage", "stats", "--by", "engine", "--format", "json").stdout)
    assert group["engine"] == engine


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_engine_name_is_refused(kitt: Kitt, name: str) -> None:
    done = kitt("run", "--engine-name", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--engine-name" in done.stderr


@pytest.mark.parametrize("name", ["vllm", "vLLM", "llama.cpp", "lm-studio", "tensorrt_llm"])
def test_a_server_that_is_taken_for_an_engine_leads_to_openai(kitt: Kitt, name: str) -> None:
    done = kitt("run", "-e", name)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: no engine '{name}'; installed: openai, reference",
        "hint: a server is measured with -e openai --base-url URL; the run's engine is then detected",
    ]


@pytest.mark.parametrize("faults", [[], ["*=500"]])
def test_the_key_is_nowhere(kitt: Kitt, server: RunningServer, faults: list[str]) -> None:
    server.configure(api_key=KEY, faults=faults)
    done = kitt("-v", "run", "-e", "openai", "--base-url", server.url, OPENAI_API_KEY=KEY, KITT_DEBUG="1")
    assert done.returncode == (1 if faults else 0)
    assert kitt.document()["config"]["engine_options"]["api_key"] == "***"
    assert kitt("storage", "backup", "all.tar.gz").returncode == 0
    with tarfile.open(kitt.home / "all.tar.gz") as archive:
        archive.extractall(kitt.home / "unpacked", filter="data")
    assert KEY.encode() not in everything_written(kitt.home)
    assert KEY not in done.stdout + done.stderr
    assert all(received["has_key"] for received in server.requests())


def test_a_wrong_key_is_one_line_without_it(kitt: Kitt, server: RunningServer) -> None:
    server.configure(api_key="sk-right")
    done = kitt("run", "-e", "openai", "--base-url", server.url, OPENAI_API_KEY=KEY)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"error: {server.root} does not list its models: HTTP 401: Incorrect API key provided: ***",
        "hint: give the server's key in OPENAI_API_KEY",
    ]
    assert not (kitt.home / "kitt-results").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["--base-url", "http://127.0.0.1:1"], 1, "error: http://127.0.0.1:1 refuses the connection"),
        (["--base-url", "http://no-such-host.invalid"], 1, "error: http://no-such-host.invalid"),
        (["--base-url", "http://me:pw-7@127.0.0.1:1"], 2, "use api_key instead"),
        (["--engine-option", "api=soap"], 2, "expected one of chat, completions"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_stored(
    kitt: Kitt, arguments: list[str], code: int, expected: str
) -> None:
    started = time.monotonic()
    done = kitt("run", "-e", "openai", *arguments)
    assert time.monotonic() - started < 60, "ten seconds on an idle machine"
    assert (done.returncode, done.stdout) == (code, "")
    error, *hint = done.stderr.splitlines()
    assert expected in error
    assert len(hint) <= 1
    assert "pw-7" not in done.stderr
    assert not (kitt.home / "kitt-results").exists()


def test_a_model_that_the_server_lacks(kitt: Kitt, server: RunningServer) -> None:
    done = kitt("run", "-e", "openai", "--base-url", server.url, "-m", "test-modle")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: {server.root} has no model 'test-modle'; it has: test-model",
        "hint: did you mean test-model? --engine-option check_model=false uses it anyway",
    ]


@pytest.mark.parametrize("fault", ["404", "mid-reset"])
def test_a_server_that_fails_every_request_ends_the_run_with_its_reason(
    kitt: Kitt, server: RunningServer, fault: str
) -> None:
    server.configure(faults=[f"*={fault}"])
    done = kitt("run", "-e", "openai", "--base-url", server.url)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    document = kitt.document()
    assert not document["passed"]
    measured = [entry for entry in document["results"] if "skipped" not in entry]
    assert measured
    assert all(entry["errors"] for entry in measured)


def test_the_server_can_be_started_by_hand() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "kitt_engines.testing.server", "--port", "0", "--ttft", "0.01", "--model", "a"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
    finally:
        process.terminate()
        out, err = process.communicate(timeout=180)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_wrong_option_of_the_server_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kitt_engines.testing.server", "--faults", "3=nonsense"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "fault '3=nonsense', expected WHEN=WHAT" in done.stderr
