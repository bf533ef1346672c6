"""The kubeconfig of the local cloud: ours beside what others write."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import yaml

from local.kubeconfig import Context, Kubeconfig, merged, without_loopback

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BLUE = Context("blue", "https://127.0.0.1:1/clusters/blue", "token")
CENTRAL = "projects/demo-fleet/locations/europe-west1/clusters/central"


def _entry(name: str, server: str) -> dict[str, Any]:
    return {
        "clusters": [{"name": name, "cluster": {"server": server}}],
        "users": [{"name": name, "user": {"exec": {}}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def _names(config: dict[str, Any]) -> list[str]:
    return sorted(entry["name"] for entry in config["contexts"])


def test_what_others_wrote_stays() -> None:
    config = merged(_entry("theirs", "https://example.com"), "ca.pem", [BLUE], set())
    assert _names(config) == ["blue", "theirs"]
    assert config["current-context"] == "theirs"


def test_a_cluster_that_is_gone_leaves_with_its_user() -> None:
    config = merged(merged({}, "ca.pem", [BLUE], set()), "ca.pem", [], {"blue"})
    assert [config[kind] for kind in ("clusters", "users", "contexts")] == [[], [], []]


def test_contexts_of_an_earlier_run_are_dropped() -> None:
    earlier = merged(_entry("gke_demo", "https://127.0.0.1:2/clusters/x"), "ca.pem", [BLUE], set())
    theirs = _entry("theirs", "https://example.com")
    both = {kind: [*earlier[kind], *theirs[kind]] for kind in ("clusters", "users", "contexts")}
    kept = without_loopback(both | {"current-context": "gke_demo"})
    assert _names(kept) == ["theirs"]
    assert [user["name"] for user in kept["users"]] == ["theirs"]
    assert "current-context" not in kept


def _run(path: Path, story: Callable[[Kubeconfig], Any]) -> dict[str, Any]:
    """Run a story while the kubeconfig of one cluster is kept; return the file once the context is back."""
    one = Kubeconfig(path, path.with_name("ca.pem"), CENTRAL, lambda: {CENTRAL: ("https://127.0.0.1:1/c", "token")})

    def there() -> bool:
        try:
            return "central" in _names(yaml.safe_load(path.read_text()))
        except (TypeError, KeyError, yaml.YAMLError):
            return False

    async def run() -> None:
        one.start()
        story(one)
        deadline = asyncio.get_running_loop().time() + 60
        while not there():
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.02)
        await one.stop()

    asyncio.run(run())
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def test_a_context_that_another_writer_lost_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    theirs = _entry("theirs", "https://example.com")
    found = _run(path, lambda _one: path.write_text(json.dumps(theirs)))
    assert _names(found) == ["central", "theirs"]


def test_a_damaged_file_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    assert _names(_run(path, lambda _one: path.write_text("contexts: [{"))) == ["central"]
