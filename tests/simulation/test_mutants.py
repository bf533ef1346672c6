"""The simulation has mutants: each deliberate fault in the product is found within its number of runs."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, Mutant, kill
from tests.simulation.one_thread import one_thread_no_logs, replaced
from tests.simulation.runs import run, shrink


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_deliberate_fault_is_found(mutant: Mutant) -> None:
    with one_thread_no_logs():
        count, found = kill(mutant)
    assert found is not None, f"{mutant.name}: not found in {mutant.runs} runs"
    print(f"{count:5} of {mutant.runs:5} runs  {mutant.name}")  # noqa: T201


def test_a_finding_is_shrunk_to_a_short_story() -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "the removal limit is off")
    with one_thread_no_logs():
        _, found = kill(mutant)
        assert found is not None
        with replaced(*mutant.changes):
            short = shrink(found)
            again = run(short.seed, short.story, short.faults)
    assert short.violation
    assert again.violation == short.violation
    assert len(short.story) <= 5
    assert not short.faults
