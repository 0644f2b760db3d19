"""Run a suite on an engine and store the result.

What was measured must not be lost: it is written to ``kitt-results/`` before the store is called, and if even that
fails, to a file of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import Factory, evolve, field, frozen

from kitt_core import __version__, rundir
from kitt_core.benchmarking.outputs import OutputWriter
from kitt_core.benchmarking.runner import RunOptions, RunProgress, SuiteRun, build_document, encode, run_suite
from kitt_core.benchmarking.suites import Suite
from kitt_core.engine import EngineSession
from kitt_core.errors import (
    ConfigurationError,
    EngineError,
    InvalidDocumentError,
    KittError,
    StoreUnavailableError,
)
from kitt_core.files import obstacle
from kitt_core.plugins.loading import PluginManager
from kitt_core.runs.checking import check_run
from kitt_core.runs.ids import new_run_id
from kitt_core.runs.model import Attachment, CheckedRun, SchemaState
from kitt_core.runs.rows import derive_rows
from kitt_core.service.run.engine_choice import EngineSelection
from kitt_core.service.run.signals import Interruptions
from kitt_core.service.run.unsaved import import_hint, reason_and_hint, reason_of, unsaved_error, write_rescue_file
from kitt_core.storage.contract import Capability, ResultStore

__all__ = ["FinishedRun", "RunCopy", "RunPlan", "check_places", "perform"]

logger = logging.getLogger(__name__)

_CLOSE_SECONDS: Final = 10


@frozen
class RunPlan:
    """What to measure, and where its files go.

    Attributes:
        engine: The engine with its options.
        suite: The benchmarks.
        system_info: Returns the machine's fingerprint. Called only when the engine is open: reading the hardware
            may take long, and a server that can't be reached should be reported at once.
        results_dir: The tree of run directories.
        options: The user's changes to the suite.
        labels: The user's labels.
        engine_name: The inference engine, if the user says which it is.
    """

    engine: EngineSelection
    suite: Suite
    system_info: Callable[[], Mapping[str, Any]] = field(repr=False)
    results_dir: Path
    options: RunOptions = Factory(RunOptions)
    labels: Mapping[str, str] = Factory(dict)
    engine_name: str | None = None


@frozen
class RunCopy:
    """The outcome of saving a run to a second store.

    Attributes:
        location: That store, for people.
        refusal: Why it did not take the run, None if it did.
        hint: How to fix that, if it is known.
    """

    location: str
    refusal: str | None = None
    hint: str | None = None


@frozen
class FinishedRun:
    """A run that is stored.

    Attributes:
        run: The run as it was stored.
        measured: The suite's results.
        location: The store, for people.
        directory: The run's directory.
        copy: The outcome for the second store, if there was one.
        interrupted: Whether a signal came, even if only after everything was measured.
    """

    run: CheckedRun
    measured: SuiteRun = field(repr=False)
    location: str
    directory: Path
    copy: RunCopy | None = None
    interrupted: bool = False


@frozen
class _Measured:
    suite: SuiteRun
    model: str
    engine: str
    engine_info: dict[str, Any]
    system_info: Mapping[str, Any]


def perform(
    plan: RunPlan,
    store: ResultStore,
    plugins: PluginManager,
    *,
    second: ResultStore | None = None,
    on_progress: Callable[[RunProgress], None] | None = None,
) -> FinishedRun:
    """Run the suite, write the run's directory, store the run and notify the listeners.

    Must not be called inside a running event loop. A signal after the first answered request ends the measurement;
    what was measured by then is stored, and further signals wait for that. Outside the main thread, signals are
    not handled.

    Args:
        plan: What to measure.
        store: Where to store it.
        plugins: Provides the listeners.
        second: Another store to save the run to. If it refuses, the run is stored nevertheless, and the result
            says so.
        on_progress: Called with the suite's progress.

    Raises:
        EngineError: The engine cannot be used; nothing was measured and nothing is stored.
        KeyboardInterrupt: Interrupted before a request was answered, or while a store did not answer; then a
            warning says where the run is.
        ConfigurationError: A label or the engine's name can't be stored; nothing was measured.
        InvalidDocumentError: The engine returned values that no store takes; the hint says where the document is.
        StoreUnavailableError: The store or the directory cannot be used. If something was measured by then,
            the message says where it is and the hint how to import it.
        SchemaError: The store's schema does not fit; nothing was measured.
    """
    _check_names(plan)
    check_places(store, plan.results_dir)
    if second is not None:
        check_places(second, plan.results_dir)
    with Interruptions() as interruptions, _scratch() as scratch:
        with OutputWriter(scratch) as outputs:
            measured = interruptions.measure(_measure(plan, on_progress, outputs))
            measured, attachments = _with_outputs(measured, outputs)
        run = _checked(_document(plan, measured), attachments)
        directory = _keep(run, store, plan.results_dir, interruptions)
        copy = None if second is None else _copied(run, second, interruptions)
        _announce(run, store, plugins, interruptions)
    return FinishedRun(
        run,
        measured.suite,
        store.location,
        directory,
        copy,
        measured.suite.interrupted or interruptions.received > 0,
    )


def _announce(run: CheckedRun, store: ResultStore, plugins: PluginManager, interruptions: Interruptions) -> None:
    """Notify the listeners; a user who interrupts a slow one must still be told where the run is."""
    try:
        with interruptions.escapable():
            plugins.announce_saved(evolve(run, attachments=()), store.location)
    except KeyboardInterrupt:
        logger.warning("a listener was interrupted; the run is stored")


@contextmanager
def _scratch() -> Iterator[Path]:
    """Provide a temporary directory for the samples."""
    try:
        made = tempfile.TemporaryDirectory(prefix="kitt-run-", ignore_cleanup_errors=True)
    except OSError as error:
        raise StoreUnavailableError(
            f"no temporary directory can be created: {error.strerror or error}",
            hint="free some space or set TMPDIR",
        ) from error
    with made as name:
        yield Path(name)


def _check_names(plan: RunPlan) -> None:
    """Refuse what no row can hold, which a store would refuse after everything was measured."""
    try:
        derive_rows({"model": "-", "engine": plan.engine_name or "-", "labels": plan.labels})
    except InvalidDocumentError as error:
        raise ConfigurationError(f"the run could not be stored: {error.message}", hint=error.hint) from error


def check_places(store: ResultStore, results_dir: Path) -> None:
    """Check whether a run can be stored, before time is spent on measuring it; changes nothing itself.

    Raises:
        StoreUnavailableError: The store cannot be used, or ``results_dir`` cannot be written to.
        SchemaError: The schema does not fit.
    """
    status = store.schema_status()
    # A read may create a database, which the first save would create anyway. What a save refuses, a read refuses.
    if status.state is SchemaState.CURRENT or not store.prepares_itself(status):
        store.get_document(new_run_id())
    if status.state is SchemaState.FOREIGN:  # it can be read, but contains nothing of KITT's
        what = "; ".join(status.notes) or "is not a store of KITT"
        raise StoreUnavailableError(f"{store.location} {what}", hint="name another store")
    store.check_writable()
    problem = obstacle(results_dir, directory=True)
    if problem is not None:
        raise StoreUnavailableError(
            f"results cannot be written to {results_dir}: {problem[0]}",
            hint="name another directory with --results-dir",
        )


async def _measure(
    plan: RunPlan, on_progress: Callable[[RunProgress], None] | None, outputs: OutputWriter
) -> _Measured:
    engine = plan.engine.engine
    try:
        session = await engine.open(plan.engine.options)
        try:
            system_info = plan.system_info()
            suite = await run_suite(
                session,
                plan.suite,
                options=plan.options,
                on_progress=on_progress,
                outputs=outputs,
                salt=secrets.token_hex(4),
            )
            return _Measured(
                suite,
                _model_of(session, engine.name),
                plan.engine_name or _inference_engine_of(session) or engine.name,
                _described(session.describe, engine.name),
                system_info,
            )
        finally:
            await _close(session, engine.name)
    except KittError:
        raise
    except (Exception, SystemExit) as error:  # an engine is third-party code
        raise EngineError(
            f"engine {engine.name} failed: {reason_of(error)}", hint="KITT_DEBUG=1 shows the traceback"
        ) from error


async def _close(session: EngineSession, name: str) -> None:
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await session.aclose()
    except TimeoutError:
        logger.warning("engine %s did not close within %d s", name, _CLOSE_SECONDS)
    except (asyncio.CancelledError, KeyboardInterrupt):
        logger.warning("engine %s was interrupted while it closed", name)
    except Exception as error:  # noqa: BLE001 - the results matter more than a clean shutdown
        logger.warning("engine %s did not close: %s", name, reason_of(error))


def _model_of(session: EngineSession, name: str) -> str:
    model = getattr(session, "model", None)
    if isinstance(model, str):
        return model
    logger.warning("engine %s gives its model as %s, expected text", name, type(model).__name__)
    return "" if model is None else str(model)


def _inference_engine_of(session: EngineSession) -> str | None:
    name = getattr(session, "inference_engine", None)
    return name.strip() or None if isinstance(name, str) else None


def _described(describe: Callable[[], Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Return what the session says about itself; nothing that it says may fail the run."""
    try:
        facts: dict[str, Any] = json.loads(json.dumps(dict(describe()), default=str))
        check_run({"model": "", "engine": name, "engine_info": facts})
    except Exception as error:  # noqa: BLE001 - an engine is third-party code
        logger.warning("engine %s cannot describe itself: %s", name, reason_of(error))
        return {"name": name}
    return {"name": name} | facts


def _with_outputs(measured: _Measured, outputs: OutputWriter) -> tuple[_Measured, list[Attachment]]:
    """Close the outputs and return them; if they are incomplete, the run says so."""
    try:
        return measured, outputs.close()
    except StoreUnavailableError as error:
        logger.warning("%s; the run is stored without them", error.message)
        return evolve(measured, suite=evolve(measured.suite, outputs_incomplete=error.message)), outputs.close()


def _document(plan: RunPlan, measured: _Measured) -> dict[str, Any]:
    return build_document(
        measured.suite,
        kitt_version=__version__,
        engine=measured.engine,
        model=measured.model,
        engine_info=measured.engine_info,
        system_info=measured.system_info,
        labels=plan.labels,
        config={
            **({"engine_name": plan.engine_name} if plan.engine_name else {}),
            "engine_options": plan.engine.shown_options(),
        },
    )


def _checked(document: dict[str, Any], attachments: list[Attachment]) -> CheckedRun:
    """Return the run as stores take it; a document that they don't take is kept in a file.

    Raises:
        InvalidDocumentError: A value from the engine cannot be stored; the hint names the file.
        StoreUnavailableError: The same, and there is no room for the file.
    """
    run_id = new_run_id()
    try:
        return check_run(encode(document), run_id=run_id, attachments=attachments)
    except (TypeError, ValueError, RecursionError) as error:
        reason = reason_and_hint(error)[0]
        try:
            written = json.dumps(document, indent=2, default=str).encode("ascii") + b"\n"
            place = write_rescue_file(run_id, written)
        except OSError as full:
            raise unsaved_error(reason, full) from error
        raise InvalidDocumentError(
            f"the run was measured but cannot be stored: {reason}",
            hint=f"its document is in {place}; {import_hint(place)} once that is corrected",
        ) from error


def _keep(run: CheckedRun, store: ResultStore, results_dir: Path, interruptions: Interruptions) -> Path:
    """Write the run's files and store it; whatever fails, the run is kept somewhere and the error says where."""
    if _is_tree(store, results_dir):
        _save(run, store, lambda: write_rescue_file(run.id, run.document))
        found = rundir.locate(results_dir, {run.id}, trust_names=True)
        return results_dir if found is None else found[1].directory
    try:
        directory = rundir.write_run(results_dir, run)
    except KittError as error:
        _save(run, store, lambda: write_rescue_file(run.id, run.document))
        raise StoreUnavailableError(
            f"run {run.id} is in {store.location}, but its files could not be written: {error.message}",
            hint=error.hint,
        ) from error
    try:
        with interruptions.escapable():
            _save(run, store, lambda: directory)
    except KeyboardInterrupt:
        logger.warning("%s has not stored the run yet; %s", store.location, import_hint(directory))
        raise
    return directory


def _is_tree(store: ResultStore, results_dir: Path) -> bool:
    return store.run_tree is not None and store.run_tree.resolve() == results_dir.resolve()


def _copied(run: CheckedRun, second: ResultStore, interruptions: Interruptions) -> RunCopy:
    """Save the run to the second store; it is safe in the first, so nothing is raised."""
    try:
        with interruptions.escapable():
            _hand_over(run, second)
    except KeyboardInterrupt:
        return RunCopy(second.location, "interrupted")
    except Exception as error:  # noqa: BLE001 - as in `_save`
        return RunCopy(second.location, *reason_and_hint(error))
    return RunCopy(second.location)


def _hand_over(run: CheckedRun, store: ResultStore) -> None:
    keeps_files = Capability.ATTACHMENTS in store.capabilities
    store.save_checked([run if keeps_files else evolve(run, attachments=())])


def _save(run: CheckedRun, store: ResultStore, place: Callable[[], Path]) -> None:
    """Store the run; if that fails, the error names the command that imports ``place`` later."""
    try:
        _hand_over(run, store)
    except Exception as error:  # whatever a store raises, the user must be told where the run is
        reason, hint = reason_and_hint(error)
        try:
            later = import_hint(place())
        except OSError as full:
            raise unsaved_error(reason, full) from error
        raise StoreUnavailableError(
            f"the run was measured but is not stored: {reason}", hint=later + (f"; {hint}" if hint else "")
        ) from error
