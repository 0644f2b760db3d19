"""docs/tutorial-storage-plugin.md, followed word for word from an empty directory: every block is used."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial-storage-plugin.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# (\S+\.\w+)(?:, in (\w+))?\n")
FAILING = "  # one test fails"


class Newcomer:
    """Does what the page says, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.site = directory / "site"
        self.work = directory / "kitt-lines"
        self.said = ""
        self.ran: list[str] = []
        self.work.mkdir()
        self.site.mkdir()
        # Forcing every file to the disk would take most of the time, and shows nothing here.
        (self.site / "without_fsync.py").write_text("import os\nos.fsync = lambda file: None\n", encoding="utf-8")

    def write(self, text: str) -> None:
        """Make a file, or change the class in it that the block names."""
        header = FILE.match(text)
        assert header, f"a block has no file name: {text[:80]}"
        path = self.work / header[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        changed = text if header[2] is None else in_class(path.read_text(encoding="utf-8"), header[2], text)
        path.write_text(changed, encoding="utf-8")

    def call(self, line: str) -> None:
        """Run a line of a shell; what it says is kept."""
        self.ran.append(line)
        if "pip install" in line:
            self.install()
            return
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self.work,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=600,
        )
        self.said += done.stdout
        assert (done.returncode != 0) == line.endswith(FAILING), f"{line}\n{done.stdout[-3000:]}"

    def environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("KITT_", "PYTEST_", "COV_"))
        }
        return kept | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            # The directory first: the page installs it in such a way that changes of a file count.
            "PYTHONPATH": os.pathsep.join([str(self.work), str(self.site)]),
            "PYTEST_ADDOPTS": "-p without_fsync",
            "KITT_HOME": str(self.work.parent / "home"),
            "COLUMNS": "200",
        }

    def install(self) -> None:
        """Install into a directory instead of the environment that all tests share."""
        if importlib.util.find_spec("hatchling") is not None and importlib.util.find_spec("pip") is not None:
            options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
            command = [
                sys.executable,
                "-m",
                "pip",
                "install",
                *options,
                "--target",
                str(self.site),
                str(self.work),
            ]
            done = subprocess.run(command, cwd=self.work, capture_output=True, text=True, encoding="utf-8")
            assert done.returncode == 0, done.stderr
            return
        project = tomllib.loads((self.work / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        info = self.site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir()
        facts = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (info / "METADATA").write_text(facts, encoding="utf-8")
        lines = [
            line
            for group, entries in project["entry-points"].items()
            for line in (f"[{group}]", *(f"{name} = {module}" for name, module in entries.items()))
        ]
        (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")

    def expect(self, text: str) -> None:
        """Compare the lines of an output with what was said since the last one; ``…`` is anything."""
        for line in text.splitlines():
            pattern = ".*".join(re.escape(part) for part in line.split("…"))
            assert re.search(pattern, self.said), f"{line!r} is not in\n{self.said[-3000:]}"
        self.said = ""


def in_class(source: str, name: str, fragment: str) -> str:
    """Return a module with the imports of a fragment and its methods in a class, for those of the same name."""
    lines = fragment.splitlines(keepends=True)[1:]
    imports = "".join(line for line in lines if line.startswith(("from ", "import ")))
    body = "".join(line for line in lines if not line.startswith(("from ", "import "))).strip("\n") + "\n"
    tree = ast.parse(source)
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    replaced = {node.name for node in ast.parse(textwrap.dedent(body)).body if isinstance(node, ast.FunctionDef)}
    kept = source.splitlines(keepends=True)
    for node in reversed(found.body):
        if isinstance(node, ast.FunctionDef) and node.name in replaced:
            del kept[node.lineno - 1 : node.end_lineno]
    end = max(node.end_lineno or 0 for node in tree.body if isinstance(node, ast.ImportFrom))
    return "".join(kept[:end]) + imports + "".join(kept[end:]).rstrip("\n") + "\n\n" + body


def test_the_tutorial_leads_from_an_empty_directory_to_a_plugin_that_passes(tmp_path: Path) -> None:
    newcomer = Newcomer(tmp_path)
    for language, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        match language:
            case "python" | "toml":
                newcomer.write(text)
            case "sh":
                newcomer.said = ""
                for line in text.splitlines():
                    newcomer.call(line)
            case "text":
                newcomer.expect(text)
            case other:
                raise AssertionError(f"nothing is known of a block of {other or 'no language'}")
    # Nothing is left out by the last run but the tests of what the store does not declare.
    assert newcomer.ran.count("pytest") == 1
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--collect-only"],
        cwd=newcomer.work,
        env=newcomer.environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    for test in (
        "test_contract.py::TestLines::test_",
        "test_machine.py::TestLinesMachine::test_",
        "test_store.py",
    ):
        assert test in done.stdout


SOURCE = """import os
from a import b


class C:
    def m(self):
        return 1

    def k(self):
        return 2
"""
FRAGMENT = """# f.py, in C
from c import d

    def m(self):
        return 3

    def n(self):
        return 4
"""


def test_a_fragment_replaces_a_method_and_adds_another() -> None:
    changed = in_class(SOURCE, "C", FRAGMENT)
    compile(changed, "f.py", "exec")
    assert "from a import b\nfrom c import d\n" in changed
    assert "return 1" not in changed
    assert [changed.count(f"return {n}") for n in (2, 3, 4)] == [1, 1, 1]
