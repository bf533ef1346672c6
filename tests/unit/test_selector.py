"""Label selectors as in `kubectl get -l`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.values.selector import InvalidSelectorError, Selector

LABELS = {"env": "prod", "tier": "a", "empty": "", "größe": "übergroß"}


@pytest.mark.parametrize(
    ("text", "selects"),
    [
        ("", True),
        ("  ", True),
        ("env=prod", True),
        ("env==prod", True),
        (" env = prod ", True),
        ("env=dev", False),
        ("missing=x", False),
        ("env!=dev", True),
        ("env!=prod", False),
        ("missing!=x", True),
        ("env in (dev,prod)", True),
        ("env in( dev , prod )", True),
        ("env in (dev)", False),
        ("missing in (x)", False),
        ("env notin (dev)", True),
        ("env notin (dev, prod)", False),
        ("missing notin (x)", True),
        ("env", True),
        ("missing", False),
        ("!missing", True),
        ("! missing", True),
        ("!env", False),
        ("empty=", True),
        ("empty", True),
        ("empty in (,x)", True),
        ("env=", False),
        ("missing=", False),
        ("env=prod,tier=a", True),
        ("env=prod,tier=b", False),
        ("tier in (a,b),!missing,env", True),
        ("größe=übergroß", True),
    ],
)
def test_selects(text: str, selects: bool) -> None:
    assert Selector.parse(text).matches(LABELS) is selects


@pytest.mark.parametrize(
    "text",
    [
        ",",
        "env=prod,",
        ",env",
        "env=prod tier=a",
        "env prod",
        "env in prod",
        "env in (a",
        "env in a)",
        "env in ((a))",
        "env in ()",
        "env notin ()",
        "env in (a b)",
        "env in (a=b)",
        "env not in (a)",
        "env IN (a)",
        "=prod",
        "!",
        "!!env",
        "env=a=b",
        "env=!a",
        "env<>prod",
        "replicas>3",
        "replicas<3",
        "env:prod",
        "env=prod|dev",
        "env=*",
        "*",
        "$ENV",
        "env={prod}",
        "env=prod%",
        "env=prod#x",
        "env=prod;",
        "env=prod\\",
        "env=prod\u200b",
        "\ufeffenv=prod",
        "env=prod\u202e",
        "env\uff1dprod",
        "env=\u2018prod\u2019",
        "env=prod\x00",
        '"env"=prod',
        "env='prod'",
        "env in ('prod')",
    ],
)
def test_what_is_no_requirement_is_a_fault_and_never_selects_by_accident(text: str) -> None:
    with pytest.raises(InvalidSelectorError, match="write key=value"):
        Selector.parse(text)


names = st.sampled_from(["env", "tier", "a.b/c", "in", "notin"])
values = st.sampled_from(["", "a", "b", "prod"])
requirements = st.tuples(
    st.sampled_from(["=", "==", "!=", "in", "notin", "exists", "absent"]),
    names,
    st.lists(values, min_size=1, max_size=3),
)


def written(requirement: tuple[str, str, list[str]]) -> str:
    operator, key, listed = requirement
    match operator:
        case "exists":
            return key
        case "absent":
            return f"!{key}"
        case "in" | "notin":
            return f"{key} {operator} ({', '.join(listed) or ','})"
        case _:
            return f"{key}{operator}{listed[0]}"


def meant(requirement: tuple[str, str, list[str]], labels: dict[str, str]) -> bool:
    operator, key, listed = requirement
    there = key in labels
    return {
        "exists": there,
        "absent": not there,
        "in": there and labels[key] in listed,
        "notin": not there or labels[key] not in listed,
        "=": there and labels[key] == listed[0],
        "==": there and labels[key] == listed[0],
        "!=": not there or labels[key] != listed[0],
    }[operator]


@given(st.lists(requirements, max_size=4), st.dictionaries(names, values))
def test_all_requirements_must_be_met(asked: list[tuple[str, str, list[str]]], labels: dict[str, str]) -> None:
    selector = Selector.parse(", ".join(map(written, asked)))
    assert selector.matches(labels) is all(meant(requirement, labels) for requirement in asked)


@given(st.text(alphabet=st.sampled_from("ab=!,() in") | st.characters()))
def test_any_text_is_a_selector_or_a_fault(text: str) -> None:
    try:
        Selector.parse(text).matches(LABELS)
    except InvalidSelectorError as error:
        assert len(str(error)) < len(repr(text)) + 200  # noqa: PT017
