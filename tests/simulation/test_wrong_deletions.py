"""Wrong deletions: none, whatever the lists say. The long form (10,000 sweeps) is part of `make simulate`."""

from __future__ import annotations

import pytest

from shared.clients import observe
from shared.values.model import GONE
from tests.simulation.lists import sweeps
from tests.simulation.one_thread import one_thread_no_logs, replaced
from tests.simulation.seeds import draw_seed

SWEEPS = 400


def test_no_list_that_lies_removes_or_holds_anything() -> None:
    seed = draw_seed()
    with one_thread_no_logs():
        messages, wrong = sweeps(SWEEPS, seed)
    assert messages > SWEEPS
    assert wrong == 0, f"seed {seed}"


def test_it_would_be_seen_if_a_step_believed_a_list() -> None:
    def believing(name: object, services: object) -> object:
        found = services.gke.in_list(name)  # type: ignore[attr-defined]
        return services.gke.cluster(name) if found else GONE  # type: ignore[attr-defined]

    with one_thread_no_logs(), replaced((observe, "read_cluster", believing)):
        _, wrong = sweeps(40, 1)
    assert wrong > 0


@pytest.mark.parametrize("seed", range(3))
def test_the_same_seed_lies_in_the_same_way(seed: int) -> None:
    with one_thread_no_logs():
        assert sweeps(20, seed) == sweeps(20, seed)
