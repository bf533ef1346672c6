"""Run a tool without the person's own configuration."""

from __future__ import annotations

import functools
import os
import subprocess

from tests import forked_gcloud
from tests.docs.reading import ROOT


def run_tool(*words: str, home: str = "", more: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool in the root without input, with nothing of the person's own configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLOUDSDK_", "TF_", "MAKE"))}
    own = {"HOME": home, "CLOUDSDK_CONFIG": home, "KUBECONFIG": os.devnull} if home else {"KUBECONFIG": os.devnull}
    own |= {"PATH": forked_gcloud.path()} if words[0] == "gcloud" else {}
    own |= {"GOGC": "off"}  # kubectl and terraform live too shortly to collect garbage
    still = {"CLOUDSDK_CORE_DISABLE_PROMPTS": "1", "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1"}
    return subprocess.run(
        words, cwd=ROOT, env=kept | own | still | (more or {}), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False
    )  # fmt: skip


@functools.cache
def ask_tool(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a tool that changes nothing and whose answer stays the same: once for each command."""
    return run_tool(*words)
