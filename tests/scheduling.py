"""Which worker runs which tests, and in which order: `pytest -n 5 --dist loadfile`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

if TYPE_CHECKING:
    import pytest

# The longest come first, by the seconds that they took, so that no worker is left with one of them when the others are done.
LONGEST = (
    "docs/test_walk.py",
    "infra/test_cloudbuild.py",  # and all that share its plans
    "chain/test_faults_refused.py",
    "chain/test_faults_cut.py",
    "incidents/",
    "chain/test_leaving.py",
    "docs/",
    "chain/test_doctor.py",
    "contract/pubsub/",
    "browser/test_incidents.py",
    "contract/test_deployed_gcloud.py",
    "infra/test_apply.py",
    "chain/test_ops.py",
    "chain/test_uninstall.py",
    "chain/test_interruptions.py",
    "chain/test_pubsub_emulator.py",
    "infra/test_argocd_install.py",
    "chain/test_identities.py",
    "contract/test_local_up.py",
    "contract/test_pubsub_gcloud.py",
    "chain/test_dead_letters.py",
    "browser/",
    "unit/test_transport.py",
    "chain/test_order.py",
    "chain/test_offboarding.py",
    "contract/kubernetes/",
    "contract/test_gcloud.py",
    "infra/test_argocd_policy",
    "chain/",
    "infra/",
    "contract/",
    "simulation/",
)
# Files that share what is set up once for each worker: one worker runs all of them.
TOGETHER = {
    "tests/contract/kubernetes/": "a Kubernetes API",
    "tests/contract/pubsub/": "an emulator of Pub/Sub",
    "tests/contract/test_deployed.py": "a deployed cloud",
    "tests/contract/test_deployed_logging.py": "a deployed cloud",
    "tests/docs/": "what gcloud says of commands",
    "tests/infra/test_argocd_policy": "a decoded policy",
    "tests/infra/test_plan": "plans",
    "tests/infra/test_names": "plans",
    "tests/infra/test_cloudbuild": "plans",
    "tests/infra/test_instances": "plans",
    "tests/infra/test_metrics": "plans",
    "tests/infra/test_terraform.py": "plans",
}
# Files whose tests share nothing: any worker runs the next one.
APART = ("tests/docs/test_walk.py",)


def rank(name: str) -> int:
    """The place of a file, by its name below `tests/`."""
    return next((at for at, one in enumerate(LONGEST) if name.startswith(one)), len(LONGEST))


class Files(LoadFileScheduling):  # type: ignore[misc]
    """Give a worker all tests of a file, in the order of the collection."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        if file in APART:
            return nodeid
        return next((group for start, group in TOGETHER.items() if file.startswith(start)), file)
