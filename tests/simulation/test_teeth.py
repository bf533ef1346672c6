"""The simulation has teeth: each deliberate fault in the product is found within its number of runs."""

from __future__ import annotations

import pytest

from tests.simulation.runs import run, shrink
from tests.simulation.scheduler import one_thread_no_logs, replaced
from tests.simulation.teeth import TEETH, Tooth, bite


@pytest.mark.parametrize("tooth", TEETH, ids=lambda tooth: tooth.name)
def test_a_deliberate_fault_is_found(tooth: Tooth) -> None:
    with one_thread_no_logs():
        count, found = bite(tooth)
    assert found is not None, f"{tooth.name}: not found in {tooth.runs} runs"
    print(f"{count:5} of {tooth.runs:5} runs  {tooth.name}")  # noqa: T201


def test_a_finding_is_shrunk_to_a_short_story() -> None:
    tooth = next(tooth for tooth in TEETH if tooth.name == "the brake is off")
    with one_thread_no_logs():
        _, found = bite(tooth)
        assert found is not None
        with replaced(*tooth.changes):
            short = shrink(found)
            again = run(short.seed, short.told, short.faults)
    assert short.violation
    assert again.violation == short.violation
    assert len(short.told) <= 5
    assert not short.faults
