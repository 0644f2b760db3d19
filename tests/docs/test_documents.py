"""docs/documents.md."""

from __future__ import annotations

import pytest

from kitt_core.errors import InvalidDocumentError
from kitt_core.runs import check_run, codec

from .pages import blocks, rows, sections, spans, text_of


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
