"""Who may import whom: the arrows of docs/architecture.md, held by a test."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "kitt_core"
PLUGINS = sorted(path for path in (ROOT / "plugins").glob("kitt-*/kitt_*") if (path / "__init__.py").is_file())
SHARED = "kitt_sql"
HEAVY = ("sqlalchemy", "yoyo", "psycopg", "dulwich", "numpy", "psutil", "click", "rich", "asyncio", "cattrs")
COMMANDS = "commands"
"""The package in a plugin that holds its commands."""
# The rooms of the core from the ground up: each may import what stands before it, nothing that stands after it.
_FLOORS = """
    errors redaction files runs presentation options fingerprint archive config engine storage rundir
    benchmarking hookspecs plugins _builtin opening service testing cli __main__
"""
ROOMS = _FLOORS.split()

FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"}


def modules(package: Path) -> list[Path]:
    return sorted(package.rglob("*.py"))


# An exception that is not needed any more fails, too.
DRIVERS_ALLOWED = {
    # `kitt doctor` shows which SQLite this Python has; it is imported when asked and opens nothing.
    "service/doctor.py": {"sqlite3"},
}


def _type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _walk(tree: ast.AST, *, inside: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if _type_checking(node) or (not inside and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))):
            continue
        yield node
        yield from _walk(node, inside=inside)


@cache
def imports(path: Path, *, inside: bool = True) -> set[str]:
    """Return the absolute names of what a module imports; ``inside`` functions too, or only when it is loaded."""
    found: set[str] = set()
    package = list(path.relative_to(_top(path)).with_suffix("").parts[:-1])
    for node in _walk(ast.parse(path.read_text(encoding="utf-8")), inside=inside):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*start, *([node.module] if node.module else [])])
            found |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
    return found


def _top(path: Path) -> Path:
    while (path.parent / "__init__.py").is_file():
        path = path.parent
    return path.parent


def under(names: set[str], *packages: str) -> set[str]:
    return {name for name in names for package in packages if name == package or name.startswith(f"{package}.")}


def in_core(*parts: str) -> list[Path]:
    """Return the core's modules outside the packages named."""
    return [path for path in modules(CORE) if path.relative_to(CORE).parts[0] not in parts]


def test_there_is_something_to_look_at() -> None:
    assert len(modules(CORE)) > 20
    assert {path.name for path in PLUGINS} >= {"kitt_engines", "kitt_hardware"}
    assert under(imports(CORE / "opening.py"), "kitt_core.plugins.loading")
    assert "cattrs" in imports(CORE / "options.py")
    assert "cattrs" not in imports(CORE / "options.py", inside=False)


def test_the_core_imports_no_plugin_and_no_driver() -> None:
    for path in modules(CORE):
        names = imports(path)
        assert {name for name in names if name.startswith("kitt_") and not under({name}, "kitt_core")} == set(), (
            path
        )
        used = under(names, "sqlalchemy", "yoyo", "psycopg", "dulwich", "numpy", "psutil", "pynvml", "sqlite3")
        assert used == DRIVERS_ALLOWED.get(str(path.relative_to(CORE)), set()), path


def test_nobody_in_the_core_imports_the_conformance_kit() -> None:
    for path in in_core("testing"):
        assert under(imports(path), "kitt_core.testing", "pytest", "hypothesis") == set(), path


def test_nobody_in_the_core_imports_the_command_line() -> None:
    for path in in_core("cli", "__main__.py"):
        assert under(imports(path), "kitt_core.cli", "click", "rich") == set(), path


def test_nothing_imports_upwards() -> None:
    for path in modules(CORE):
        room = _room(path)
        used = {name.split(".")[1] for name in imports(path) if name.startswith("kitt_core.")} & set(ROOMS)
        above = {name for name in used if ROOMS.index(name) > ROOMS.index(room)} if room else set()
        assert above == set(), f"{path} imports what stands above it"


def test_every_room_of_the_core_has_its_floor() -> None:
    rooms = {path.stem for path in CORE.glob("*.py") if path.stem != "__init__"}
    rooms |= {path.parent.name for path in CORE.glob("*/__init__.py")}
    assert rooms == set(ROOMS)
    assert len(rooms) <= 24


def test_the_page_names_files_and_folders_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    places = {ROOT, *(package.parent for package in PLUGINS)}
    named = set(re.findall(r"`((?:kitt_\w+/)[\w/]*(?:\.py)?)`", page))
    assert len(named) > 20
    assert {name for name in named if not any((place / name).exists() for place in places)} == set()
    core = page.split("```text\n")[1].split("```")[0]
    assert [re.split(r"[ /]", line.strip())[0] for line in core.splitlines() if re.match(r"  \w", line)] == [
        room for room in reversed(ROOMS) if room != "__main__"
    ]


def _room(path: Path) -> str:
    """Return the folder or module at the core's top; the package itself is empty text: it names them all."""
    first = path.relative_to(CORE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def _imported_files(path: Path) -> set[Path]:
    """Return the files that a module names; of ``from package import module`` that is the module alone."""
    names = imports(path)
    return {file for name in names if not under(names - {name}, name) and (file := _file(name))} - {path}


def _file(name: str) -> Path | None:
    return next((file for root in {ROOT, *(p.parent for p in PLUGINS)} for file in _files(root, name)[-1:]), None)


@pytest.mark.parametrize("package", [CORE, *PLUGINS], ids=lambda path: path.name)
def test_no_module_imports_itself_by_way_of_others(package: Path) -> None:
    graph = {path: _imported_files(path) for path in modules(package)}
    # Whatever imports nothing that is left is taken away; circles stay.
    while free := {path for path, used in graph.items() if not used & set(graph)}:
        graph = {path: used for path, used in graph.items() if path not in free}
    assert {str(path.relative_to(ROOT)) for path in graph} == set()


@pytest.mark.parametrize("package", PLUGINS, ids=lambda path: path.name)
def test_no_plugin_imports_another(package: Path) -> None:
    for path in modules(package):
        others = {name.split(".")[0] for name in imports(path) if name.startswith("kitt_")}
        assert others <= {"kitt_core", SHARED, package.name}, path
    if package.name == SHARED:
        assert not any(
            under(imports(path), *(p.name for p in PLUGINS if p.name != SHARED)) for path in modules(package)
        )


@pytest.mark.parametrize("package", PLUGINS, ids=lambda path: path.name)
def test_only_a_plugins_commands_use_the_command_line_and_the_service(package: Path) -> None:
    for path in modules(package):
        inner = under(imports(path), "kitt_core.cli", "kitt_core.service")
        assert inner == set() or COMMANDS in path.parts, path


@pytest.mark.parametrize(
    "path", [p for package in PLUGINS for p in package.glob("plugin.py")], ids=lambda p: p.parent.name
)
def test_a_plugin_module_imports_no_third_party_when_it_is_loaded(path: Path) -> None:
    """Follows imports within the package: what the plugin module or the package loads is loaded with it."""
    pending, seen, foreign = [path, path.with_name("__init__.py")], set(), set()
    while pending:
        module = pending.pop()
        if module in seen:
            continue
        seen.add(module)
        for name in imports(module, inside=False):
            top = name.split(".")[0]
            if top == path.parent.name:
                pending += _files(path.parent.parent, name)
            elif top not in {*sys.stdlib_module_names, "attrs", "kitt_core"}:
                foreign.add(name)
    assert foreign == set()


def _files(root: Path, name: str) -> list[Path]:
    parts = name.split(".")
    chain = [root.joinpath(*parts[: i + 1]) for i in range(len(parts))]
    candidates = [c for place in chain for c in (place / "__init__.py", place.with_suffix(".py"))]
    return [candidate for candidate in candidates if candidate.is_file()]


def test_a_module_is_named_after_its_noun() -> None:
    names = {path.stem for package in (CORE, *PLUGINS) for path in modules(package)}
    assert names & FORBIDDEN_NAMES == set()


def test_importing_kitt_core_is_light() -> None:
    code = f"import sys, kitt_core; print(*sorted(set(sys.modules) & {set(HEAVY)!r}))"
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    )
    assert done.stdout.split() == []


def test_importing_kitt_core_has_no_effect() -> None:
    code = "import warnings, logging, os; before = dict(os.environ); import kitt_core;"
    code += (
        "print(logging.getLogger().handlers, logging.getLogger('kitt_core').handlers, before == dict(os.environ))"
    )
    environment = {"PYTHONPATH": str(ROOT), "KITT_BACKEND": "nonsense", "KITT_HOME": "/nonsense"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    )
    assert (done.stdout.strip(), done.stderr) == ("[] [] True", "")
