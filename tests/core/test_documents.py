"""The kit's own documents are what they say."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from kitt_core.errors import InvalidDocumentError
from kitt_core.runs import codec, derive_rows
from kitt_core.testing import documents


def test_the_standard_document_is_of_ordinary_size() -> None:
    rows = derive_rows(codec.parse(documents.STANDARD))
    assert 20_000 < len(documents.STANDARD) < 24_000
    assert [len(benchmark.metrics) for benchmark in rows.benchmarks] == [12] * 24
    assert any("." in metric.name for metric in rows.benchmarks[0].metrics)


def test_the_documents_are_the_same_in_every_process() -> None:
    code = "import hashlib; from kitt_core.testing import documents as d;"
    code += "print(hashlib.sha256(b'\\0'.join([d.STANDARD, *d.HOSTILE.values(), *d.UNFIT.values()])).hexdigest())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert len(outputs.pop().strip()) == 64


def test_no_two_documents_are_equal() -> None:
    everything = [*documents.HOSTILE.values(), *documents.UNFIT.values()]
    assert len(set(everything)) == len(everything)


@pytest.mark.parametrize("what", documents.HOSTILE)
def test_a_hostile_document_is_accepted(what: str) -> None:
    assert derive_rows(codec.parse(documents.HOSTILE[what])).problems == ()


@pytest.mark.parametrize("what", documents.UNFIT)
def test_an_unfit_document_is_refused_strictly_and_taken_otherwise(what: str) -> None:
    document = codec.parse(documents.UNFIT[what])
    with pytest.raises(InvalidDocumentError):
        derive_rows(document)
    assert derive_rows(document, strict=False).run is not None


@pytest.mark.parametrize("case", documents.REFUSED, ids=lambda case: case.name)
def test_a_refused_document_is_refused(case: documents.Refused) -> None:
    with pytest.raises(InvalidDocumentError) as caught:
        derive_rows(codec.parse(codec.encode(case.document)))
    assert case.names in caught.value.message


def test_small_documents_have_true_totals() -> None:
    for i in range(20):
        document = documents.small(i)
        passed = sum(entry["passed"] for entry in document["results"])
        totals = [document["total_benchmarks"], document["passed_count"], document["failed_count"]]
        assert totals == [2, passed, 2 - passed]
    assert len({json.dumps(documents.small(i)) for i in range(100)}) == 100
