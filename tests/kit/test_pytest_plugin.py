"""The kit's pytest plugin, in pytest sessions of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kitt_core
from kitt_core.testing.pytest_plugin import is_binding

pytest_plugins = ["pytester"]

STORE = """
    import pytest
    from kitt_core.storage.memory import MemoryStore
    from kitt_core.testing import StoreContract

    class Mine(MemoryStore):
        pass

    class TestMine(StoreContract):
        @pytest.fixture
        def store(self):
            with Mine() as store:
                yield store
"""
PROVISIONAL = """
    import pytest

    @pytest.mark.kitt_provisional(since="{since}")
    def test_new():
        assert {holds}, "a promise that is new"

    @pytest.mark.kitt_provisional(since="{since}")
    def test_broken(absent):
        pass
"""


def now(minor: int) -> str:
    """Return the running release, moved by some minor releases."""
    first, second = map(int, kitt_core.__version__.split(".")[:2])
    return f"{first}.{second + minor}"


@pytest.mark.parametrize(
    ("since", "version", "bound"),
    [
        ("0.2", "0.1.9", False),
        ("0.2", "0.2.0", False),
        ("0.2", "0.2.11", False),
        ("0.2", "0.3.0", True),
        ("0.9", "0.10.0", True),
        ("0.9", "1.0.0", True),
        ("1.0", "0.99", False),
    ],
)
def test_a_provisional_test_binds_at_the_next_minor_release(since: str, version: str, bound: bool) -> None:
    assert is_binding(since, version) is bound


@pytest.mark.parametrize("minor", [0, 1])
def test_the_failure_of_a_provisional_test_is_reported_and_fails_nothing(
    pytester: pytest.Pytester, minor: int
) -> None:
    pytester.makepyfile(PROVISIONAL.format(since=now(minor), holds=False))
    result = pytester.runpytest_inprocess("-rx", "-k", "new")
    result.assert_outcomes(xfailed=1, deselected=1)
    result.stdout.fnmatch_lines([f"XFAIL*provisional since {now(minor)}*"])
    assert result.ret == 0


def test_a_provisional_test_that_binds_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PROVISIONAL.format(since="0.0", holds=False))
    result = pytester.runpytest_inprocess("-k", "new")
    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(["*a promise that is new*"])


def test_a_provisional_test_that_passes_has_passed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PROVISIONAL.format(since=now(0), holds=True))
    pytester.runpytest_inprocess("-k", "new").assert_outcomes(passed=1, deselected=1)


def test_an_error_in_a_fixture_is_never_provisional(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PROVISIONAL.format(since=now(0), holds=True))
    pytester.runpytest_inprocess("-k", "broken").assert_outcomes(errors=1, deselected=1)


def test_the_report_names_class_contract_store_and_capabilities(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(STORE)
    result = pytester.runpytest_inprocess("-k", "close_may_be_called_twice or without_delete", "--strict-markers")
    result.stdout.fnmatch_lines(
        [
            "kitt contract version 1: TestMine (StoreContract)",
            "*= kitt contract version 1 =*",
            "Mine: ATOMIC_BATCH ATTACHMENTS DELETE: 1 passed, 1 skipped",
        ]
    )


def test_the_report_is_the_same_with_several_workers(pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    pytester.makepyfile(STORE)
    result = pytester.runpytest_subprocess("-n", "2", "-k", "close_may_be_called_twice or without_delete")
    result.stdout.fnmatch_lines(["Mine: ATOMIC_BATCH ATTACHMENTS DELETE: 1 passed, 1 skipped"])


def test_a_session_without_the_kit_says_and_imports_nothing_of_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys
        def test_nothing():
            loaded = {name for name in sys.modules if name.startswith("kitt_core.testing")}
            assert loaded == {"kitt_core.testing", "kitt_core.testing.pytest_plugin"}
            assert not {"hypothesis.stateful", "click", "rich", "sqlalchemy"} & set(sys.modules)
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*kitt contract*")


def test_the_kits_long_tests_run_only_when_they_are_asked_for(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kitt_core.storage.memory import MemoryStore
        from kitt_core.testing import StoreStateMachine

        class Mine(StoreStateMachine):
            persistent = False
            def open_store(self, directory):
                return MemoryStore()

        TestMine = Mine.TestCase

        @pytest.mark.long
        def test_of_somebody_else():
            pass
        """
    )
    result = pytester.runpytest_inprocess("--collect-only", "-q")
    result.stdout.fnmatch_lines(["*::test_random_operations_agree_with_the_model", "*::test_of_somebody_else"])
    result.stdout.no_fnmatch_line("*for_minutes*")
    result = pytester.runpytest_inprocess("--collect-only")
    result.stdout.fnmatch_lines(["kitt contract version 1: MineTestCase (StoreStateMachine)"])
    result = pytester.runpytest_inprocess("--collect-only", "-q", "-m", "long")
    result.stdout.fnmatch_lines(["*for_minutes", "*::test_of_somebody_else"])


def test_a_failing_assertion_of_the_kit_shows_its_values(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(STORE.replace("pass\n", "def get_document(self, run_id):\n            return b'{}'\n", 1))
    result = pytester.runpytest_subprocess("-k", "test_an_id_is_free_again")
    result.assert_outcomes(failed=1, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(["*assert b'{}' ==*"])


def test_importing_the_package_of_the_kit_needs_no_pytest() -> None:
    code = "import sys, kitt_core.testing.worker; print(*{'pytest', 'hypothesis'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
