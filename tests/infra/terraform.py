"""Terraform, offline: the real binary on a copy of `infra/`, with a provider that has the Google provider's own schema.

pip fetches third-party parts (the packages that the schema is read from, the protocol's messages, checkov) once into a cache outside
the checkout. They are never committed. Tests are skipped, with the reason, where terraform or a package is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.infra import provider_schema, states

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
# CDK Terrain's packages, generated from google and google-beta 8.7.0 and from time 0.14.2.
PACKAGES = {
    "google": "cdktn-provider-google==21.1.0",
    "google-beta": "cdktn-provider-google-beta==21.1.0",
    "time": "cdktn-provider-time==14.0.2",
}
PROTOCOL = "tf==1.2.0"
BETA_ONLY = "google_project_service_identity"
# What a search below a folder or organisation finds: two teams, of which one uses GKE, and a project of Apps Script.
PROJECTS = {"team-a-prod": "345678901234", "team-b": "456789012345", "sys-12345678901234567890123456": "567890123456"}
ANSWERS: dict[str, Any] = {
    "google_project:my-fleet": {"number": "123456789012"},
    "google_project:my-run": {"number": "210987654321"},
    "google_project:my-central": {"number": "345678901234"},
    "google_project:other-run": {"number": "456789012345"},
    # Computed names that follow from the arguments; the forms are those of each resource's page in the provider's documentation.
    "planned google_service_account": {
        "email": "{account_id}@{project}.iam.gserviceaccount.com",
        "id": "projects/{project}/serviceAccounts/{account_id}@{project}.iam.gserviceaccount.com",
        "name": "projects/{project}/serviceAccounts/{account_id}@{project}.iam.gserviceaccount.com",
    },
    "planned google_monitoring_slo": {"name": "projects/{project}/services/{service}/serviceLevelObjectives/{slo_id}"},
    "planned google_pubsub_topic": {"id": "projects/{project}/topics/{name}"},
    "planned google_project_iam_custom_role": {"id": "projects/{project}/roles/{role_id}"},
    "planned google_organization_iam_custom_role": {"name": "organizations/{org_id}/roles/{role_id}"},
    "planned google_logging_project_bucket_config": {
        "id": "projects/{project}/locations/{location}/buckets/{bucket_id}",
        "name": "projects/{project}/locations/{location}/buckets/{bucket_id}",
    },
    "planned google_logging_project_sink": {"writer_identity": "serviceAccount:sink@{project}"},
    "planned google_logging_folder_sink": {"writer_identity": "serviceAccount:sink@{folder}"},
    "planned google_logging_organization_sink": {"writer_identity": "serviceAccount:sink@organizations/{org_id}"},
    "replaced google_storage_bucket": ["name", "location"],
    "replaced time_sleep": ["triggers"],
    "replaced google_cloudfunctions2_function": ["name", "location"],
    "replaced google_cloud_run_service_iam_member": ["service", "location"],
    # Not build_config.source: the provider keeps the state's bucket, object and generation.
    "read google_cloudfunctions2_function": [["build_config", 0, "environment_variables"], ["state"]],
    "google_cloud_asset_search_all_resources:cloudresourcemanager.googleapis.com/Project": {
        "results": [
            {"name": f"//cloudresourcemanager.googleapis.com/projects/{project}", "project": f"projects/{number}"}
            for project, number in PROJECTS.items()
        ]
    },
    "google_cloud_asset_search_all_resources:serviceusage.googleapis.com/Service": {
        "results": [
            {
                "name": f"//serviceusage.googleapis.com/projects/{PROJECTS[project]}/services/{service}.googleapis.com",
                "project": f"projects/{PROJECTS[project]}",
            }
            for project, service in (("team-a-prod", "container"), ("team-b", "containeranalysis"))
        ]
    },
}


class MissingError(Exception):
    """Something that is needed and not ours cannot be had; the message says what, and what is left out."""


def cache() -> Path:
    """Return the directory of what is fetched."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    found = Path(home) / "fleet-registrar"
    found.mkdir(parents=True, exist_ok=True)
    return found


@contextlib.contextmanager
def alone(what: str) -> Iterator[None]:
    """Let one process at a time make a part of the cache."""
    with (cache() / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def virtual_environment(name: str, *requirements: str) -> Path:
    """Return the Python of a virtual environment in the cache, made at the first call."""
    key = hashlib.sha256(f"{sys.version_info[:2]} {requirements}".encode()).hexdigest()[:12]
    directory = cache() / f"{name}-{key}"
    done = directory / ".done"
    with alone(name):
        if not done.exists():
            shutil.rmtree(directory, ignore_errors=True)
            _fetch([sys.executable, "-m", "venv", str(directory)], name)
            pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            _fetch([*pip, *requirements], name)
            done.touch()
    return directory / "bin" / "python"


def schema() -> Path:
    """Return the schema of the providers as a file in the cache, made at the first call."""
    source = Path(provider_schema.__file__).read_bytes() + repr(PACKAGES).encode()
    made = cache() / f"schema-{hashlib.sha256(source).hexdigest()[:12]}.json"
    with alone("schema"):
        if not made.exists():
            found = {
                name: provider_schema.read(_package(requirement), only=BETA_ONLY if name == "google-beta" else "")
                for name, requirement in PACKAGES.items()
            }
            partial = made.with_suffix(".part")
            partial.write_text(json.dumps(found))
            partial.rename(made)
    return made


def _package(requirement: str) -> Path:
    """Return the wheel of a pinned requirement."""
    directory = cache() / requirement
    if not directory.exists():
        with tempfile.TemporaryDirectory(dir=cache()) as fetched:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            _fetch([*pip, "--only-binary=:all:", "--dest", fetched, requirement], requirement)
            shutil.copytree(fetched, directory)
    return next(directory.glob("*.whl"))


def _fetch(command: list[str], what: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", "") or str(error)).strip()[-400:]
        raise MissingError(f"{what} cannot be fetched into {cache()}: {reason}") from error


def binary() -> str:
    """Return where terraform is."""
    found = shutil.which("terraform")
    if found is None:
        raise MissingError("terraform is not there: fmt, validate, plan and test of infra/terraform are left out")
    return found


def _mentioned(known: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the schema that our files mention: terraform reads all it is given, at every command."""
    text = " ".join(file.read_text() for file in (ROOT / "infra" / "terraform").rglob("*.tf"))
    names = set(re.findall(r"(?:google|time)_\w+", text))
    return {
        provider: {
            "provider": schema["provider"],
            **{
                kind: {name: schema[kind][name] for name in schema[kind].keys() & names}
                for kind in ("resources", "data")
            },
        }
        for provider, schema in known.items()
    }


@contextlib.contextmanager
def provider() -> Iterator[str]:
    """Run the stub provider; gives what TF_REATTACH_PROVIDERS must say."""
    python = virtual_environment("plugin-protocol", PROTOCOL)
    known: dict[str, Any] = json.loads(schema().read_text())
    # A socket's path is short by rule: 107 bytes.
    with tempfile.TemporaryDirectory(prefix="tf-") as directory:
        sockets = {name: f"{directory}/{name}" for name in PACKAGES}
        described = Path(directory) / "schema.json"
        described.write_text(json.dumps(_mentioned(known)))
        answers = Path(directory) / "answers.json"
        answers.write_text(json.dumps(ANSWERS))
        process = subprocess.Popen(
            [str(python), "-I", str(HERE / "stub_provider.py"), str(described), str(answers), *sockets.values()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": os.defpath},
            text=True,
        )
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("the stub provider did not start; its error is above")
            yield json.dumps(
                {
                    f"hashicorp/{name}": {
                        "Protocol": "grpc",
                        "ProtocolVersion": 6,
                        "Pid": process.pid,
                        "Test": True,
                        "Addr": {"Network": "unix", "String": socket},
                    }
                    for name, socket in sockets.items()
                }
            )
        finally:
            process.communicate()


def bundle_hash(directory: Path) -> str:
    """Return the hash by which Terraform knows a module's bundle."""
    return hashlib.sha256((directory / ".build" / "functions.zip").read_bytes()).hexdigest()


@dataclass(frozen=True)
class Answer:
    """The output of a run of terraform."""

    code: int
    text: str


@dataclass(frozen=True)
class Module:
    """A copy of `infra/`, with its bundle, that terraform runs in; the state is a file in it."""

    directory: Path
    reattach: str = ""

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment that terraform needs, with nothing of this machine's settings."""
        home = self.directory.parents[1]
        return {
            "HOME": str(home),
            "TF_CLI_CONFIG_FILE": str(home / "empty.tfrc"),
            "TF_REATTACH_PROVIDERS": self.reattach,
            "TF_HTTP_ADDRESS": states.address(self.directory / "terraform.tfstate"),
            "CHECKPOINT_DISABLE": "1",
            "GOGC": "400",  # a run lives for a second: collecting its garbage costs a fifth of it
        }

    @classmethod
    def copy(cls, to: Path, reattach: str) -> Module:
        """Copy the module, and initialise it."""
        module = cls(to / "infra" / "terraform", reattach)
        ignored = shutil.ignore_patterns(".terraform*", "*.tfplan", "*.tfvars", ".build")
        shutil.copytree(ROOT / "infra" / "terraform", module.directory, ignore=ignored)
        for file in ("infra/roles.json", "shared/values/version.py"):
            (to / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, to / file)
        (module.directory / "backend_override.tf").write_text('terraform {\n  backend "http" {}\n}\n')
        (module.directory / ".build").mkdir()
        (module.directory / ".build" / "functions.zip").write_bytes(b"a bundle")
        (to / "empty.tfrc").touch()
        module.run("init", "-input=false")
        return module

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Answer:
        """Run terraform with nothing of this machine's settings."""
        variables = {"PATH": os.defpath, "TF_IN_AUTOMATION": "1", **self.variables, **(environment or {})}
        done = subprocess.run(
            [binary(), *arguments],
            cwd=self.directory,
            env=variables,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return Answer(done.returncode, done.stdout + done.stderr)

    def refuse(self, **names: list[str]) -> None:
        """Let updates of these resources fail (type → names), until this is called again without them."""
        socket: str = json.loads(self.reattach)["hashicorp/google"]["Addr"]["String"]
        Path(socket).with_name("refused.json").write_text(json.dumps(names))

    def apply(self, **variables: Any) -> Answer:
        """Apply with these inputs, into a state beside the module."""
        inputs = self.directory / "inputs.tfvars.json"
        inputs.write_text(json.dumps(variables))
        return self.run("apply", "-input=false", "-no-color", "-auto-approve", f"-var-file={inputs.name}")

    def state(self) -> set[str]:
        """Return the addresses of the resources in the state."""
        listed = self.run("state", "list")
        assert listed.code == 0, listed.text
        return {line for line in listed.text.splitlines() if not line.startswith("data.")}

    def plan(self, **variables: Any) -> Plan:
        """Plan with these inputs; raises AssertionError with what terraform says when it cannot."""
        inputs = self.directory / "inputs.tfvars.json"
        inputs.write_text(json.dumps(variables))
        made = self.run("plan", "-input=false", "-no-color", f"-var-file={inputs.name}", "-out=planned")
        assert made.code == 0, made.text
        shown = self.run("show", "-json", "planned")
        assert shown.code == 0, shown.text
        return Plan(json.loads(shown.text))


@dataclass(frozen=True)
class Resource:
    """One planned resource: its address, its key, the values that are known now, and the planned actions."""

    address: str
    type: str
    name: str
    key: str
    values: dict[str, Any]
    actions: tuple[str, ...] = ()

    def __getitem__(self, attribute: str) -> Any:
        return self.values.get(attribute)


class Plan:
    """A plan as JSON, by kinds of resources."""

    def __init__(self, shown: dict[str, Any]) -> None:
        self.shown = shown
        self.resources = [
            Resource(
                change["address"],
                change["type"],
                change["name"],
                str(change.get("index", "")),
                change["change"]["after"] or {},
                tuple(change["change"]["actions"]),
            )
            for change in shown["resource_changes"]
            if change["mode"] == "managed"
        ]

    def of(self, *types: str) -> list[Resource]:
        """Return the resources of these types."""
        return [resource for resource in self.resources if resource.type in types]

    def configured(self) -> Iterator[dict[str, Any]]:
        """Return the root module's resources as the configuration has them."""
        yield from self.shown["configuration"]["root_module"]["resources"]

    def expressions(self, address: str) -> dict[str, Any]:
        """Return a resource's arguments as expressions with their references."""
        (found,) = (each["expressions"] for each in self.configured() if each["address"] == address)
        return dict(found)

    def depends_on(self, address: str) -> list[str]:
        """Return a resource's explicit dependencies."""
        (found,) = (each.get("depends_on", []) for each in self.configured() if each["address"] == address)
        return list(found)

    def output(self, name: str) -> Any:
        """Return a planned output."""
        return self.shown["planned_values"]["outputs"][name]["value"]

    def changes(self) -> dict[str, tuple[str, ...]]:
        """Return the planned actions of each resource that changes, by its address."""
        return {each.address: each.actions for each in self.resources if each.actions != ("no-op",)}

    def named(self, type_: str, name: str) -> dict[str, Resource]:
        """Return the instances of one resource, by their key."""
        return {
            resource.key: resource for resource in self.resources if (resource.type, resource.name) == (type_, name)
        }
