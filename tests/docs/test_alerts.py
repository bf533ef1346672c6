"""Each alert leads to a section of the runbooks that names the code in the log."""

from __future__ import annotations

import re

import pytest

from shared.values.codes import Decision
from tests.docs.language import ROOT

OPERATE = (ROOT / "docs/operate.md").read_text()
BLOCKS = {
    name: block
    for path in sorted((ROOT / "infra/terraform").glob("*.tf"))
    for name, block in re.findall(
        r'^resource "google_monitoring_alert_policy" "(\w+)" \{\n(.*?)^\}', path.read_text(), re.MULTILINE | re.DOTALL
    )
}


def section(anchor: str) -> str:
    """The text of a section of docs/operate.md; '' without one."""
    parts = re.split(r"^#{2,3} (.*)\n", OPERATE, flags=re.MULTILINE)[1:]
    slugs = [re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in parts[::2]]
    return dict(zip(slugs, parts[1::2], strict=True)).get(anchor, "")


def test_there_are_alerts() -> None:
    assert {"dead_letters", "no_sweep", "slow_onboarding"} <= BLOCKS.keys()


@pytest.mark.parametrize("name", BLOCKS)
def test_an_alert_links_to_a_section_that_names_its_code(name: str) -> None:
    [anchor] = re.findall(r"\$\{var\.runbook_url\}#([a-z-]+)", BLOCKS[name])
    [code] = re.findall(r'user_labels += \{ code = "([\w-]+)" \}', BLOCKS[name])
    assert f"`{code}`" in section(anchor)
    assert code in {*Decision, "cluster-admin"}
