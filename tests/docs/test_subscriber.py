"""The subscriber of docs/events/README.md, run as it is printed."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.contract.deployed import FLEET, deployed
from tests.docs.language import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs/events/README.md").read_text()


def test_the_documented_subscriber_prints_an_event(tmp_path: Path) -> None:
    [program] = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len([line for line in program.splitlines() if line]) <= 10
    script = tmp_path / "subscriber.py"
    script.write_text(program)
    cluster = "projects/demo-apps/locations/europe-west1/clusters/blue"
    attributes = {"ce-type": "dev.fleet-registrar.cluster.onboarded.v1", "ce-subject": cluster}
    with deployed(tmp_path) as here:
        here.cloud.publish("cluster-events", {"reason": "created the Secret"}, attributes)
        command = [sys.executable, str(script), FLEET, "cluster-events"]
        with subprocess.Popen(command, env=here.environment, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == f"onboarded {cluster} created the Secret\n"
                here.cloud.wait_for(lambda: here.queue("cluster-events")["acknowledged"], 60)
            finally:
                process.terminate()
