"""``kitt run --store-karr``: the run is in the usual store and in the repository, with the same bytes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from kitt_core import open_store
from kitt_core.cli.invocation import State
from kitt_core.engine import Chunk, Engine, EngineSession, GenerationRequest, Usage
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import Registry
from kitt_karr.store import KarrResultStore


@frozen
class Options:
    model: str = "echo-1"


class Session(EngineSession):
    model = "echo-1"

    async def stream(self, request: GenerationRequest) -> AsyncIterator[Chunk]:
        yield Chunk("word ", tokens=1)
        yield Chunk("word", tokens=1, usage=Usage(1, 2))


class Echo:
    """An engine that answers at once."""

    async def open(self, options: Any) -> EngineSession:
        return Session()

    @hookimpl
    def kitt_register_engine(self, registry: Registry[Engine]) -> None:
        registry.add(Engine(name="echo", open=self.open, options=Options))


@pytest.fixture
def run(kitt: Any) -> Any:
    """Call ``kitt run`` with that engine; options before the command are in ``first``."""

    def call(*options: object, first: tuple[object, ...] = ()) -> Any:
        state = State()
        state.plugins.register(Echo())
        return kitt(*first, "run", "-e", "echo", *options, state=state)

    return call


def test_a_run_is_in_both_with_the_same_bytes_and_its_outputs(run: Any, git: Any) -> None:
    answer = run("--store-karr", "--format", "json")
    assert answer.code == 0, answer.err
    shown = json.loads(answer.out)
    path = Path(shown["karr"])
    fingerprint = git(path, "show", "main:hardware_fingerprint.txt")
    assert path == Path(f"karr-{fingerprint[:40]}").absolute()
    with open_store() as store, KarrResultStore(path) as karr:
        document = store.get_document(shown["id"])
        assert document == karr.get_document(shown["id"]) == Path(shown["directory"], "metrics.json").read_bytes()
        assert json.loads(document or b"")["system_info"]["fingerprint"] == fingerprint
        files = {one.name for one in karr.attachments(shown["id"])}
    assert files == {path.name for path in Path(shown["directory"], "outputs").iterdir()}
    git.assert_intact(path)
    # The directories of the commit lie on the disk, to be looked at.
    (file,) = path.glob("*/*/*/metrics.json")
    assert file.read_bytes() == document
    assert git(path, "status", "--porcelain") == ""
    again = json.loads(run("--store-karr", "--format", "json").out)
    assert again["karr"] == str(path)
    with KarrResultStore(path) as karr:
        assert karr.count() == 2


@pytest.mark.parametrize("target", ["karr:///new/k", "karr"])
def test_a_new_repository_that_is_the_store_keeps_the_fingerprint(run: Any, git: Any, target: str) -> None:
    answer = run("--format", "json", first=("--backend", target))
    assert answer.code == 0, answer.err
    path = Path("new/k" if target != "karr" else "karr")
    assert git(path, "rev-parse", "--is-bare-repository").strip() == "true"
    with KarrResultStore(path) as store:
        document = store.get_result(json.loads(answer.out)["id"])
    fingerprint = git(path, "show", "main:hardware_fingerprint.txt")
    assert fingerprint
    assert document is not None
    assert document["system_info"]["fingerprint"] == fingerprint


def test_the_repository_of_a_path_takes_runs_of_any_machine(run: Any) -> None:
    with KarrResultStore("shared", fingerprint="another") as store:
        store.initialize()
    assert run("--store-karr", "shared").code == 0
    with KarrResultStore("shared") as store:
        assert store.count() == 1


def test_another_machine_repository_of_the_same_name_is_not_used(run: Any) -> None:
    first = json.loads(run("--store-karr", "--format", "json").out)["karr"]
    Path(first).rename("aside")
    with KarrResultStore(first, fingerprint="another") as store:
        store.initialize()
    assert json.loads(run("--store-karr", "--format", "json").out)["karr"] == f"{first}-2"
    with KarrResultStore(first) as store:
        assert store.count() == 0


def test_a_repository_that_is_the_store_itself_has_the_run_once(run: Any) -> None:
    answer = run("--store-karr", "k", first=("--backend", "karr:///k"))
    assert answer.code == 0, answer.err
    with KarrResultStore("k") as store:
        assert store.count() == 1


def test_what_cannot_be_used_is_refused_before_anything_is_measured(run: Any) -> None:
    Path("notes").mkdir()
    Path("notes/x").write_text("x")
    answer = run("--store-karr", "notes")
    assert (answer.code, len(answer.err.splitlines())) == (4, 2)
    assert not Path("kitt-results").exists()


def test_a_refusal_afterwards_costs_nothing_and_the_hint_works(
    run: Any, kitt: Any, git: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KarrResultStore, "check_writable", lambda _: None)  # it could still be written then
    with KarrResultStore("k") as store:
        store.initialize()
    tip = git(Path("k"), "rev-parse", "main").strip()
    git(Path("k"), "update-ref", "--no-deref", "HEAD", tip)
    answer = run("--store-karr", "k", "--format", "json")
    shown = json.loads(answer.out)
    assert (answer.code, shown["karr"]) == (4, None)
    error, hint = answer.err.splitlines()
    assert error.startswith(f"error: the run is stored, but not in {Path('k').absolute()}: ")
    with open_store() as store:
        assert store.get_document(shown["id"]) is not None
    git(Path("k"), "symbolic-ref", "HEAD", "refs/heads/main")
    command = hint.split("`")[1].split()
    assert kitt(*command[1:]).code == 0
    with KarrResultStore("k") as store:
        assert [run.id for run in store.list_results()] == [shown["id"]]
        assert list(store.attachments(shown["id"]))


def test_somebodys_source_code_is_refused_before_anything_is_measured(run: Any, git: Any, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    git(source, "init", "-q")
    (source / "code.py").write_text("pass\n")
    git(source, "add", "code.py")
    git(source, "commit", "-q", "-m", "code")
    answer = run("--store-karr", source)
    assert answer.code == 4
    assert "not KARR's" in answer.err
    assert not Path("kitt-results").exists()
    with open_store() as store:
        assert store.count() == 0


def test_every_command_works_on_a_repository_with_its_files(run: Any, kitt: Any, git: Any) -> None:
    path = Path(json.loads(run("--store-karr", "--format", "json").out)["karr"])
    second = json.loads(run("--store-karr", "--format", "json").out)["id"]
    target = f"karr:///{path}"
    assert len(json.loads(kitt("--backend", target, "storage", "list", "--format", "json").out)) == 2
    assert kitt("--backend", target, "storage", "verify").code == 0
    assert kitt("--backend", target, "storage", "export", "-o", "runs.jsonl").code == 0
    assert len(Path("runs.jsonl").read_text().splitlines()) == 2
    assert kitt("--backend", target, "storage", "delete", second, "--yes").code == 0
    assert len(list(path.glob("*/*/*/metrics.json"))) == 1
    assert git(path, "status", "--porcelain") == ""
    git.assert_intact(path)
