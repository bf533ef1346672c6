"""The emulated APIs stay usable by others: no word of this product is in them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from local.deployment import METHODS, SINK, SINK_FILTER, VERSIONS

ROOT = Path(__file__).parent.parent.parent
EMULATED = ("local/google", "local/kubernetes")
ROLES = json.loads((ROOT / "infra" / "roles.json").read_text())
TOPICS = {topic for role in ROLES.values() for topic in role["publish"]}
OTHERS = {"fleet registrar", "fleet-registrar", "audit-log-entries", "argo cd", "argo-cd", "demo-fleet", "demo-apps"}
PUBSUB_SAYS = {"dead-letters", "status"}  # words of everybody


def test_emulated_apis_have_no_word_of_the_product() -> None:
    names = sorted({*ROLES, *TOPICS, *OTHERS} - PUBSUB_SAYS)
    words = re.compile("|".join(rf"\b{name.replace('-', '[-_]')}\b" for name in names), re.IGNORECASE)
    files = [path for folder in EMULATED for path in (ROOT / folder).rglob("*.py")]

    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if words.search(line)
    ]

    assert len(files) > 30
    assert "write-secret" in names
    assert found == []


def test_the_local_cloud_deploys_terraforms_sink() -> None:
    terraform = (ROOT / "infra" / "terraform" / "sinks.tf").read_text()
    lines = [line.strip() for line in terraform.splitlines()]
    assert [line for line in SINK_FILTER.splitlines() if line not in lines] == []
    assert SINK == "fleet-registrar-clusters"
    assert 'name         = "${local.sink_prefix}-clusters"' in terraform


def test_the_local_cloud_deploys_terraforms_triggers() -> None:
    terraform = (ROOT / "infra" / "terraform" / "events.tf").read_text()
    for names in (METHODS, VERSIONS):
        assert json.dumps(list(names)) in terraform
