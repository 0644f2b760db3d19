from __future__ import annotations

import enum
import json
import math
import sys
import types
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitt_core.errors import InvalidDocumentError
from kitt_core.runs import codec
from kitt_core.testing.documents import nested


@pytest.mark.parametrize("data", [b"{}", b"\xff\x00", b"", bytearray(b"{}"), memoryview(b"{}")])
def test_bytes_pass_encode_unchanged(data: Any) -> None:
    encoded = codec.encode(data)
    assert type(encoded) is bytes
    assert encoded == bytes(data)


def test_text_is_encoded_as_utf_8() -> None:
    assert codec.encode('{"é": "🦙"}') == '{"é": "🦙"}'.encode()


def test_any_mapping_is_serialised() -> None:
    inner = types.MappingProxyType({"x": 1})
    assert json.loads(codec.encode(types.MappingProxyType({"a": inner, "b": (1, 2)}))) == {
        "a": {"x": 1},
        "b": [1, 2],
    }


@pytest.mark.parametrize(
    ("mapping", "path"),
    [
        ({"a": [1, {"b": object()}]}, "$.a[1].b is a object"),
        ({"a": {2: "x"}}, "a key of $.a is 2"),
        ({None: 1}, "a key of $ is null"),
        ({"a": [{1.5: 2}]}, "a key of $.a[0] is 1.5"),
        ({"a": Decimal("1.5")}, "$.a is 1.5"),
        ({"a": {1, 2}}, "$.a is a set"),
    ],
)
def test_what_json_cannot_express_is_named(mapping: dict[Any, Any], path: str) -> None:
    with pytest.raises(InvalidDocumentError) as caught:
        codec.encode(mapping)
    assert path in caught.value.message


@pytest.mark.parametrize("thing", [None, 1, [], [{}], (b"{}",), object()])
def test_other_types_are_no_document(thing: Any) -> None:
    with pytest.raises(InvalidDocumentError, match=type(thing).__name__):
        codec.encode(thing)


def test_of_duplicate_keys_the_last_counts() -> None:
    assert codec.parse(b'{"a": 1, "a": {"b": 2, "b": 3}}') == {"a": {"b": 3}}


def test_non_finite_numbers_are_read() -> None:
    parsed = codec.parse(b'{"a": NaN, "b": Infinity, "c": -Infinity, "d": 1e400, "e": -1e400}')
    assert math.isnan(parsed.pop("a"))
    assert parsed == {"b": math.inf, "c": -math.inf, "d": math.inf, "e": -math.inf}


def test_integers_of_any_length_are_read_without_changing_the_interpreter() -> None:
    limit = sys.get_int_max_str_digits()
    longest, longer = "9" * limit, "9" * (limit + 1)
    parsed = codec.parse(f'{{"a": {longest}, "b": {longer}, "c": -{longest}, "d": -{longer}, "e": 1}}'.encode())
    assert (type(parsed["a"]), type(parsed["c"]), type(parsed["e"])) == (int, int, int)
    assert parsed["b"] == Decimal(longer)
    assert parsed["d"] == Decimal("-" + longer)
    assert sys.get_int_max_str_digits() == limit


@pytest.mark.parametrize("objects", [False, True])
def test_256_levels_are_read_and_257_are_not(objects: bool) -> None:
    assert codec.parse(nested(256, objects=objects))["model"] == "deep"
    with pytest.raises(InvalidDocumentError, match="deeper than 256 levels at byte"):
        codec.parse(nested(257, objects=objects))


def test_brackets_in_text_are_no_depth() -> None:
    text = "[{" * 1000 + '\\"[' + "\\\\"
    assert codec.parse(f'{{"a": "{text}", "{"[" * 300}": []}}'.encode())["a"].startswith("[{")
    assert codec.parse(b'{"a": [' + b"[]," * 1000 + b"{}]}")["a"][-1] == {}


def test_a_deep_document_after_tricky_text_is_still_counted() -> None:
    with pytest.raises(InvalidDocumentError, match="deeper than 256"):
        codec.parse(b'{"a": "\\\\", "b": "\\"", "c": ' + b"[" * 300 + b"]" * 300 + b"}")


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (b"{}", 1),
        (b'{"a": [1, 2, 3.5, null, true]}', 3),
        (b'{"a": [[], {}, "b", {"c": "[[{{"}]}', 9),
        (b'{"\\"\\\\": "\\"[\\""}', 3),
        (b'{"a":[' + b"[]," * 1000 + b"{}]}", 1004),
    ],
)
def test_parts_are_texts_arrays_and_objects(data: bytes, parts: int) -> None:
    assert codec.parse(data, most_parts=parts) == json.loads(data)
    with pytest.raises(codec.TooManyPartsError, match=f"more than {parts - 1} texts") as caught:
        codec.parse(data, most_parts=parts - 1)
    assert codec.parse(data, most_parts=caught.value.possible) == json.loads(data)


def test_parts_are_counted_before_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_loads", lambda text: pytest.fail("it was parsed"))
    with pytest.raises(codec.TooManyPartsError):
        codec.parse(b'{"a":[' + b"[]," * 100_000 + b"0]}", most_parts=1000)


def test_depth_is_counted_before_parsing() -> None:
    with pytest.raises(InvalidDocumentError, match="deeper than 256"):
        codec.parse(b'{"a":' * 200_000)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not JSON"),
        (b"\xef\xbb\xbf", "not JSON"),
        (b"\xef\xbb\xbf\xef\xbb\xbf{}", "not JSON"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "UTF-8"),
        ('{"a": 1}'.encode("utf-16-be"), "UTF-16 or UTF-32"),
        ('{"a": 1}'.encode("utf-32-le"), "UTF-16 or UTF-32"),
        (b'{"a": "\n"}', "not JSON: Invalid control character at line 1 column 8, expected"),
        (b'{"a": "b', "not JSON: Unterminated string starting at line 1 column 7, expected"),
        (b"[1]", "$ is an array of 1, expected an object"),
        (b'"text"', '$ is "text", expected an object'),
        (b"null", "$ is null, expected an object"),
        (b"NaN", "$ is NaN, expected an object"),
    ],
)
def test_what_is_no_object_in_utf_8_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(InvalidDocumentError) as caught:
        codec.parse(data)
    assert what in caught.value.message
    assert caught.value.message.startswith("$")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "an empty object"),
        ({"a": 1}, "an object"),
        ([1, 2], "an array of 2"),
        ("é\n", '"\\u00e9\\n"'),
        ("x" * 100, '"' + "x" * 60 + '…"'),
        (None, "null"),
        (True, "true"),
        (1.50, "1.5"),
        (math.nan, "NaN"),
        (2**70, str(2**70)),
        (10**4000, "an integer of 13288 bits"),
        (Decimal("9" * 5000), "an integer of 5000 digits"),
        (b"x", "a bytes"),
    ],
)
def test_shown_is_short_and_one_line(value: object, text: str) -> None:
    assert codec.shown(value) == text


def test_integers_of_any_length_are_written_as_they_were_read() -> None:
    digits = "9" * 5000
    data = f'{{"a":{digits},"b":[-{digits},1,"text"],"c":{{"d":1.5}}}}'.encode()
    assert codec.encode(codec.parse(data)) == data
    assert codec.encode({"a": 10**5000}) == b'{"a":1' + b"0" * 5000 + b"}"


_NUMBERS = st.one_of(
    st.floats(),
    st.integers(),
    st.sampled_from(
        [1e16, 9999999999999998.0, 1e-4, 9.9e-5, 1e-5, 5e-324, 1.5e300, -0.0, 2**63, 2**64, -(2**63) - 1]
    ),
)
_DOCUMENTS = st.dictionaries(
    st.text(),
    st.recursive(
        st.one_of(
            _NUMBERS, st.text(), st.none(), st.booleans(), st.sampled_from(["1e5", "null", "\ud800", "NaN"])
        ),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
)


@given(_DOCUMENTS)
def test_a_mapping_becomes_the_same_bytes_whichever_library_writes_it(document: dict[str, Any]) -> None:
    try:
        expected = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        expected = json.dumps(document, separators=(",", ":")).encode()
    assert codec.encode(document) == expected


def test_a_mapping_that_contains_itself_is_refused() -> None:
    document: dict[str, Any] = {}
    document["a"] = [document]
    with pytest.raises(InvalidDocumentError, match="cannot express"):
        codec.encode(document)


@pytest.mark.parametrize("part", [b"{}", b"[]", b'""', b'{"a":""}'])
def test_a_document_of_very_many_tiny_parts_is_refused_before_it_is_parsed(
    monkeypatch: pytest.MonkeyPatch, part: bytes
) -> None:
    monkeypatch.setattr(codec, "MAX_PARTS", 1000)
    data = b'{"x":[' + part + (b"," + part) * 2000 + b"]}"
    with pytest.raises(InvalidDocumentError, match="more than 1000 texts, arrays and objects"):
        codec.encode_and_parse(data)
    with pytest.raises(InvalidDocumentError, match="more than 1000 texts, arrays and objects"):
        codec.encode_and_parse(codec.parse(data))
    assert codec.encode_and_parse(data, strict=False)[1] == codec.parse(data)
    long = b'{"x":[' + b",".join([b'"' + b"y" * 40 + b'"'] * 2000) + b"]}"
    assert codec.encode_and_parse(long)[0] == long


def test_uuids_and_members_of_enumerations_are_the_same_whichever_library_writes_them() -> None:
    class Colour(enum.Enum):
        RED = "red"

    class Level(enum.IntEnum):
        HIGH = 3

    class Name(enum.StrEnum):
        ANN = "ann"

    given = {"id": uuid.UUID(int=7), "colour": Colour.RED, "level": Level.HIGH, "names": [Name.ANN, (Colour.RED,)]}
    plain = {"id": str(uuid.UUID(int=7)), "colour": "red", "level": 3, "names": ["ann", ["red"]]}
    for more in ({}, {"x": math.inf}):
        assert codec.encode(given | more) == codec.encode(plain | more)
        assert codec.encode_and_parse(given | more)[1] == plain | more
