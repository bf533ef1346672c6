"""`make scan`: checkov on plans of infra/terraform, in which every role and member is known (in the sources they are variables).

Not among the tests: its virtual environment takes minutes to make, once. Each exception is in the resource that it excepts,
with its reason; one that excepts nothing any more fails the scan. `--skip-download`: no vendor is asked for more rules.
"""

# ruff: noqa: T201 - a command, which talks to a person

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.infra import inputs, terraform
from tests.infra.terraform import ROOT, MissingError, Module

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOV = "checkov==3.3.30"
EXCEPTED = re.compile(r"^  #checkov:skip=(\w+):(.{10,})$", re.MULTILINE)
RESOURCE = re.compile(r'^resource "(\w+)" "(\w+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)


def main() -> int:
    """Scan, tell, and return the exit code."""
    try:
        terraform.binary()
        python = terraform.virtual_environment("checkov", CHECKOV)
        with terraform.provider() as reattach, tempfile.TemporaryDirectory() as directory:
            module = Module.copy(Path(directory), reattach)
            reports = [
                _scan(python, module, each) for each in (inputs.FULL, {**inputs.LEAST, "sources": inputs.FOLDER})
            ]
    except MissingError as error:
        print(f"not scanned: {error}")
        return 1
    failed = {
        (check["check_id"], _resource(check["resource"])): check["check_name"]
        for report in reports
        for check in report["results"]["failed_checks"]
    }
    excepted = set(_exceptions())
    for (check, resource), name in sorted(failed.items()):
        if (check, resource) not in excepted:
            print(f"{check} {resource}: {name}")
    for check, resource in sorted(excepted - set(failed)):
        print(f"{check} {resource}: excepted, and nothing fails it: remove the exception")
    passed = sum(report["summary"]["passed"] for report in reports)
    print(
        f"{CHECKOV}: {passed} checks passed, {len(failed.keys() - excepted)} failed, {len(excepted)} exceptions with a reason"
    )
    return 0 if failed.keys() == excepted else 1


def _scan(python: Path, module: Module, variables: dict[str, Any]) -> dict[str, Any]:
    planned = module.directory / "planned.json"
    planned.write_text(json.dumps(module.plan(**variables).shown))
    command = [str(python), str(python.with_name("checkov")), "-f", str(planned), "--framework", "terraform_plan"]
    done = subprocess.run(
        [*command, "--skip-download", "--soft-fail", "--output", "json"],
        env={"PATH": os.defpath, "HOME": str(module.directory)},
        capture_output=True,
        text=True,
        check=True,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _resource(address: str) -> str:
    """`google_x.y["key"]` → `google_x.y`."""
    return re.sub(r"\[[^]]*\]", "", address)


def _exceptions() -> Iterator[tuple[str, str]]:
    for file in (ROOT / "infra" / "terraform").glob("*.tf"):
        for type_, name, body in RESOURCE.findall(file.read_text()):
            for check, _reason in EXCEPTED.findall(body):
                yield check, f"{type_}.{name}"


if __name__ == "__main__":
    sys.exit(main())
