"""The floor of the latency: the calls of an onboarding in series, by the same clients in one warm process.

It runs the very steps, handing over in memory: no function, no Pub/Sub, no event. Clusters come on standard input, the
seconds go to standard output.
"""

from __future__ import annotations

import sys
import time

from functions import grant_rbac, register_membership, write_secret
from shared.runtime.services import Services
from shared.values import settings
from shared.values.messages import StepRequest
from shared.values.names import ClusterName


def main() -> None:
    """Onboard one cluster for each line."""
    services = Services(settings.load())
    for line in sys.stdin:
        request = StepRequest(ClusterName.parse(line.strip()))
        began = time.perf_counter()
        for step in (register_membership, grant_rbac, write_secret):
            request = step.run(request, services).next[0].request
        print(time.perf_counter() - began, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
