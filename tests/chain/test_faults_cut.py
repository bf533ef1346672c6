"""Every call of every step gets no answer once, before or after it has had its effect: the end state is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.values.messages import STEPS
from tests.chain import lives
from tests.chain.running import Chain, Json, email, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud with a selector, and no time to wait between holding and removing."""
    with running(tmp_path_factory.mktemp("cut"), *lives.OPTIONS) as chain:
        yield chain


def test_central_membership_is_read_until_it_answers(cloud: Chain) -> None:
    def fault(step: str, effect: str, status: int = 503) -> Json:
        return cloud.add_fault(effect, call=lives.FIRST_LOOK, caller=email(step), status=status, seconds=0.3)

    faults = [fault(step, "timeout") for step in STEPS]
    faults += [
        fault(step, "status", status) for step, status in zip(STEPS, (404, 403, 404, 500, 404, 429), strict=True)
    ]
    lives.lived(cloud, "", 1)
    cloud.wait_met(*faults)


def test_a_call_that_times_out_changes_nothing_in_the_end(cloud: Chain) -> None:
    lives.lived(cloud, "timeout", seconds=0.5)


def test_lost_answer_after_the_call_changes_nothing(cloud: Chain) -> None:
    lives.lived(cloud, "drop")


def test_lost_answers_for_an_attached_cluster_change_nothing(cloud: Chain) -> None:
    lives.lived_attached(cloud, "drop")


def test_lost_answers_during_a_re_creation_change_nothing(cloud: Chain) -> None:
    lives.recreated(cloud, "drop")
