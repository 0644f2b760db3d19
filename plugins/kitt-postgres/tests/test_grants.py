"""The roles of docs/team.md may do what the page says, and no more: its own SQL is run."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from kitt_core import open_store
from kitt_core.cli.app import main
from kitt_core.errors import StoreUnavailableError
from kitt_core.testing import documents
from kitt_postgres.testing import installed_servers
from kitt_sql.schema.migrate import migration_names

if TYPE_CHECKING:
    from kitt_postgres.testing import PrivateServer


PAGE: Final = (Path(__file__).parents[3] / "docs/team.md").read_text(encoding="utf-8")
DATABASE: Final = "kitt"  # as on the page
PASSWORD: Final = "of them all: /@?"
RUN_ID: Final = "0197c2f0-5b7e-7c93-a401-2f6ab8d1c55e"

READS: Final = [
    ["list"],
    ["list", "--where", "avg_tps>1", "--search", "llama", "--sort", "model"],
    ["show", RUN_ID],
    ["stats", "--by", "model"],
    ["aggregate", "--by", "engine", "--metric", "avg_tps", "--stat", "avg,p50"],
    ["export", RUN_ID, "-o", "-"],
    ["status"],
    ["verify"],
]


def _section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


SQL: Final = re.findall(r"^```sql\n(.*?)^```$", _section("A database and its roles"), re.DOTALL | re.MULTILINE)


def _execute(dsn: str, sql: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in sql.split(";\n"):  # one by one, as psql does: CREATE DATABASE allows no transaction
            connection.execute(statement.encode())


class Team:
    """The database of the page, and a DSN for each role."""

    def __init__(self, server: PrivateServer) -> None:
        self.server = server

    def dsn(self, user: str) -> str:
        return self.server.dsn(DATABASE, user=user, password=PASSWORD)

    def kitt(self, user: str, *arguments: str) -> int:
        return main(["--backend", self.dsn(user), "storage", *arguments])

    def grant_again(self) -> None:
        _execute(self.dsn("kitt_owner"), SQL[2])


@pytest.fixture
def team(postgres_server: PrivateServer) -> Iterator[Team]:
    roles, database, _, logins = SQL
    names = re.findall(r"CREATE ROLE (\w+)", roles + logins)
    team = Team(postgres_server)
    try:
        _execute(postgres_server.dsn(), roles)
        _execute(postgres_server.dsn(DATABASE), database)
        _execute(postgres_server.dsn(), logins)
        for name in names:
            postgres_server.execute(f"ALTER ROLE {name} PASSWORD '{PASSWORD}'")
        assert team.kitt("kitt_owner", "init") == 0
        team.grant_again()
        with open_store(team.dsn("kitt_owner")) as store:
            store.save_result(documents.STANDARD, run_id=RUN_ID)
        yield team
    finally:
        postgres_server.drop_database(DATABASE)
        for name in reversed(names):
            postgres_server.execute(f"DROP ROLE IF EXISTS {name}")


def _refused(team: Team, user: str, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
    """Check that a call is an error of one line with a hint, exit 4, and that the store stays usable."""
    capsys.readouterr()
    assert (arguments, team.kitt(user, *arguments)) == (arguments, 4)
    output, said = capsys.readouterr()
    error, hint = said.splitlines()
    assert output == ""
    assert error.startswith("error: ")
    assert "does not permit this user to do that" in error
    assert "docs/team.md" in hint
    assert PASSWORD not in said


def test_the_database_is_as_the_page_says(team: Team) -> None:
    found = team.server.execute(
        f"SELECT datcollate, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = '{DATABASE}'"
    )
    assert found == [("C", "UTF8")]
    team.server.execute(f"CREATE ROLE stranger LOGIN PASSWORD '{PASSWORD}'")
    try:
        with open_store(team.dsn("stranger")) as store, pytest.raises(StoreUnavailableError, match="not permit"):
            store.count()
    finally:
        team.server.execute("DROP ROLE stranger")


def test_a_reader_reads_everything_and_writes_nothing(
    team: Team, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for call in READS:
        assert (call, team.kitt("grafana", *call)) == (call, 0)
    assert team.kitt("grafana", "copy", "--to", f"json:///{tmp_path}") == 0
    (tmp_path / "metrics.json").write_bytes(documents.as_bytes(documents.small(1)))
    _refused(team, "grafana", capsys, "import", str(tmp_path / "metrics.json"))
    _refused(team, "grafana", capsys, "delete", RUN_ID, "--yes")
    with open_store(team.dsn("grafana")) as store:
        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match="not permit"):
                store.save_result(documents.small(1))
            with pytest.raises(StoreUnavailableError, match="not permit"):
                store.save_results([documents.small(1), documents.small(2)])
        assert store.count() == 1


def test_who_may_not_add_runs_learns_it_before_anything_is_measured(
    team: Team, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    with psycopg.connect(team.dsn("kitt_owner"), autocommit=True) as owner:
        owner.execute("REVOKE USAGE ON SEQUENCE metrics_id_seq FROM kitt_runner")
        for user in ("grafana", "bench07"):
            assert main(["--backend", team.dsn(user), "run", "--results-dir", str(results)]) == 4
            assert "does not permit this user to do that" in capsys.readouterr().err
            assert not results.exists()
            assert main(["--backend", team.dsn(user), "doctor"]) == 0
            assert "does not permit this user to do that" in capsys.readouterr().out
        team.grant_again()
        for user in ("kitt_owner", "bench07", "ada"):
            with open_store(team.dsn(user)) as store:
                store.check_writable()
                assert store.count() == 1
    assert main(["--backend", team.dsn("bench07"), "doctor"]) == 0
    assert "not permit" not in capsys.readouterr().out


def test_a_runner_adds_runs_and_takes_none_away(
    team: Team, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for call in READS:
        assert (call, team.kitt("bench07", *call)) == (call, 0)
    with open_store(team.dsn("bench07")) as store:
        store.save_result(documents.small(1))
        store.save_results([documents.small(i) for i in range(2, 5)])
    (tmp_path / "metrics.json").write_bytes(documents.as_bytes(documents.small(5)))
    assert team.kitt("bench07", "import", str(tmp_path / "metrics.json")) == 0
    _refused(team, "bench07", capsys, "delete", RUN_ID, "--yes")
    with open_store(team.dsn("bench07")) as store:
        assert store.count() == 6
        with pytest.raises(StoreUnavailableError, match="not permit"):
            store.delete_result(RUN_ID)
        assert store.get_document(RUN_ID) == documents.STANDARD


def test_a_writer_also_deletes_and_rebuilds(team: Team, capsys: pytest.CaptureFixture[str]) -> None:
    with open_store(team.dsn("ada")) as store:
        run_id = store.save_result(documents.small(1))
        with psycopg.connect(team.server.dsn(DATABASE), autocommit=True) as connection:
            connection.execute("UPDATE runs SET model = 'lost' WHERE id = %s", [run_id])
            connection.execute("DELETE FROM benchmarks WHERE run_id = %s", [RUN_ID])
            connection.execute("INSERT INTO agents (id, name, hostname) VALUES ('a', 'a', 'a')")
            connection.execute(
                "INSERT INTO quick_tests (id, agent_id, model_path, engine_name, benchmark_name, result_id)"
                " VALUES ('q', 'a', 'm', 'e', 'b', %s)",
                [run_id],
            )
        assert {finding.run_id for finding in store.verify(rebuild=True)} == {run_id, RUN_ID}
        assert list(store.verify()) == []
        assert store.delete_result(run_id)
    assert team.kitt("ada", "delete", RUN_ID, "--yes") == 0
    for table in ("agents", "schema_version", "_yoyo_migration"):
        with psycopg.connect(team.dsn("ada")) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"DELETE FROM {table}".encode())
    assert capsys.readouterr().err.count("error") == 0


def test_only_the_owner_upgrades_and_the_grants_are_given_again(
    team: Team, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(team.dsn("kitt_owner"), autocommit=True) as connection:
        connection.execute("DROP TABLE run_documents, run_labels, metric_names, rolled_runs, metric_rollup")
        connection.execute("DROP INDEX idx_runs_model_timestamp, idx_runs_engine_timestamp")
        connection.execute("DROP INDEX idx_runs_model_engine_passed_timestamp")
        connection.execute("DELETE FROM schema_version WHERE version > 11")
        connection.execute("DELETE FROM _yoyo_migration WHERE migration_id = ANY(%s)", [migration_names()[11:]])
    for user in ("grafana", "bench07", "ada"):
        _refused(team, user, capsys, "migrate")
    assert team.kitt("kitt_owner", "migrate") == 0
    with open_store(team.dsn("ada")) as store:
        assert store.count() == 1  # the default privileges cover the new tables
        with pytest.raises(StoreUnavailableError, match="not permit"):
            store.save_result(documents.small(1))
        team.grant_again()
        store.save_result(documents.small(1))
    for user in ("grafana", "bench07", "ada"):  # nothing is left to do
        assert team.kitt(user, "init") == 0


def test_the_dump_of_the_page_is_restored_whole(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restored = team.server.dsn("kitt_restored", user="kitt_owner", password=PASSWORD)
    (programs,) = (found.directory for found in installed_servers() if found.major == team.server.major)
    monkeypatch.chdir(tmp_path)
    team.server.execute("CREATE DATABASE kitt_restored OWNER kitt_owner TEMPLATE template0")
    try:
        for line in re.findall(r"^    (pg_.*)$", _section("Backups"), re.MULTILINE):
            program, *arguments = shlex.split(line)
            given = [
                argument.replace("$KITT_DB_DSN", team.dsn("kitt_owner")).replace(
                    "postgresql://kitt_owner@db.example/kitt_restored", restored
                )
                for argument in arguments
            ]
            done = subprocess.run([programs / program, *given], capture_output=True, text=True)
            assert (done.returncode, done.stderr) == (0, "")
        with open_store(restored) as store:
            assert list(store.verify()) == []
            assert store.get_document(RUN_ID) == documents.STANDARD
            store.save_result(documents.small(1))
            assert next(store.scan()).document == documents.STANDARD
            assert store.count() == 2
    finally:
        team.server.drop_database("kitt_restored")


def test_a_role_that_may_not_create_a_schema_gets_an_error(team: Team) -> None:
    with open_store(team.dsn("ada"), schema="team") as store:
        with pytest.raises(StoreUnavailableError, match="not permit"):
            store.initialize()
        assert store.schema_status().version is None


def test_the_dsns_of_the_page_are_libpqs() -> None:
    dsns = re.findall(r"^\| [^|]+ \| `([^`]+)` \|$", _section("DSNs"), re.MULTILINE)
    assert len(dsns) == 6
    for dsn in dsns:
        assert conninfo_to_dict(dsn)
        with open_store("postgres", dsn=dsn) as store:
            assert "ada" not in store.location
        if dsn.startswith("postgresql:"):
            open_store(dsn).close()
