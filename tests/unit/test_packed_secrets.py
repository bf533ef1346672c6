"""Packed Secrets are the Secrets that were packed, whatever they hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.values.cluster_secret import CLUSTER, GRANT, LABEL_KEYS, MEMBERSHIP, ClusterSecret
from shared.values.errors import PermanentError
from shared.values.packed_secrets import PackedSecrets, names_in
from tests.unit.given import BLUE, secret

KEYS = st.sampled_from(["a", "b", GRANT, LABEL_KEYS, CLUSTER, MEMBERSHIP, "config", "name"])
TEXTS = st.one_of(st.sampled_from(["", "\0", "a\0b", str(BLUE.name), "x"]), st.text(max_size=5))
MAPS = st.dictionaries(KEYS, TEXTS, max_size=5)
SECRETS = st.builds(ClusterSecret, TEXTS, TEXTS, TEXTS, MAPS, MAPS, MAPS, TEXTS)


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


def test_a_packed_secret_takes_little_more_than_its_own_texts() -> None:
    """Keys and common texts are kept once, not for each of the Secrets."""
    own = secret()
    many = [replace(own, name=f"c{number:04}", annotations={**own.annotations}) for number in range(1000)]
    packed = PackedSecrets(many)._packed
    assert len({id(each.keys) for each in packed}) == 1  # type: ignore[union-attr]
    assert len({id(each.common_annotations) for each in packed}) == 1  # type: ignore[union-attr]
