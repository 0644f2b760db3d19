"""Who may import whom: the arrows of docs/architecture.md, held by a test."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "kitt_core"
PLUGINS = sorted(path for path in (ROOT / "plugins").glob("kitt-*/kitt_*") if (path / "__init__.py").is_file())
SHARED = "kitt_sql"
HEAVY = ("sqlalchemy", "yoyo", "psycopg", "dulwich", "numpy", "psutil", "click", "rich", "asyncio", "cattrs")
COMMANDS = "commands"
"""The package in a plugin that holds its commands."""
COMMANDS_MAY_USE = tuple(f"kitt_core.cli.{name}" for name in ("lazy", "messages", "progress", "render", "state"))
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"}


def modules(package: Path) -> list[Path]:
    return sorted(package.rglob("*.py"))


# An exception that is not needed any more fails, too.
DRIVERS_ALLOWED = {
    # `kitt doctor` shows which SQLite this Python has; it is imported when asked and opens nothing.
    "service/examination.py": {"sqlite3"},
}


def _is_module(name: str) -> bool:
    return (ROOT / name.replace(".", "/")).with_suffix(".py").is_file()


def _type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _walk(tree: ast.AST, *, inside: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if _type_checking(node) or (not inside and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))):
            continue
        yield node
        yield from _walk(node, inside=inside)


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
    assert under(imports(CORE / "stores.py"), "kitt_core.plugins")
    assert "cattrs" in imports(CORE / "options.py")
    assert "cattrs" not in imports(CORE / "options.py", inside=False)


@pytest.mark.parametrize("path", modules(CORE), ids=lambda path: str(path.relative_to(CORE)))
def test_the_core_imports_no_plugin_and_no_driver(path: Path) -> None:
    names = imports(path)
    assert {name for name in names if name.startswith("kitt_") and not under({name}, "kitt_core")} == set()
    used = under(names, "sqlalchemy", "yoyo", "psycopg", "dulwich", "numpy", "psutil", "pynvml", "sqlite3")
    assert used == DRIVERS_ALLOWED.get(str(path.relative_to(CORE)), set())


@pytest.mark.parametrize("path", in_core("testing"), ids=lambda path: str(path.relative_to(CORE)))
def test_nobody_in_the_core_imports_the_conformance_kit(path: Path) -> None:
    assert under(imports(path), "kitt_core.testing", "pytest", "hypothesis") == set()


@pytest.mark.parametrize("path", in_core("cli", "__main__.py"), ids=lambda path: str(path.relative_to(CORE)))
def test_nobody_in_the_core_imports_the_command_line(path: Path) -> None:
    assert under(imports(path), "kitt_core.cli", "click", "rich") == set()


@pytest.mark.parametrize(
    "path", in_core("cli", "service", "__main__.py"), ids=lambda path: str(path.relative_to(CORE))
)
def test_only_the_command_line_imports_the_service(path: Path) -> None:
    used = {name for name in under(imports(path), "kitt_core.service") if _is_module(name)}
    assert used == set()


def test_the_inner_rooms_know_nothing_of_the_outer_ones() -> None:
    inner = {
        "errors": (),
        "timestamps": (),
        "identity": ("errors",),
        "model": (),
        "codec": ("errors",),
        "rows": ("codec", "errors", "model", "timestamps"),
        "query": ("codec", "errors", "rows", "timestamps"),
        "aggregation": ("query",),
        "fallbacks": ("aggregation", "codec", "errors", "model", "query", "rows", "timestamps"),
        "verification": ("codec", "errors", "model", "rows"),
        "registry": ("errors",),
        "options": ("errors", "query"),
        "checking": ("codec", "errors", "identity", "model", "rows", "timestamps"),
        "storage": ("checking", "codec", "errors", "fallbacks", "model", "query", "verification"),
        "backend": ("options", "storage"),
        "hookspecs": (),
    }  # fmt: skip
    for module, allowed in inner.items():
        used = {name.split(".")[1] for name in imports(CORE / f"{module}.py") if name.startswith("kitt_core.")}
        assert used <= set(allowed), module


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
def test_a_plugin_uses_public_names_of_the_core(package: Path) -> None:
    for path in modules(package):
        names = {name for name in imports(path) if name.startswith("kitt_core.")}
        assert {name for name in names if any(part.startswith("_") for part in name.split("."))} == set(), path
        inner = under(names, "kitt_core.testing", "kitt_core.cli", "kitt_core.service")
        if path.parent.name == COMMANDS:
            inner -= under(names, *COMMANDS_MAY_USE)
        assert inner == set(), path


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


@pytest.mark.parametrize("path", [*modules(CORE), *(p for package in PLUGINS for p in modules(package))], ids=str)
def test_a_module_is_named_after_its_noun(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES


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
