from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kitt_core import open_store
from kitt_core.config import RUN_KEYS, Configuration, Setting, expanded, kitt_home, load_configuration
from kitt_core.errors import ConfigurationError, InputNotFoundError
from kitt_core.options import Option

WAIT = Option("wait", float, 5.0, env="X_WAIT")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project" / "deep" / "er").mkdir(parents=True)
    return tmp_path / "project"


def load(project: Path, **environment: str) -> Configuration:
    environment.setdefault("KITT_HOME", str(project.parent / "home"))
    return load_configuration(directory=project, environment=environment)


def write_home(project: Path, text: str) -> Path:
    path = project.parent / "home" / "config.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_without_anything_the_default_counts(project: Path) -> None:
    configuration = load(project)
    assert configuration.files == ()
    assert configuration.backend() == Setting("sqlite", "default")
    assert [configuration.run(key) for key in RUN_KEYS] == [
        Setting(value, "default") for value in ("reference", None, "quick", None, "kitt-results")
    ]
    assert configuration.option("backends", "x", WAIT) is None


def test_flag_environment_project_user_default(project: Path) -> None:
    home = write_home(project, 'backend = "user"\n[run]\nsuite = "user"\n[backends.x]\nwait = 1\n')
    assert load(project).backend() == Setting("user", str(home))
    file = project / "kitt.toml"
    file.write_text('backend = "project"\n[run]\nsuite = "project"\n[backends.x]\nwait = 2\n')
    configuration = load(project)
    assert configuration.backend() == Setting("project", str(file))
    assert configuration.run("suite") == Setting("project", str(file))
    assert configuration.option("backends", "x", WAIT) == Setting(2, str(file))
    configuration = load(project, KITT_BACKEND="environment", KITT_RUN_SUITE="environment", X_WAIT="3")
    assert configuration.backend() == Setting("environment", "KITT_BACKEND")
    assert configuration.run("suite") == Setting("environment", "KITT_RUN_SUITE")
    assert configuration.option("backends", "x", WAIT) == Setting("3", "X_WAIT")
    assert configuration.backend("flag") == Setting("flag", "flag")
    assert configuration.run("suite", "flag") == Setting("flag", "flag")


def test_files_are_merged_key_by_key(project: Path) -> None:
    home = write_home(project, 'backend = "user"\n[run]\nsuite = "user"\nmodel = "m"\n')
    file = project / "kitt.toml"
    file.write_text('[run]\nsuite = "project"\n')
    configuration = load(project)
    assert configuration.backend().origin == str(home)
    assert configuration.run("suite") == Setting("project", str(file))
    assert configuration.run("model") == Setting("m", str(home))


def test_kitt_backend_goes_before_kitt_db_dsn(project: Path) -> None:
    dsn = "postgresql://u:p@h/db"
    assert load(project, KITT_DB_DSN=dsn).backend() == Setting(dsn, "KITT_DB_DSN")
    assert load(project, KITT_DB_DSN=dsn, KITT_BACKEND="json").backend() == Setting("json", "KITT_BACKEND")
    assert load(project, KITT_DB_DSN="host=h dbname=d").backend() == Setting("postgres", "KITT_DB_DSN")
    assert load(project, KITT_DB_DSN="", KITT_BACKEND="json").backend() == Setting("json", "KITT_BACKEND")


def test_the_nearest_file_upward_counts(project: Path) -> None:
    (project / "kitt.toml").write_text('backend = "outer"')
    assert load(project / "deep" / "er").backend().value == "outer"
    (project / "deep" / "kitt.toml").write_text('backend = "inner"')
    assert load(project / "deep" / "er").backend().value == "inner"


def test_pyproject_counts_only_with_a_table_of_ours(project: Path) -> None:
    (project / "kitt.toml").write_text('backend = "outer"')
    inner = project / "deep" / "pyproject.toml"
    inner.write_text("[project]\nname = 'x'\n")
    assert load(project / "deep").backend().value == "outer"
    inner.write_text("[tool.kitt]\nbackend = 'inner'\n[tool.other]\nx = 1\n")
    assert load(project / "deep").backend() == Setting("inner", str(inner))
    inner.write_text("[tool.kitt.run]\nsuite = 'quick'\n")
    assert load(project / "deep").run("suite") == Setting("quick", str(inner))


def test_kitt_toml_goes_before_pyproject_beside_it(project: Path) -> None:
    (project / "kitt.toml").write_text('backend = "a"')
    (project / "pyproject.toml").write_text('[tool.kitt]\nbackend = "b"')
    assert load(project).backend().value == "a"


def test_a_file_may_be_given_instead_of_the_projects(project: Path) -> None:
    (project / "kitt.toml").write_text('backend = "project"')
    given = project / "other.toml"
    given.write_text('backend = "given"')
    environment = {"KITT_HOME": str(project.parent / "home")}
    configuration = load_configuration(given, directory=project, environment=environment)
    assert configuration.backend() == Setting("given", str(given))
    with pytest.raises(InputNotFoundError, match="no such configuration file"):
        load_configuration(project / "none.toml", directory=project, environment=environment)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("backend = ", "not TOML", None),
        ("bakend = 'x'", "unknown key 'bakend'", "did you mean backend?"),
        ("backend = 5", "backend is 5, expected a name, URI or path in quotes", None),
        ("run = 'x'", "run is 'x', expected a table [run]", None),
        ("[run]\nsuit = 'x'", "unknown key 'suit' in [run]", "did you mean suite?"),
        ("[backends]\nx = 5", "backends.x is 5, expected a table", None),
        ("[run]\nresults_dir = 5", "results_dir in [run] is 5, expected text in quotes", None),
        ("[run]\nmodel = ['a']", "model in [run] is ['a'], expected text in quotes", None),
        ("[run.suite]\nname = 'x'", "suite in [run] is {'name': 'x'}, expected text in quotes", None),
        ("[engine.x]\na = 1", "unknown key 'engine'", "did you mean engines?"),
    ],
)
def test_a_bad_file_is_named(project: Path, text: str, message: str, hint: str | None) -> None:
    (project / "kitt.toml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(project)
    assert caught.value.message.startswith(f"{project / 'kitt.toml'}: ")
    assert message in caught.value.message
    assert caught.value.hint == hint


def test_a_file_that_is_not_utf_8_is_named(project: Path) -> None:
    (project / "kitt.toml").write_bytes(b"backend = '\xff'")
    with pytest.raises(ConfigurationError, match="not TOML"):
        load(project)


def test_an_unknown_option_in_a_file_is_an_error(project: Path) -> None:
    (project / "kitt.toml").write_text("[backends.x]\nwiat = 1\n")
    configuration = load(project)
    configuration.check_options("backends", "y", [WAIT])
    with pytest.raises(ConfigurationError, match=r"x has no option 'wiat' in \[backends.x\]") as caught:
        configuration.check_options("backends", "x", [WAIT])
    assert caught.value.hint == "did you mean wait?"


def test_kitt_home_is_where_the_variable_says(tmp_path: Path) -> None:
    assert kitt_home({"KITT_HOME": str(tmp_path)}) == tmp_path
    assert kitt_home({"KITT_HOME": "~/x"}) == Path.home() / "x"
    assert kitt_home({}) == Path.home() / ".kitt"


@pytest.mark.parametrize(
    "text",
    [
        "[tool.kitt]\nbackend = 'x'",
        "[ tool . kitt ]\nbackend = 'x'",
        '[tool."kitt"]\nbackend = "x"',
        "[tool]\nkitt.backend = 'x'",
        "[tool]\nkitt = {backend = 'x'}",
        "tool.kitt.backend = 'x'",
        "[[other]]\na = 1\n[tool.kitt]\nbackend = 'x'",
    ],
)
def test_every_spelling_of_our_table_counts(project: Path, text: str) -> None:
    (project / "pyproject.toml").write_text(text)
    assert load(project).backend() == Setting("x", str(project / "pyproject.toml"))


@pytest.mark.parametrize(
    "text",
    [
        "tool = 5 # kitt",
        "[tool]\nother = 'kitt'",
        "[project]\ndependencies = ['kitt-core']",
        "[tool.kittens]",
        "tool = [",
    ],
)
def test_a_pyproject_without_our_table_is_nothing_to_us(project: Path, text: str) -> None:
    (project / "kitt.toml").write_text('backend = "outer"')
    (project / "deep" / "pyproject.toml").write_text(text)
    assert load(project / "deep").backend().value == "outer"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool]\nkitt = 5", "tool.kitt is 5, expected a table [tool.kitt]"),
        ("[tool]\nkitt = [5]", "tool.kitt is [5], expected a table [tool.kitt]"),
        ("x = " + "[" * 20_000 + " # kitt", "nested too deeply to be read"),
        ("kitt = " + "1" * 5_000, "not TOML"),
        ("kitt = ", "not TOML"),
    ],
)
def test_a_bad_pyproject_is_named(project: Path, text: str, message: str) -> None:
    (project / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(project)
    assert caught.value.message.startswith(f"{project / 'pyproject.toml'}: {message}")


def test_a_file_that_is_nested_too_deeply_is_named(project: Path) -> None:
    (project / "kitt.toml").write_text("x = " + "[" * 20_000)
    with pytest.raises(ConfigurationError, match=r"kitt\.toml: nested too deeply to be read"):
        load(project)


@pytest.fixture
def denied(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Make the system refuse everything at a path or below, as it refuses a user who is not root."""
    places: list[Path] = []

    def refuse(method: Any) -> Any:
        def call(path: Path, *arguments: Any, **options: Any) -> Any:
            if any(path == place or place in path.parents for place in places):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return method(path, *arguments, **options)

        return call

    for name in ("stat", "open", "read_bytes"):
        monkeypatch.setattr(Path, name, refuse(getattr(Path, name)))
    return places.append


@pytest.mark.parametrize("where", [".", "..", "../.."])
def test_a_pyproject_that_may_not_be_read_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    path = (project / "deep" / "er" / where).resolve() / "pyproject.toml"
    path.write_text("[tool.kitt]")

    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ConfigurationError) as caught:
        load(project / "deep" / "er")
    assert caught.value.message == f"{path}: cannot be read: Permission denied"
    assert (
        caught.value.hint
        == "make it readable, or use another one: --config for the project's file, KITT_HOME for the user's"
    )


def test_a_home_that_is_closed_to_us_is_named(project: Path, denied: Callable[[Path], None]) -> None:
    denied(project.parent / "home")
    with pytest.raises(ConfigurationError, match=r"home/config\.toml: cannot be read: Permission denied"):
        load(project)


def test_a_given_file_in_a_directory_that_is_closed_to_us_is_named(
    project: Path, denied: Callable[[Path], None]
) -> None:
    denied(project / "deep")
    with pytest.raises(ConfigurationError, match=r"x\.toml: cannot be read: Permission denied"):
        load_configuration(project / "deep" / "x.toml", environment={"KITT_HOME": str(project)})


def test_a_directory_above_that_is_closed_to_us_is_left_out(project: Path, denied: Callable[[Path], None]) -> None:
    (project / "kitt.toml").write_text('backend = "outer"')
    denied(project / "deep")
    home = str(project.parent / "home")
    assert load(project / "deep" / "er", KITT_HOME=home).backend().value == "outer"


def test_without_a_home_there_is_no_file_of_the_user(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    (project / "kitt.toml").write_text('backend = "project"')
    assert load_configuration(directory=project, environment={}).backend().value == "project"
    with pytest.raises(ConfigurationError, match="your home directory is not known") as caught:
        kitt_home({})
    assert caught.value.hint == "set KITT_HOME to a directory"


def test_a_home_of_nobody_is_named(project: Path) -> None:
    message = "KITT_HOME is '~no-such-user/x', but there is no such home directory"
    for call in (
        lambda: kitt_home({"KITT_HOME": "~no-such-user/x"}),
        lambda: load(project, KITT_HOME="~no-such-user/x"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            call()
        assert caught.value.message == message
    with pytest.raises(ConfigurationError, match="there is no such home directory"):
        expanded(Setting(Path("~no-such-user/x"), "flag"))
    with pytest.raises(
        ConfigurationError, match=r"'~no-such-user/x\.db' \(from the target\): there is no such home"
    ):
        open_store("~no-such-user/x.db")


def test_a_directory_that_was_removed_has_no_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "kitt.toml").write_text('backend = "project"')
    monkeypatch.chdir(project / "deep" / "er")
    (project / "deep" / "er").rmdir()
    assert load_configuration(environment={"KITT_HOME": str(project)}).backend().origin == "default"
