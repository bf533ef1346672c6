"""Packed Secrets are the Secrets that were packed, whatever they hold."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.values.cluster_secret import CLUSTER, GRANT, LABEL_KEYS, MEMBERSHIP, ClusterSecret
from shared.values.errors import PermanentError
from shared.values.packed_secrets import PackedSecrets, names_in
from tests.unit.given import BLUE, created, secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEYS = st.sampled_from(["a", "b", GRANT, LABEL_KEYS, CLUSTER, MEMBERSHIP, "config", "name"])
TEXTS = st.one_of(st.sampled_from(["", "\0", "a\0b", str(BLUE.name), "x"]), st.text(max_size=5))
MAPS = st.dictionaries(KEYS, TEXTS, max_size=5)
SECRETS = st.builds(
    ClusterSecret, TEXTS, TEXTS, TEXTS, MAPS, MAPS, MAPS, TEXTS, st.sampled_from(["", "Fleet a"]), st.booleans()
)


@given(st.lists(SECRETS, max_size=5))
def test_packed_secrets_equal_the_secrets(secrets: list[ClusterSecret]) -> None:
    packed = PackedSecrets(secrets)
    assert [*packed] == secrets
    assert (len(packed), packed[1:]) == (len(secrets), secrets[1:])
    for one, other in zip(packed, secrets, strict=True):
        assert list(map(str, one.parsed_names)) == list(map(str, other.parsed_names))
    assert [*names_in(packed)] == [each.parsed_names for each in secrets] == [*names_in(secrets)]


def test_a_spoilt_annotation_is_an_error_when_it_is_asked_for() -> None:
    own = secret()
    spoilt = replace(own, annotations={**own.annotations, CLUSTER: "blue"})
    [packed] = PackedSecrets([spoilt])
    with pytest.raises(PermanentError):
        packed.cluster  # noqa: B018 - raises
    assert packed.membership == own.membership


def test_a_replaced_annotation_is_another_name() -> None:
    own = PackedSecrets([secret()])[0]
    assert replace(own, annotations={}).cluster is None


def test_packed_secrets_take_less_than_half_the_memory() -> None:
    text = json.dumps(created())

    def each() -> Iterator[ClusterSecret]:
        for number in range(1000):
            manifest = json.loads(text)
            manifest["metadata"] |= {"name": f"c{number:04}", "uid": f"uid-{number}", "resourceVersion": f"{number}"}
            yield ClusterSecret.read(manifest)

    assert traced(lambda: PackedSecrets(each())) < traced(lambda: list(each())) / 2


def traced(make: Callable[[], object]) -> int:
    """Return the bytes that what is made takes."""
    tracemalloc.start()
    try:
        made = make()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made is not None
    return taken
