"""The fields of the request bodies that the emulated APIs read, as the Cloud SDK and the official packages have them.

`python -m tests.contract.google_fields` writes local/google/fields.json. The Cloud SDK's classes are made from the APIs' discovery
documents; the packages are sometimes newer.
A field's kind is a message's name, `*` before it for a map, or s (string), b (boolean), e (enumeration), n (number), a (anything).
The versions of an API are put together.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from google.cloud import container_v1, container_v1beta1, eventarc_v1, gkehub_v1
from google.cloud.logging_v2 import types as logging_v2
from google.iam.v1 import policy_pb2
from google.protobuf.descriptor import Descriptor

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor

Table = dict[str, dict[str, dict[str, str]]]

TABLE: Final = Path(__file__).parents[2] / "local" / "google" / "fields.json"
# API → its versions, and the messages that requests have as bodies.
BODIES: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "container": (
        ("v1", "v1beta1", "v1alpha1"),
        ("CreateClusterRequest", "SetLabelsRequest", "UpdateClusterRequest"),
    ),
    "gkehub": (("v1", "v1beta1", "v1beta", "v1alpha"), ("Membership", "MembershipBinding")),
    "cloudfunctions": (("v2",), ("Function",)),
    "run": (("v1",), ("Service",)),
    "eventarc": (("v1",), ("Trigger",)),
    "logging": (("v2",), ("LogSink", "ListLogEntriesRequest")),
    "iam": (
        ("v1",),
        ("CreateRoleRequest", "Role", "UndeleteRoleRequest", "CreateServiceAccountRequest", "DisableServiceAccountRequest",
         "EnableServiceAccountRequest", "SetIamPolicyRequest", "TestIamPermissionsRequest"),
    ),
    "cloudresourcemanager": (("v1",), ("GetAncestryRequest", "GetIamPolicyRequest")),
    "cloudscheduler": (("v1",), ("Job", "PauseJobRequest", "ResumeJobRequest", "RunJobRequest")),
    "serviceusage": (("v1",), ("BatchEnableServicesRequest", "EnableServiceRequest", "DisableServiceRequest")),
}  # fmt: skip
# The bodies that an official package has, too.
PACKAGES: Final[dict[str, tuple[Any, ...]]] = {
    "container": tuple(
        getattr(package, name)
        for package in (container_v1, container_v1beta1)
        for name in (*BODIES["container"][1], "Cluster", "ClusterUpdate", "NodeConfig", "NodePool")
    ),
    "gkehub": (gkehub_v1.Membership, gkehub_v1.MembershipBinding),
    "eventarc": (eventarc_v1.Trigger,),
    "logging": (logging_v2.LogSink, logging_v2.ListLogEntriesRequest),
    "iam": (policy_pb2.Policy.DESCRIPTOR,),
}
READER: Final = """
import importlib, json, pathlib, sys
sdk = pathlib.Path(sys.argv[1])
sys.path[:0] = [str(sdk / "lib"), str(sdk / "lib" / "third_party")]
from apitools.base.protorpclite import messages
from apitools.base.py import encoding

def kind(field):
    if isinstance(field, messages.MessageField):
        type_ = field.message_type
        if hasattr(type_, "AdditionalProperty"):
            inner = type_.AdditionalProperty.field_by_name("value")
            named = isinstance(inner, messages.MessageField) and inner.message_type.__name__ != "JsonValue"
            if not named:
                return "*s" if isinstance(inner, messages.StringField) else "a"
            return "*" + inner.message_type.__name__
        return "a" if type_.__name__ in ("JsonValue", "JsonObject") else type_.__name__
    names = {"StringField": "s", "BytesField": "s", "BooleanField": "b", "EnumField": "e"}
    return names.get(type(field).__name__, "n")

def walk(module, name, found):
    if name in found or not hasattr(module, name):
        return
    type_ = getattr(module, name)
    own = found[name] = {}
    for field in type_.all_fields():
        wire = encoding.GetCustomJsonFieldMapping(type_, python_name=field.name) or field.name
        own[wire] = kind(field)
        if isinstance(field, messages.MessageField):
            inner = field.message_type
            if hasattr(inner, "AdditionalProperty"):
                value = inner.AdditionalProperty.field_by_name("value")
                if isinstance(value, messages.MessageField):
                    walk(module, value.message_type.__name__, found)
            else:
                walk(module, inner.__name__, found)

result = {}
for api, (versions, bodies) in json.load(sys.stdin).items():
    for version in versions:
        prefix = f"googlecloudsdk.generated_clients.apis.{api}.{version}.{api}_{version}_messages"
        module = importlib.import_module(prefix)
        found = {}
        for body in bodies:
            walk(module, body, found)
        for name, fields in found.items():
            result.setdefault(api, {}).setdefault(name, {}).update(fields)
json.dump(result, sys.stdout)
"""


def sdk_root() -> Path | None:
    """Return where the Cloud SDK is; None where it is not installed."""
    gcloud = shutil.which("gcloud")
    root = Path(gcloud).resolve().parents[1] if gcloud else None
    return root if root and (root / "lib" / "googlecloudsdk").is_dir() else None


def read(sdk: Path) -> Table:
    """Return API → message → field → kind, as the Cloud SDK has them."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", READER, str(sdk)],
        input=json.dumps(BODIES),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found: Table = json.loads(done.stdout)
    return found


def add_packages(table: Table) -> None:
    """Add what the official packages have beyond the Cloud SDK."""
    for api, kinds in PACKAGES.items():
        for kind in kinds:
            _add(table[api], kind if isinstance(kind, Descriptor) else kind.pb().DESCRIPTOR)


def _add(messages: dict[str, dict[str, str]], descriptor: Descriptor) -> None:
    own = messages.setdefault(descriptor.name, {})
    new = [field for field in descriptor.fields if field.json_name not in own]
    for field in new:
        own[field.json_name] = _kind(field)
    for field in new:
        inner = field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            inner = inner.fields_by_name["value"].message_type
        if inner is not None and inner.file.package != "google.protobuf":
            _add(messages, inner)


def _kind(field: FieldDescriptor) -> str:
    inner = field.message_type
    if inner is None:
        return {field.CPPTYPE_STRING: "s", field.CPPTYPE_BOOL: "b", field.CPPTYPE_ENUM: "e"}.get(field.cpp_type, "n")
    if inner.GetOptions().map_entry:
        return "*" + _kind(inner.fields_by_name["value"])
    if inner.file.package == "google.protobuf":
        return {"Timestamp": "s", "Duration": "s", "FieldMask": "s", "BoolValue": "b", "StringValue": "s"}.get(
            inner.name, "a"
        )
    return str(inner.name)


def written(table: dict[str, Any]) -> str:
    """Return the table as its file has it: one line for each message."""
    apis = []
    for api, found in sorted(table.items()):
        lines = [
            f"  {json.dumps(name)}: {json.dumps(fields, sort_keys=True)}" for name, fields in sorted(found.items())
        ]
        apis.append(f"{json.dumps(api)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n " + ",\n ".join(apis) + "\n}\n"


def main() -> int:
    """Write the table; 1 without the Cloud SDK."""
    sdk = sdk_root()
    if sdk is None:
        sys.stderr.write("no Cloud SDK is installed\n")
        return 1
    table = read(sdk)
    add_packages(table)
    TABLE.write_text(written(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
