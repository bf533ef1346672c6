"""The filter language of subscriptions, by https://cloud.google.com/pubsub/docs/subscription-message-filter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.google.pubsub.filters import FilterError, parse

ATTRIBUTES = {
    "domain": "com",
    "iana.org/language_tag": "en",
    "ce-type": "dev.created",
    "みんな": "x",
    "quote": 'a"b\\c',
}


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", True),
        ("attributes:domain", True),
        ("attributes:missing", False),
        ('attributes.domain = "com"', True),
        ('attributes.domain="org"', False),
        ('attributes.domain != "com"', False),
        ('attributes.domain != "org"', True),
        ('attributes.missing != "org"', True),
        ('attributes.ce-type = "dev.created"', True),
        ('attributes."iana.org/language_tag" = "en"', True),
        ('attributes:"\\u307F\\u3093\\u306A"', True),
        ('attributes.quote = "a\\"b\\\\c"', True),
        ('attributes.domain = "\\x63\\157m"', True),
        ('hasPrefix(attributes.domain, "co")', True),
        ('hasPrefix(attributes.domain, "om")', False),
        ('hasPrefix(attributes.missing, "")', False),
        ("NOT attributes:domain", False),
        ("-attributes:missing", True),
        ('NOT hasPrefix(attributes.domain, "or")', True),
        ("attributes:domain AND attributes:missing", False),
        ("attributes:domain OR attributes:missing", True),
        ("NOT attributes:missing AND attributes:domain", True),
        ("(attributes:missing OR attributes:domain) AND NOT attributes:other", True),
        ("NOT (attributes:domain OR attributes:missing)", False),
        ("  attributes:domain  ", True),
    ],
)
def test_a_filter_passes_what_it_describes(text: str, passes: bool) -> None:
    assert parse(text)(ATTRIBUTES) is passes


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "attributes",
        "attributes:",
        "attributes.domain",
        "attributes.domain = com",
        'attributes.domain > "com"',
        "attributes:domain and attributes:other",
        "attributes:domain attributes:other",
        "attributes:domain AND",
        "attributes:a AND attributes:b OR attributes:c",
        "(attributes:domain",
        "attributes:domain)",
        'hasPrefix(attributes.domain "co")',
        'hasPrefix(attributes:domain, "co")',
        'attributes.domain = "open',
        "attributes.iana.org/language_tag:en",
        f'attributes.domain = "{"x" * 256}"',
    ],
)
def test_what_is_not_a_filter_is_refused(text: str) -> None:
    with pytest.raises(FilterError):
        parse(text)


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_is_refused(text: str) -> None:
    try:
        passes = parse(text)
    except FilterError:
        return
    assert passes(ATTRIBUTES) in (True, False)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=20))
def test_every_value_can_be_written_as_a_literal(value: str) -> None:
    literal = value.replace("\\", "\\\\").replace('"', '\\"')
    assert parse(f'attributes.key = "{literal}"')({"key": value})
