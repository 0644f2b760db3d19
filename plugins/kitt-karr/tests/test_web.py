"""Push, pull and LFS contents over HTTP, against git's own server side and a small LFS service."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kitt_core.runs import Attachment
from kitt_karr.store import KarrResultStore

NAME = "runs.git"
LOGIN = "me", "s3cret"
LARGE = b"line of a log\n" * 200_000


def attachment(name: str, content: bytes) -> Attachment:
    return Attachment(name, len(content), lambda: io.BytesIO(content))


class Server(ThreadingHTTPServer):
    """Serves the repositories below a directory, as a forge does."""

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.root = root
        self.contents = root / "contents"
        self.contents.mkdir()
        self.has_lfs = True
        self.needs_login = False
        self.refuses_push = False
        self.damages = False
        self.seen: list[str] = []
        self.authorized: dict[str, bool] = {}

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_port}"

    def held(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.contents.iterdir()}


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        pass

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self._body()
        self.server.seen.append(f"{self.command} {self.path}")
        given = self.headers.get("Authorization")
        expected = "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()
        self.server.authorized[self.path] = given == expected
        if self.server.needs_login and given != expected:
            return self._answer(401, b"", {"WWW-Authenticate": 'Basic realm="runs"'})
        if self.path.endswith("/info/lfs/objects/batch"):
            return self._batch(json.loads(body))
        if found := re.fullmatch(r"/contents/([0-9a-f]{64})(/verify)?", self.path):
            return self._content(found[1], body)
        if self.server.refuses_push and "receive-pack" in self.path:
            return self._answer(403, b"")
        return self._git(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            blocks = []
            while size := int(self.rfile.readline(), 16):
                blocks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(blocks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _batch(self, asked: dict[str, Any]) -> None:
        if not self.server.has_lfs:
            return self._answer(404, b"")
        held, operation = self.server.held(), asked["operation"]
        objects = []
        for wanted in asked["objects"]:
            entry: dict[str, Any] = dict(wanted)
            href = f"{self.server.url}/contents/{wanted['oid']}"
            if operation == "upload" and wanted["oid"] not in held:
                verify = {"href": f"{href}/verify"}
                entry["actions"] = {"upload": {"href": href, "header": {"X-Ticket": "7"}}, "verify": verify}
            elif operation == "download":
                entry |= (
                    {"actions": {"download": {"href": href}}}
                    if wanted["oid"] in held
                    else {"error": {"code": 404, "message": "not found"}}
                )
            objects.append(entry)
        answer = json.dumps({"transfer": "basic", "objects": objects}).encode()
        return self._answer(200, answer, {"Content-Type": "application/vnd.git-lfs+json"})

    def _content(self, oid: str, body: bytes) -> None:
        path = self.server.contents / oid
        if self.command == "PUT":
            assert self.headers["X-Ticket"] == "7"
            assert hashlib.sha256(body).hexdigest() == oid
            path.write_bytes(body)
            return self._answer(200, b"")
        if self.command == "POST":
            return self._answer(200 if path.stat().st_size == json.loads(body)["size"] else 404, b"")
        content = path.read_bytes()
        return self._answer(200, b"x" * len(content) if self.server.damages else content)

    def _git(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        environment = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_USER": "me",
            "REMOTE_ADDR": "127.0.0.1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=environment)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        return self._answer(int(headers.pop("Status", "200").split()[0]), content, headers)


@pytest.fixture
def server(git: Any, tmp_path: Path) -> Iterator[Server]:
    root = tmp_path / "server"
    root.mkdir()
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(root / NAME))
    with Server(root) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def two(kitt: Any, machines: Any, server: Server) -> Any:
    for name in ("a", "b"):
        answer = kitt("karr", "init", machines.root / name, "--remote", f"{server.url}/{NAME}")
        assert answer.code == 0, answer.err
        if name == "a":
            machines.save("a")
            answer = kitt("karr", "push", "-C", machines.root / "a")
            assert answer.code == 0, answer.err
    assert machines.ids("a") == machines.ids("b")
    return machines


def outputs(path: Path, run_id: str) -> dict[str, bytes]:
    found = {}
    with KarrResultStore(path) as store:
        for one in store.attachments(run_id):
            with one.open() as file:
                found[one.name] = file.read()
    return found


def test_histories_that_diverged_are_merged(kitt: Any, two: Any, git: Any, server: Server) -> None:
    two.save("a")
    two.save("b")
    for command, name in (("push", "a"), ("push", "b"), ("pull", "a")):
        answer = kitt("karr", command, "-C", two.root / name)
        assert answer.code == 0, answer.err
    there = f"server/{NAME}"
    assert two.ids("a") == two.ids("b") == two.ids(there)
    assert len(two.ids("a")) == 3
    for name in ("a", "b", there):
        git.assert_whole(two.root / name)


def test_many_runs_are_streamed(kitt: Any, two: Any, git: Any, server: Server) -> None:
    """More than git buffers (http.postBuffer): the request is sent in chunks."""
    two.save("a", attachments=[attachment(f"{i}.bin", os.urandom(100)) for i in range(20)])
    with KarrResultStore(two.root / "a", lfs_threshold=2 << 20) as store:
        store.save_result({"model": "m", "engine": "e"}, attachments=[attachment("big", os.urandom(2_000_000))])
    answer = kitt("karr", "push", "-C", two.root / "a")
    assert answer.code == 0, answer.err
    assert two.ids(f"server/{NAME}") == two.ids("a")
    git.assert_whole(server.root / NAME)


def test_lfs_contents_travel_by_the_batch_api(kitt: Any, two: Any, server: Server) -> None:
    run = two.save("a", attachments=[attachment("a.log", LARGE), attachment("b.log", b"x" * 500)])
    answer = kitt("karr", "push", "-C", two.root / "a")
    assert answer.code == 0, answer.err
    assert "2 LFS objects sent" in answer.err
    assert sorted(server.held().values()) == sorted([LARGE, b"x" * 500])
    uploads = [request for request in server.seen if request.startswith("PUT")]
    assert kitt("karr", "push", "-C", two.root / "a").code == 0
    assert [request for request in server.seen if request.startswith("PUT")] == uploads
    assert "2 LFS objects not here yet" in kitt("karr", "pull", "-C", two.root / "b").err
    answer = kitt("karr", "fetch-lfs", "-C", two.root / "b")
    assert (answer.code, answer.err) == (0, "2 LFS objects fetched\n")
    assert outputs(two.root / "b", run) == {"a.log": LARGE, "b.log": b"x" * 500}


def test_git_lfs_fetches_what_was_sent(kitt: Any, two: Any, git_lfs: Any, server: Server) -> None:
    two.save("a", attachments=[attachment("a.log", LARGE)])
    assert kitt("karr", "push", "-C", two.root / "a").code == 0
    clone = two.root / "clone"
    git_lfs(two.root, "clone", "--quiet", f"{server.url}/{NAME}", str(clone))
    git_lfs(clone, "lfs", "install", "--local")
    git_lfs(clone, "lfs", "pull")
    assert next(clone.rglob("a.log")).read_bytes() == LARGE


def test_a_server_without_lfs_gets_the_commits_and_the_rest_is_named(kitt: Any, two: Any, server: Server) -> None:
    server.has_lfs = False
    run = two.save("a", attachments=[attachment("a.log", LARGE)])
    answer = kitt("karr", "push", "-C", two.root / "a")
    oid = hashlib.sha256(LARGE).hexdigest()
    *_, error, hint = answer.err.splitlines()
    assert answer.code == 1
    reason = f"{server.url}/{NAME}/info/lfs is no LFS service (HTTP 404)"
    assert error == f"error: 1 LFS object not sent ({reason}): {oid[:12]}"
    assert hint == "hint: git-lfs can: `git lfs push --all origin`; the commits did travel"
    assert run in two.ids(f"server/{NAME}")
    assert kitt("karr", "pull", "-C", two.root / "b").code == 0
    assert kitt("karr", "fetch-lfs", "-C", two.root / "b").code == 1


def test_contents_that_the_server_lacks_are_named(kitt: Any, two: Any, server: Server) -> None:
    two.save("a", attachments=[attachment("a.log", LARGE)])
    assert kitt("karr", "push", "-C", two.root / "a").code == 0
    for path in server.contents.iterdir():
        path.unlink()
    assert kitt("karr", "pull", "-C", two.root / "b").code == 0
    answer = kitt("karr", "fetch-lfs", "-C", two.root / "b")
    assert answer.code == 1
    assert "1 LFS object" in answer.err


def test_damaged_contents_are_not_taken(kitt: Any, two: Any, server: Server) -> None:
    run = two.save("a", attachments=[attachment("a.log", LARGE)])
    assert kitt("karr", "push", "-C", two.root / "a").code == 0
    assert kitt("karr", "pull", "-C", two.root / "b").code == 0
    server.damages = True
    answer = kitt("karr", "fetch-lfs", "-C", two.root / "b")
    assert (answer.code, len(answer.err.splitlines())) == (1, 2)
    assert "sent other bytes" in answer.err
    assert outputs(two.root / "b", run) == {}


@pytest.mark.parametrize("way", ["url", "store", "helper"])
def test_names_and_passwords_come_the_ways_of_git(way: str, kitt: Any, two: Any, git: Any, server: Server) -> None:
    server.needs_login = True
    two.save("a", attachments=[attachment("a.log", LARGE)])
    url = f"{server.url}/{NAME}"
    with_login = url.replace("http://", "http://{}:{}@".format(*LOGIN))
    if way == "url":
        url = with_login
    elif way == "store":
        Path("~/.git-credentials").expanduser().write_text(f"{with_login}\n")
    else:
        script = f"!f() {{ echo username={LOGIN[0]}; echo password={LOGIN[1]}; }}; f"
        git(two.root / "a", "config", "credential.helper", script)
    answer = kitt("karr", "push", "-C", two.root / "a", url)
    assert answer.code == 0, answer.err
    assert LOGIN[1] not in answer.err
    assert list(server.held().values()) == [LARGE]
    assert all(allowed for path, allowed in server.authorized.items() if path.startswith("/contents"))


@pytest.mark.parametrize("given", ["", "me:wrong@"])
def test_no_password_or_a_wrong_one_is_one_line(given: str, kitt: Any, two: Any, server: Server) -> None:
    server.needs_login = True
    two.save("a")
    for command in ("push", "pull"):
        answer = kitt(
            "karr", command, "-C", two.root / "a", f"http://{given}localhost:{server.server_port}/{NAME}"
        )
        error, hint = answer.err.splitlines()
        assert answer.code == 1
        assert "none that is known here is right (HTTP 401)" in error
        assert "~/.git-credentials" in hint
        assert "wrong" not in answer.err


def test_a_server_that_lets_nobody_push(kitt: Any, two: Any, server: Server) -> None:
    server.refuses_push = True
    two.save("a")
    answer = kitt("karr", "push", "-C", two.root / "a")
    assert answer.code == 1
    assert answer.err.splitlines() == [
        f"error: {server.url}/{NAME} refused (HTTP 403)",
        "hint: your account may not do that there",
    ]
    server.refuses_push = False
    assert kitt("karr", "push", "-C", two.root / "a").code == 0


def test_a_repository_that_the_server_does_not_have(kitt: Any, two: Any, server: Server) -> None:
    for command in ("push", "pull"):
        answer = kitt("karr", command, "-C", two.root / "a", f"{server.url}/nothing.git")
        assert (answer.code, len(answer.err.splitlines())) == (1, 2)
        assert "is not a git repository" in answer.err
