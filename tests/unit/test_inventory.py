"""A sweep reads memberships and clusters concurrently, and concludes what sequential lists would prove."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from shared.clients.inventory import read_inventory
from shared.decisions.differences import differences
from shared.values.codes import FindingCode
from shared.values.errors import RetryableError
from shared.values.inventory import Inventory, Listed
from tests.unit.given import BLUE, BLUE_MEMBER, NOW, settings

if TYPE_CHECKING:
    from shared.clients.ports import Services
    from shared.values.model import Cluster

SECONDS = 60.0
EMPTY: Listed[Cluster] = Listed()


class Lists:
    """The list of memberships, which ends once GKE has answered; and GKE's answers, the last of which stays."""

    def __init__(self, *answers: Listed[Cluster] | RetryableError, registered: bool = True) -> None:
        self.answers = [*answers]
        self.registered = registered
        self.projects: list[str] = []
        self.listed = threading.Event()

    def memberships(self, _project: str) -> Listed[Any]:
        """List our membership of blue, made after GKE has answered for the first time."""
        assert self.listed.wait(SECONDS)
        return Listed((BLUE_MEMBER,) if self.registered else ())

    def clusters(self, project: str) -> Listed[Cluster]:
        """List the clusters."""
        if project != BLUE.name.project:
            return EMPTY
        self.projects.append(project)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.listed.set()
        if isinstance(answer, RetryableError):
            raise answer
        return answer

    def read(self) -> Inventory:
        """Read everything."""
        services = SimpleNamespace(
            settings=settings(),
            central=SimpleNamespace(managed=list, unmanaged=list),
            fleet=SimpleNamespace(list=self.memberships),
            gke=SimpleNamespace(list=self.clusters),
        )
        return read_inventory(cast("Services", services))


def codes(inventory: Inventory) -> set[FindingCode]:
    found = differences(inventory, settings(), central=None, now=NOW)
    return {each.code for each in found.requests} | {each.code for each in found.findings}


def test_memberships_and_clusters_are_read_concurrently() -> None:
    lists = Lists(Listed((BLUE,)))
    inventory = lists.read()
    assert [*inventory.memberships] == [BLUE_MEMBER.name]
    assert [*inventory.clusters] == [BLUE.name]
    assert lists.projects == [BLUE.name.project]


def test_a_cluster_that_is_younger_than_its_list_is_not_called_gone() -> None:
    lists = Lists(EMPTY, Listed((BLUE,)))
    inventory = lists.read()
    assert [*inventory.clusters] == [BLUE.name]
    assert FindingCode.ORPHANED_MEMBERSHIP not in codes(inventory)


def test_the_membership_of_a_cluster_that_is_gone_is_found_by_a_second_list() -> None:
    lists = Lists(EMPTY)
    assert FindingCode.ORPHANED_MEMBERSHIP in codes(lists.read())
    assert lists.projects == [BLUE.name.project] * 2


def test_a_second_list_that_fails_proves_nothing() -> None:
    inventory = Lists(EMPTY, RetryableError("no answer")).read()
    assert inventory.unread == {BLUE.name.project: "no answer"}
    assert codes(inventory) == {FindingCode.UNREAD_PROJECT}


@pytest.mark.parametrize("registered", [True, False])
def test_where_nothing_is_missing_each_project_is_listed_once(registered: bool) -> None:
    lists = Lists(Listed((BLUE,)), registered=registered)
    lists.read()
    assert lists.projects == [BLUE.name.project]
