"""The pages in docs/ say what the code does: everything is documented, nothing that is documented is missing.

A page's tables are read as data and compared with the objects that they describe; its examples are run.
"""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import cache
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import attrs
import click
import pytest
from sqlalchemy import Column, Dialect, Table
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from kitt_core import codec, engine, errors, hookspecs, importing, model, open_store
from kitt_core.cli.app import cli, main
from kitt_core.cli.render import FORMATS
from kitt_core.config import RUN_KEYS
from kitt_core.engine import EngineSession, GenerationRequest
from kitt_core.errors import InvalidDocumentError, KittError
from kitt_core.options import Option, describe_options
from kitt_core.plugins import COMMANDS as PLUGIN_COMMANDS
from kitt_core.plugins import ENGINES, EXPORTERS, IMPORTERS, KINDS, STORAGE, Kind, PluginManager
from kitt_core.query import GROUP_FIELDS, ORDER_FIELDS, STATISTICS, RunFilter
from kitt_core.storage import Capability, ResultStore, check_run
from kitt_core.testing import CONTRACT_VERSION, documents
from kitt_sql.tables import SCHEMA_VERSION, metadata

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEXTS = [
    *PAGES,
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "plugins").glob("*/README.md")),
    *sorted((ROOT / "docs" / "examples").glob("*/README.md")),
]
TWO_COMMANDS = (
    "python3 -m pip install . ./plugins/*/ && kitt run",
    "python3 -m pip install tox && tox",
)
DIALECTS: tuple[Dialect, ...] = (SQLiteDialect_pysqlite(), PGDialect_psycopg())  # type: ignore[no-untyped-call]  # SQLAlchemy has no types there
VARIABLE = re.compile(r"(?<![A-Z_])KITT_(?!TEST_)[A-Z]+(?:_[A-Z]+)*(?![A-Z_{])")
"""An environment variable's name; those of tests are the kit's and CONTRIBUTING.md's business."""
Row = list[str]


def name_of(path: object) -> str:
    return path.relative_to(ROOT).as_posix() if isinstance(path, Path) else str(path)


@cache
def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks that are marked with ``language``."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@cache
def sections(page: str) -> Mapping[str, str]:
    """Return what stands below each heading, up to the next one of whatever level."""
    found: dict[str, str] = {}
    title, fenced = "", False
    for line in text_of(page).splitlines(keepends=True):
        fenced ^= line.startswith("```")
        heading = None if fenced else re.match(r"#+ (.+)", line)
        if heading:
            title = heading[1].replace("`", "")
            assert title not in found, f"{page} has two sections {title}"
        found[title] = "" if heading else found[title] + line
    return found


def rows(text: str) -> Iterator[Row]:
    """Yield the rows of all tables, their headings left out."""
    lines = without_fences(text).splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("|") and not line.startswith("|--") and not following.startswith("|--"):
            yield [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def spans(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def first_names(text: str) -> list[str]:
    """Return the code spans of the tables' first columns."""
    return [span for row in rows(text) for span in spans(row[0])]


def _is_ours(kind: Kind[Any], name: str) -> bool:
    manager = PluginManager()
    manager.find(kind, name)
    return manager.owner(kind, name).startswith("kitt-")


# The command line.


def walk(command: click.Command, path: str = "kitt") -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        ctx = click.Context(command, obj=None)
        for name in command.list_commands(ctx) if path != "kitt" else list(own_commands()):
            found = command.get_command(ctx, name)
            assert found is not None
            yield from walk(found, f"{path} {name}")


def own_commands() -> list[str]:
    from kitt_core.cli.app import _COMMANDS

    return [
        *_COMMANDS,
        *(name for name in PluginManager().names(PLUGIN_COMMANDS) if _is_ours(PLUGIN_COMMANDS, name)),
    ]


COMMANDS = dict(walk(cli))


def options_of(command: click.Command) -> list[click.Option]:
    return [parameter for parameter in command.params if isinstance(parameter, click.Option)]


def names_of(command: click.Command) -> set[str]:
    return {name for option in options_of(command) for name in (*option.opts, *option.secondary_opts)}


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_is_documented_with_exactly_its_options(path: str) -> None:
    body = sections("cli.md")[path]
    shared = [title for title in ("Filters", "Output") if f"(#{title.lower()})" in body]
    documented = {
        span.split()[0]
        for text in (body, *(sections("cli.md")[title] for title in shared))
        for span in first_names(text)
        if re.match(r"--?\w", span)
    }
    assert documented - {"-h", "--help"} == names_of(COMMANDS[path])


def test_what_is_documented_as_a_command_is_one() -> None:
    assert {title for title in sections("cli.md") if title.split()[0] == "kitt"} == set(COMMANDS)


def test_the_page_lists_formats_fields_orders_and_statistics() -> None:
    page = sections("cli.md")
    assert set(FORMATS) <= set(first_names(page["Output"]))
    assert set(GROUP_FIELDS) <= set(spans(page["kitt storage stats"]))
    assert set(ORDER_FIELDS) <= set(spans(page["kitt storage list"]))
    assert set(STATISTICS) <= set(spans(page["kitt storage aggregate"]))
    exporters = [name for name in PluginManager().names(EXPORTERS) if _is_ours(EXPORTERS, name)]
    assert set(exporters) <= set(first_names(page["kitt storage export"]))


def test_every_exit_code_of_an_error_is_explained() -> None:
    explained = {int(row[0]) for row in rows(sections("cli.md")["Exit codes"])}
    assert {error.exit_code for error in error_classes()} <= explained
    assert {0, 1, 130, 141, 143} <= explained


def calls(text: str) -> Iterator[str]:
    """Yield what stands in code as a call of ``kitt``."""
    fenced = re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    rest = without_fences(text)
    lines = [line for block in fenced for line in block.splitlines()]
    lines += [line for line in rest.splitlines() if line.startswith("    ")]
    lines += spans(rest.replace("\n", " "))
    for line in lines:
        for part in re.split(r"\s(?:\||&&|>|;)\s", line):
            call = re.sub(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*", "", part.strip())
            if re.match(r"kitt\s", call):
                yield call


def unknown_part(call: str) -> str | None:
    """Return what a call names that does not exist; what stands for something else is passed over."""
    try:
        tokens = shlex.split(call, comments=True)[1:]
    except ValueError:  # prose in a code span
        tokens = call.split()[1:]
    path = "kitt"
    pending = iter(tokens)
    for token in pending:
        if re.search(r"[…\[\]<>·]|\.\.\.", token):
            return None
        if token.startswith("-") and token != "-":
            option = _option(path, token)
            if option is None:
                return token
            if not option.is_flag and not option.count and "=" not in token and not _has_value(option, token):
                next(pending, None)
        elif isinstance(COMMANDS[path], click.Group):
            path = f"{path} {token}"
            if token.isupper():
                return None
            if path not in COMMANDS:
                return path
    return None


def _option(path: str, token: str) -> click.Option | None:
    name = token.partition("=")[0]
    if name in {"-h", "--help"}:
        return click.Option(["--help"], is_flag=True)
    return next(
        (option for option in options_of(COMMANDS[path]) if name in (*option.opts, *option.secondary_opts)), None
    )


def _has_value(option: click.Option, token: str) -> bool:
    return not token.startswith("--") and token not in option.opts


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_every_call_in_the_texts_exists(path: Path) -> None:
    found = [(call, unknown_part(call)) for call in calls(path.read_text(encoding="utf-8"))]
    assert [(call, unknown) for call, unknown in found if unknown is not None] == []


def test_the_check_of_calls_finds_what_does_not_exist() -> None:
    text = "`kitt storage lst`, `kitt run --fast`\n\n    $ kitt storage list --backend x | kitt nope\n"
    assert [unknown_part(call) for call in calls(text)] == ["--backend", "kitt nope", "kitt storage lst", "--fast"]


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to stand in, and a user without settings."""
    for name in [name for name in os.environ if name.startswith(("KITT_", "PG"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KITT_HOME", str(tmp_path / "home"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_examples_of_commands_succeed(path: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [
        line for block in blocks(path.read_text(encoding="utf-8"), "console") for line in block.splitlines()
    ]
    with open_store() as store, open_store("json:///.") as tree:
        store.save_result(documents.STANDARD, run_id="0197c2f0-5b7e-7c93-a401-2f6ab8d1c55e")
        for i in range(4):
            store.save_result(documents.small(i) | {"labels": {"commit": "abc1234"}})
        tree.save_result(documents.small(5))
    (fresh / "metrics.json").write_bytes(documents.as_bytes(documents.small(6)))
    for example in examples:
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
        assert (example, main(shlex.split(example.removeprefix("$ kitt ")))) == (example, 0)


# Hooks and records.


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.group)
def test_a_hook_is_documented_with_exactly_the_fields_of_its_record(kind: Kind[Any]) -> None:
    body = sections("hooks.md")[kind.hook]
    assert f"`{kind.group}`" in body
    assert kind.record.__name__ in body
    fields = [attribute.name for attribute in attrs.fields(kind.record)]
    assert first_names(body)[: len(fields)] == fields
    assert blocks(body, "python")
    assert f'entry-points."{kind.group}"' in blocks(body, "toml")[-1]
    assert f"`{kind.hook}`" in sections("hooks.md")["How a plugin works"]


def test_every_hook_has_a_section() -> None:
    hooks = {name for name in hookspecs.__all__ if name.startswith("kitt_")}
    assert {title for title in sections("hooks.md") if title.startswith("kitt_")} == hooks
    arguments = list(signature(hookspecs.kitt_run_saved).parameters)
    assert first_names(sections("hooks.md")["kitt_run_saved"]) == arguments


def test_what_records_hand_over_is_documented() -> None:
    importer, session = sections("hooks.md")[IMPORTERS.hook], sections("hooks.md")[ENGINES.hook]
    for record, body in (
        (importing.ImportCandidate, importer),
        (engine.GenerationRequest, session),
        (engine.Chunk, session),
        (engine.Usage, session),
    ):
        assert f"`{record.__name__}`" in body
        assert {attribute.name for attribute in attrs.fields(record)} <= set(spans(body))
    members = [name for name in {**vars(EngineSession), **EngineSession.__annotations__} if name[0] != "_"]
    assert set(members) <= {span.partition("(")[0] for span in spans(session)}
    keys = [attribute.name for attribute in attrs.fields(Option)][3:]
    assert first_names(sections("hooks.md")["Options"]) == keys


def install_documented(site: Path) -> None:
    """Install the plugins of the pages as one distribution."""
    text = text_of("storage-contract.md") + text_of("hooks.md")
    write_files(text, site)
    groups: dict[str, dict[str, str]] = {}
    for block in blocks(text, "toml"):
        for group, entries in tomllib.loads(block)["project"]["entry-points"].items():
            groups.setdefault(group, {}).update(entries)
    info = site / "documented-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: documented\nVersion: 1.0\n", encoding="utf-8")
    lines = [
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items()) for group, entries in groups.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture
def documented_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PluginManager]:
    """The plugins of the pages, installed."""
    site = tmp_path / "site"
    install_documented(site)
    before = set(sys.modules)
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    yield PluginManager()
    for module in set(sys.modules) - before:
        if str(site) in (getattr(sys.modules[module], "__file__", None) or ""):
            del sys.modules[module]


def write_files(text: str, directory: Path) -> list[Path]:
    """Write the Python blocks that begin with the name of a file, and return the files."""
    written = []
    for block in blocks(text, "python"):
        if name := re.match(r"# (\S+\.py)\n", block):
            written.append(directory / name[1])
            written[-1].parent.mkdir(parents=True, exist_ok=True)
            written[-1].write_text(block, encoding="utf-8")
    return written


def test_the_documented_plugins_load_and_work(
    documented_plugins: PluginManager, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [status for status in documented_plugins.statuses() if status.distribution == "documented"]
    assert {status.kind for status in found} == {*(kind.name for kind in KINDS), "listener"}
    assert [(status.name, status.reason) for status in found if status.state != "loaded"] == []

    (fresh / "runs.csv").write_text("model,engine,tps\nm,e,41.5\n", encoding="utf-8")
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", output)
    shelf = "--backend=shelf:///runs"
    assert main([shelf, "storage", "import", "runs.csv"]) == 0
    assert main([shelf, "latest"]) == 0
    assert main([shelf, "storage", "export", "-o", "runs.sha256"]) == 0
    run_id = output.buffer.getvalue().decode().split()[-1]
    assert (fresh / "runs.sha256").read_text(encoding="utf-8").endswith(f"  {run_id}.json\n")
    documented_plugins.announce_saved(check_run(documents.MINIMAL), "here")
    assert asyncio.run(_answer(documented_plugins)) == ["two ", "words ", "two ", ""]


async def _answer(plugins: PluginManager) -> list[str]:
    echo = plugins.find(ENGINES, "echo")
    session = await echo.open(echo.options())
    return [chunk.text async for chunk in session.stream(GenerationRequest("two words", 3))]


# The storage contract.


def error_classes() -> list[type[KittError]]:
    return [getattr(errors, name) for name in errors.__all__]


def test_every_error_is_documented_with_its_exit_code() -> None:
    documented = {spans(row[0])[0]: int(row[1]) for row in rows(sections("storage-contract.md")["Errors"])}
    assert documented == {error.__name__: error.exit_code for error in error_classes()}


def test_every_capability_is_documented_and_who_declares_it() -> None:
    body = sections("storage-contract.md")["Capabilities"]
    documented = {tuple(spans(row[0])): spans(row[1]) for row in rows(body)}
    assert {name for (name,) in documented if name.isupper()} == {str(capability) for capability in Capability}
    for backend in PluginManager().all(STORAGE):
        if _is_ours(STORAGE, backend.name):
            assert set(documented[(backend.name,)]) == set(backend.capabilities)


def test_every_method_of_a_store_is_documented_with_its_arguments() -> None:
    documented = first_names(sections("storage-contract.md")["Methods"])
    public = [name for name in vars(ResultStore) if not name.startswith("_") and name != "capabilities"]
    assert {span.partition("(")[0] for span in documented} == set(public)
    for span in documented:
        name, bracket, given = span.partition("(")
        if bracket:
            parameters = list(signature(getattr(ResultStore, name)).parameters.values())[1:]
            keywords = [p.name for p in parameters if p.kind is Parameter.KEYWORD_ONLY]
            others = [p.name for p in parameters if p.kind is not Parameter.KEYWORD_ONLY]
            assert given == ", ".join([*others, *(["*"] if keywords else []), *keywords]) + ")"


def test_every_filter_order_group_statistic_and_value_is_documented() -> None:
    page = sections("storage-contract.md")
    assert set(first_names(page["Filters"])) == {attribute.name for attribute in attrs.fields(RunFilter)}
    named = {spans(row[0])[0] if row[0] else "": row[1] for row in rows(page["Orders, groups and statistics"])}
    assert set(spans(named["order_by"])) == {*ORDER_FIELDS, "metric:<name>"}
    assert set(spans(named["group_by"] + named[""])) == set(GROUP_FIELDS)
    assert set(spans(named["statistics"])) == set(STATISTICS)
    values: dict[str, list[str]] = {}
    for first, fields in rows(page["Values"]):
        for name in spans(first):
            values[name] = []
        list(values.values())[-1].extend(spans(fields))  # a long row goes on in the next
    for name, documented in values.items():
        assert {attribute.name for attribute in attrs.fields(getattr(model, name))} <= set(documented)


def test_the_documented_store_passes_the_documented_tests(tmp_path: Path) -> None:
    install_documented(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = long\n", encoding="utf-8")
    # Forcing every file to the disk would take most of the time, and shows nothing here.
    (tmp_path / "conftest.py").write_text("import os\nos.fsync = lambda file: None\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not long", "tests"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


# Compatibility.


def public_names() -> dict[str, set[str]]:
    """Return the names that the page promises, by module; a long row goes on in the next."""
    found: dict[str, set[str]] = {}
    for module, _, names in rows(sections("compatibility.md")["What is public"]):
        if module:
            found[spans(module)[0]] = set()
        found[list(found)[-1]] |= set(spans(names))
    return found


@pytest.mark.parametrize("module", public_names())
def test_what_is_promised_to_be_public_exists(module: str) -> None:
    names = set(importlib.import_module(module).__all__)
    assert public_names()[module] <= names
    if module in {"kitt_core", "kitt_core.errors", "kitt_core.model", "kitt_core.storage", "kitt_core.testing"}:
        assert public_names()[module] == names


def test_what_the_pages_import_is_public() -> None:
    code = "\n".join(block for page in PAGES for block in blocks(page.read_text(encoding="utf-8"), "python"))
    code += "\n".join(
        path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "examples").glob("*/*/*.py"))
    )
    imported = set(re.findall(r"^\s*from (kitt_core\S*) import", code, re.MULTILINE))
    # The documents stand in a module of the kit that is a public name itself.
    assert imported - set(public_names()) <= {"kitt_core.testing.documents"}


def test_the_numbers_of_the_contracts_and_the_oldest_dependencies_are_current() -> None:
    page = sections("compatibility.md")
    numbers = {spans(record)[0]: int(now) for record, _, now in rows(page["Numbers of the records"])}
    assert numbers == {kind.record.__name__: kind.api_version for kind in KINDS}
    assert f"now {CONTRACT_VERSION};" in page["The conformance kit"]
    oldest = [
        line.split("==") for line in (ROOT / "oldest.txt").read_text(encoding="utf-8").split() if "==" in line
    ]
    assert [[spans(name)[0], version] for name, version in rows(page["Pythons and dependencies"])] == oldest
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    assert f"Python {wanted.removeprefix('>=')} or later" in page["Pythons and dependencies"]


# Configuration.


def test_every_environment_variable_is_documented_and_exists() -> None:
    sources = [*(ROOT / "kitt_core").rglob("*.py"), *(ROOT / "plugins").glob("kitt-*/kitt_*/**/*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    used = set(VARIABLE.findall(code)) | {f"KITT_RUN_{key.upper()}" for key in RUN_KEYS}
    assert set(first_names(sections("configuration.md")["Environment variables"])) == used | {"NO_COLOR"}
    everywhere = "\n".join(path.read_text(encoding="utf-8") for path in TEXTS)
    assert set(VARIABLE.findall(everywhere)) <= used


def test_every_key_of_a_file_is_documented() -> None:
    documented = set(first_names(sections("configuration.md")["Files"]))
    assert {f"run.{key}" for key in RUN_KEYS} | {"backend"} <= documented


@pytest.mark.parametrize("kind", [STORAGE, ENGINES], ids=lambda kind: kind.name)
def test_every_option_of_our_backends_and_engines_is_documented(kind: Kind[Any]) -> None:
    for record in PluginManager().all(kind):
        if _is_ours(kind, record.name):
            body = sections("configuration.md")[record.name]
            assert first_names(body) == [option.name for option in describe_options(record.options)]


def test_the_documented_file_is_read(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = blocks(text_of("configuration.md"), "toml")
    (fresh / "kitt.toml").write_text(example, encoding="utf-8")
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", output)
    assert main(["config", "show", "--format", "json"]) == 0
    shown = json.loads(output.buffer.getvalue())
    settings = {row["key"]: row["value"] for row in shown if row["origin"].endswith("kitt.toml")}
    assert settings["backends.sqlite.busy_timeout"] == 30
    assert settings["run.results_dir"] == "results"


# The schema.


def documented_schema(table: str) -> tuple[list[Row], list[Row]]:
    found = list(rows(sections("schema.md")[table]))
    return [row[:5] for row in found if len(row) == 6], [row[:2] for row in found if len(row) == 3]


def described(column: Column[Any]) -> Row:
    types = [column.type.compile(dialect=dialect) for dialect in DIALECTS]
    if column.primary_key and column.autoincrement is True:
        types[1] = "SERIAL"
    types[1] = types[1].replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")
    return [f"`{column.name}`", *types, "yes" if column.nullable else "no", _default(column)]


def _default(column: Column[Any]) -> str:
    argument = getattr(column.server_default, "arg", None)
    if argument is None:
        return ""
    if isinstance(argument, str):
        return f"`'{argument}'`"
    return "now" if "now" in str(argument) else f"`{argument}`"


@pytest.mark.parametrize("table", metadata.tables.values(), ids=lambda table: table.name)
def test_a_table_is_documented_column_by_column_with_its_indexes(table: Table) -> None:
    columns, indexes = documented_schema(table.name)
    assert columns == [described(column) for column in table.columns]
    expected = {f"`{index.name}`": [column.name for column in index.columns] for index in table.indexes}
    assert {name: spans(names)[0].split(", ") for name, names in indexes} == expected


def test_the_pages_version_and_list_of_versions_are_current() -> None:
    assert f"current version is **{SCHEMA_VERSION}**" in text_of("schema.md")
    versions = [row[0] for row in rows(sections("schema.md")["Versions and migrations"])]
    assert versions == [str(version) for version in range(1, SCHEMA_VERSION + 1)]


def test_every_object_of_a_database_is_documented_and_the_queries_run(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with open_store(path) as store:
        store.save_result(documents.STANDARD)
    documented = set(spans(without_fences(text_of("schema.md"))))
    with closing(sqlite3.connect(path)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        assert {name for name in names if not name.startswith("sqlite_autoindex")} - set(
            metadata.tables
        ) <= documented
        queries = blocks(sections("schema.md")["Querying by hand"], "sql")
        assert [len(connection.execute(query).fetchall()) for query in queries] == [1, 1, 0]


# Documents.


def test_the_page_of_documents_quotes_the_messages() -> None:
    quoted = 0
    for row in rows(sections("documents.md")["What is refused"]):
        if not row[0].startswith("`"):
            continue
        given = spans(row[0])[0]
        document = f'{{"model": "m", "engine": "e", {given}}}' if given.startswith('"') else given
        with pytest.raises(InvalidDocumentError) as caught:
            check_run(document)
        assert spans(row[1]) == [caught.value.message]
        quoted += 1
    assert quoted >= 8


def test_the_example_of_a_document_is_one() -> None:
    (example,) = blocks(text_of("documents.md"), "json")
    run = check_run(example)
    assert [metric.name for metric in run.rows.benchmarks[0].metrics] == ["avg_tps", "ttft_ms.p50", "ttft_ms.p99"]
    assert str(codec.MAX_DEPTH) in text_of("documents.md")


# Examples and links.

EXAMPLES = [
    pytest.param(block, id=f"{path.name}-{position}")
    for path in (ROOT / "README.md", ROOT / "docs" / "embedding.md")
    for position, block in enumerate(blocks(path.read_text(encoding="utf-8"), "python"))
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_of_code_run(example: str, fresh: Path) -> None:
    (fresh / "example.py").write_text(example, encoding="utf-8")
    # yoyo reads its migrations, which are ASCII, without naming an encoding.
    warnings = ["-W", "error", "-W", "ignore::EncodingWarning:yoyo.migrations"]
    command = [sys.executable, *warnings, "example.py"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", without_fences(path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    text = without_fences(path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), f"{name_of(path)} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{name_of(path)} links to {target}"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_page_begins_by_saying_what_it_is(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert lines[2], "a page begins with a sentence that says what it is"


def test_the_readme_has_the_two_commands_that_are_run() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    check = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in TWO_COMMANDS:
        assert command in readme
        assert command in check
