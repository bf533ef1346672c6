"""`ops adopt`: takes over the cluster Secrets that people, scripts or other tools have written for our clusters, in place.

The uid, and with it Argo CD's shard, the names, `shard`, `project` and people's labels stay, so nothing is deployed again.
Skipped Secrets are listed with the reason.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ops.adoption import Adoption, Skipped, match_secrets
from ops.pace import paced
from ops.partial import planned_survey
from ops.plan import unread
from ops.survey import connected, operator
from ops.terminal import UNREAD, Progress, pluralize, table
from ops.unread import by_cause
from shared.runtime.services import Services
from shared.values.errors import ReconcileError
from shared.values.messages import truncate

if TYPE_CHECKING:
    import argparse


def run(options: argparse.Namespace) -> int:
    """Take over what matches; 0 all was read, 3 something could not be read, 1 some of it failed."""
    services = connected()
    seen = planned_survey(services)
    missing = unread(seen, services.settings)
    code = UNREAD if missing else 0
    adoptions, left = match_secrets(seen, services.settings, change_server=options.change_server)
    if options.json:
        return _run_json(adoptions, left, options, services, missing)
    for what, why in by_cause(missing):
        print(f"skipped: {what} could not be read: {why}\n  python -m ops doctor")
    if adoptions:
        rows = [(one.secret.name, str(one.request.name), one.known_by, "; ".join(one.notes)) for one in adoptions]
        print(table(("SECRET", "CLUSTER", "KNOWN BY", "NOTE"), rows) + "\n")
    if left:
        print("Unchanged:\n" + table(("SECRET", "WHY"), [(one.secret.name, one.reason) for one in left]) + "\n")
    if commands := dict.fromkeys(one.command for one in left if one.command):
        print("\n".join(["What helps:", *(f"  {command}" for command in commands)]) + "\n")
    if not adoptions:
        print("Nothing to take over.")
        return code
    if options.dry_run:
        print(f"Would take over {pluralize(len(adoptions), 'Secret')}; nothing was written or published.")
        return code
    failed = take_over(adoptions, services, options.rate)
    for secret, why in by_cause(dict(failed)):
        print(f"not taken over: {secret}: {why}")
    taken = f"{len(adoptions) - len(failed)} of {pluralize(len(adoptions), 'Secret')}"
    print(f"Took over {taken}; the chain completes them. See what still differs:\n  python -m ops plan")
    return 1 if failed else code


def _run_json(
    adoptions: list[Adoption],
    left: list[Skipped],
    options: argparse.Namespace,
    services: Services,
    missing: dict[str, str],
) -> int:
    failed = {} if options.dry_run else dict(take_over(adoptions, services, options.rate))
    summary = {
        "dryRun": options.dry_run,
        "adoptions": [
            {
                "secret": one.secret.name,
                "cluster": str(one.request.cluster or one.request.membership),
                "knownBy": one.known_by,
                "notes": one.notes,
                "failed": failed.get(one.secret.name, ""),
            }
            for one in adoptions
        ],
        "left": [{"secret": one.secret.name, "reason": one.reason, "command": one.command} for one in left],
        "unread": missing,
    }
    print(json.dumps(summary, indent=2))
    return 1 if failed else UNREAD if missing else 0


def take_over(adoptions: list[Adoption], services: Services, a_minute: int) -> list[tuple[str, str]]:
    """Mark each Secret as ours and have the chain complete it; return those that failed, and why.

    A Secret that was marked and could not be asked for is completed by the next sweep.
    """
    attributes = {"cause": truncate(f"adopt by {operator(services)}")}
    progress = Progress(len(adoptions), "Secrets tried")
    failed = []
    for one in paced(adoptions, a_minute):
        try:
            services.central.patch(one.secret, one.patch)
            services.bus.publish_object(one.next.topic, one.next.body(), attributes)
        except ReconcileError as error:
            failed.append((one.secret.name, str(error)))
        progress.step()
    return failed
