"""`ops wait`: returns when a cluster is in Argo CD as it should be, or is out of it. Reads only."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

from ops.survey import connected
from shared.values.cluster_secret import GRANT, HELD
from shared.values.errors import ReconcileError
from shared.values.names import Name, parse_name

if TYPE_CHECKING:
    import argparse

    from shared.runtime.services import Services

INTERVAL: Final = 2.0
TIMED_OUT: Final = 2
ONBOARDED, OFFBOARDED = "onboarded", "offboarded"


def run(options: argparse.Namespace) -> int:
    """Wait; 0 if the goal is reached, 2 after the timeout."""
    services = connected()
    deadline = time.monotonic() + options.timeout
    name = _name(options.cluster, services)
    while True:
        error = ""
        try:
            done = is_done(name, options.goal, services)
        except ReconcileError as raised:
            done, error = False, str(raised)
        if done or time.monotonic() >= deadline:
            break
        time.sleep(min(INTERVAL, max(0.0, deadline - time.monotonic())))
    if options.json:
        print(json.dumps({"cluster": str(name), "for": options.goal, "done": done, "error": error}))
    elif done:
        print(f"{name} is {options.goal}")
    else:
        print(f"{name} is not {options.goal} after {options.timeout:g} s{f': {error}' if error else ''}. See why:")
        print(f"  python -m ops explain {name}")
    return 0 if done else TIMED_OUT


def is_done(name: Name, goal: str, services: Services) -> bool:
    """Read the Secret of one cluster: verified and not held means onboarded, none means offboarded."""
    found = services.central.secret_of(name)
    if goal == OFFBOARDED:
        return found is None
    return found is not None and GRANT in found.annotations and HELD not in found.annotations


def _name(text: str, services: Services) -> Name:
    """Return the cluster; a full name is not looked up, because it need not exist yet, or any more."""
    numbers = services.settings.numbers
    if (name := parse_name(text, numbers)) is not None:
        return name
    from ops.partial import survey_in_parts
    from ops.survey import find

    return find(text, survey_in_parts(services), dict(numbers))
