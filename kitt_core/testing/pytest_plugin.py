"""The pytest plugin of the conformance kit; the entry point ``kitt`` of group ``pytest11`` loads it.

It does nothing if no test of the kit is collected, and imports nothing but pytest when it is loaded.

**Report.** After collection a line names each class that is under a contract, and the contract's version. At the
end, each store is listed with the capabilities that it declared and the results of its tests.

**Long tests.** Tests of the kit that are marked ``long`` take minutes. They are left out unless ``-m`` names the
marker: ``pytest -m long``.

**Provisional tests.** A test that joins a contract in release X.Y is marked ``kitt_provisional(since="X.Y")``.
With ``kitt-core`` X.Y its failure is reported as *xfailed*, with the reason, and does not fail the test run:
authors of plugins have one minor release to follow. From the next minor release on it is binding like any other
test: its marker is removed and ``CONTRACT_VERSION`` is incremented. An error in a fixture is always an error.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Sequence
from typing import Any, Final

import pytest

__all__ = ["is_binding"]

_KIT: Final = "kitt_core.testing."
_PROVISIONAL: Final = "kitt_provisional"
_PROPERTY: Final = "kitt_store"
_MARKERS: Final = (
    f'{_PROVISIONAL}(since="X.Y"): a contract test that is new in release X.Y; binding from the next minor one on',
    "long: takes minutes; run only with `-m long`",
)


def is_binding(since: str, version: str) -> bool:
    """Whether a test that became provisional in release ``since`` is binding in kitt-core ``version``."""
    return _minor(version) > _minor(since)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers and the report."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    config.pluginmanager.register(_Report(), "kitt-report")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the kit's long tests unless they are requested."""
    if re.search(r"\blong\b", config.option.markexpr):
        return
    long = [item for item in items if item.get_closest_marker("long") and _is_of_the_kit(item)]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Record which store a contract test got."""
    made = yield
    if fixturedef.argname == "store" and isinstance(request.node, pytest.Item) and _is_of_the_kit(request.node):
        capabilities = " ".join(sorted(getattr(made, "capabilities", ()))) or "no capabilities"
        request.node.user_properties.append((_PROPERTY, f"{type(made).__name__}: {capabilities}"))
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report the failure of a provisional test as expected until it is binding."""
    report = yield
    marker = item.get_closest_marker(_PROVISIONAL)
    if marker is not None and report.when == "call" and report.failed:
        from kitt_core import __version__

        since = str(marker.kwargs["since"])
        if not is_binding(since, __version__):
            report.outcome = "skipped"
            report.wasxfail = f"provisional since {since}; binding from the next minor release"
    return report


class _Report:
    """The report on the kit's tests; with pytest-xdist the controller writes it."""

    def __init__(self) -> None:
        self._outcomes: dict[str, Counter[str]] = {}

    def pytest_report_collectionfinish(self, items: Sequence[pytest.Item]) -> list[str]:
        """Name the classes under contract."""
        contracts = {
            item.cls.__name__: contract
            for item in items
            if isinstance(item, pytest.Function) and item.cls is not None and (contract := _contract_of(item.cls))
        }
        names = ", ".join(f"{name} ({contract})" for name, contract in contracts.items())
        return [f"kitt contract version {_contract_version()}: {names}"] if names else []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count the outcome of a test."""
        if report.when != "call" and report.outcome == "passed":
            return
        for name, store in report.user_properties:
            if name == _PROPERTY:
                outcome = "provisionally failed" if hasattr(report, "wasxfail") else report.outcome
                self._outcomes.setdefault(str(store), Counter())[outcome] += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """List the stores, the capabilities they declared and the outcomes of their tests."""
        if not self._outcomes:
            return
        terminalreporter.section(f"kitt contract version {_contract_version()}")
        for store, outcomes in sorted(self._outcomes.items()):
            counts = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
            terminalreporter.write_line(f"{store}: {counts}")


def _is_of_the_kit(item: pytest.Item) -> bool:
    return str(getattr(getattr(item, "function", None), "__module__", "")).startswith(_KIT)


def _contract_of(cls: type[Any]) -> str | None:
    """Return the name of the contract that a class is under."""
    tested = getattr(cls, "machine", cls)
    return next((base.__name__ for base in tested.__mro__ if base.__module__.startswith(_KIT)), None)


def _contract_version() -> int:
    from kitt_core.testing import CONTRACT_VERSION

    return CONTRACT_VERSION


def _minor(version: str) -> tuple[int, ...]:
    match = re.match(r"(\d+)\.(\d+)", version)
    if match is None:
        raise ValueError(f"{version!r} is not a version, expected something like 0.2")
    return tuple(map(int, match.groups()))
