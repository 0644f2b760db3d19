from __future__ import annotations

import math

import pytest

from kitt_core.presentation import code_span, escape_markdown, number, one_line


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"), (1.0, "1"), (1.23456, "1.235"), (99.999, "100.0"), (123.456, "123.5"), (12345.678, "12346"),
        (0.012345, "0.01235"), (0.000012345, "1.234e-05"), (-2.5, "-2.500"), (123456789, "123456789"),
        (1e20, "1e+20"), (math.inf, "inf"), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_numbers_for_people(value: float, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\r\n b\tc", "a b c"),
        ("a\x00\u202e\ud800b", "a b"),
        (" ", ""),
        ("x" * 500, "x" * 199 + "…"),
        ("é " * 3, "é é é"),
    ],
)
def test_one_line_is_visible_and_short(text: str, line: str) -> None:
    assert one_line(text) == line


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("avg_tps", "avg_tps"),
        ("_x_", r"\_x\_"),
        ("a|b **c**", r"a\|b \*\*c\*\*"),
        ("[x](y) `z` ~~w~~", r"\[x\](y) \`z\` \~\~w\~\~"),
        ("<b> &amp; ![i] $x$", r"\<b\> \&amp; \!\[i\] \$x\$"),
        ("a\\b", r"a\\b"),
        ("# a", r"\# a"),
        ("- a", r"\- a"),
        ("-1.5 - x", "-1.5 - x"),
        ("12. a", r"12\. a"),
        ("1) a", r"1\) a"),
        ("1.5 a", "1.5 a"),
    ],
)
def test_markdown_shows_the_text_as_it_is(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped


@pytest.mark.parametrize(
    ("text", "span"), [("a*b", "`a*b`"), ("a`b", "``a`b``"), ("`a``", "``` `a`` ```"), (r"a|b\|c", r"`a\|b\\\|c`")]
)
def test_a_code_span_ends_where_the_text_does(text: str, span: str) -> None:
    assert code_span(text) == span
