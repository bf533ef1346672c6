"""Every call of every step is refused once: nothing is lost, and the end state is the same."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.chain import lives
from tests.chain.running import Chain, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud with a selector, and no time to wait between holding and removing."""
    with running(tmp_path_factory.mktemp("refused"), *lives.OPTIONS) as chain:
        yield chain


def test_the_list_of_calls_is_complete(cloud: Chain) -> None:
    since = time.time()
    lives.lived(cloud, "", 2)
    lives.lived_attached(cloud, "")
    lives.recreated(cloud, "")
    assert not lives.unknown(cloud.calls(since))


@pytest.mark.parametrize("status", [403, 404, 429, 500])
def test_a_refusal_at_any_call_changes_nothing_in_the_end(cloud: Chain, status: int) -> None:
    lives.lived(cloud, "status", status=status)


@pytest.mark.parametrize("status", [403, 404, 500])
def test_refusals_for_an_attached_cluster_change_nothing(cloud: Chain, status: int) -> None:
    lives.lived_attached(cloud, "status", status=status)


@pytest.mark.parametrize("status", [404, 500])
def test_refusals_during_a_re_creation_change_nothing(cloud: Chain, status: int) -> None:
    lives.recreated(cloud, "status", status=status)
