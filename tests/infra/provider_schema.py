"""Read a Terraform provider's schema from the PyPI package that CDK Terrain generates from it.

Terraform checks a configuration against the schema that the provider reports. The provider itself comes only from the Terraform
registry, which offline tests cannot reach. The wheel contains an npm archive. Each TypeScript source in it (whole, in the source
maps) lists the arguments and blocks of one resource, their types, and in a comment whether they are computed, optional or
required. The package does not contain block counts beyond "one" or "many", enumerations, or conflicts between arguments.
"""

from __future__ import annotations

import base64
import json
import re
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Schema = dict[str, Any]
"""A block: `attributes` {name: {type, optional, required, computed}}, `blocks` {name: {nesting, one, required, block}}."""

_KIND = re.compile(r"^ +terraformResourceType: '(\w+)'", re.MULTILINE)
_CLASS = re.compile(r"^export class (\w+) extends cdktn\.(\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_ARGUMENTS = re.compile(
    r"^export function (\w+)ToHclTerraform\((.*?)^\}|^  protected synthesizeHclAttributes\((.*?)^  \}",
    re.MULTILINE | re.DOTALL,
)
_ARGUMENT = re.compile(
    r"^ +(\w+): \{\n +value: (.*),\n +isBlock: (true|false),\n +type: \"(\w+)\",\n +storageClassType: \"(\w+)\",",
    re.MULTILINE,
)
_FLAGGED = re.compile(
    r"^  // (\w+) - computed: (true|false), optional: (true|false), required: (true|false)\n(.*?)(?=^  // \w+ - computed|\Z)",
    re.MULTILINE | re.DOTALL,
)
_SIMPLE = {
    "string": "string",
    "number": "number",
    "boolean": "bool",
    "any": "dynamic",
    **{
        f"{item}{kind.capitalize()}": [kind, {"boolean": "bool"}.get(item, item)]
        for item in ("string", "number", "boolean")
        for kind in ("list", "set", "map")
    },
    "anyMap": ["map", "dynamic"],
}
_GETTERS = (
    ("getStringAttribute", "string"),
    ("getNumberAttribute", "number"),
    ("getBooleanAttribute", "bool"),
    ("Fn.tolist(this.getListAttribute", ["set", "string"]),
    ("getListAttribute", ["list", "string"]),
    ("getNumberListAttribute", ["list", "number"]),
    ("getStringMapAttribute", ["map", "string"]),
    ("cdktn.StringMap(", ["map", "string"]),
    ("cdktn.NumberMap(", ["map", "number"]),
    ("cdktn.BooleanMap(", ["map", "bool"]),
)


def read(package: Path, only: str = "") -> dict[str, Schema]:
    """Return {"provider": …, "resources": …, "data": …} of a wheel; `only` limits the result to one resource."""
    found: dict[str, Schema] = {"provider": {}, "resources": {}, "data": {}}
    for folder, source in _sources(package):
        kind = _KIND.search(source)
        if folder == "provider":
            found["provider"] = _root(source)
        elif kind and (not only or kind[1] == only):
            found["data" if folder.startswith("data-") else "resources"][kind[1]] = _root(source)
    return found


def _sources(package: Path) -> Iterator[tuple[str, str]]:
    with zipfile.ZipFile(package) as wheel:
        (archived,) = (name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
        with wheel.open(archived) as packed, tarfile.open(fileobj=packed, mode="r|gz") as archive:
            for member in archive:
                match = re.fullmatch(r"package/lib/([a-z0-9-]+)/index\.js", member.name)
                content = archive.extractfile(member) if match else None
                if match and content:
                    _, _, encoded = content.read().decode().rpartition("base64,")
                    if encoded:
                        yield match[1], json.loads(base64.b64decode(encoded))["sourcesContent"][0]


def _root(source: str) -> Schema:
    arguments: dict[str, list[re.Match[str]]] = {}
    for match in _ARGUMENTS.finditer(source):
        struct = match[1] or ""
        arguments[struct[:1].upper() + struct[1:]] = list(_ARGUMENT.finditer(match[2] or match[3]))
    bodies: dict[str, str] = {}
    for match in _CLASS.finditer(source):
        root = match[2] in {"TerraformResource", "TerraformDataSource", "TerraformProvider"}
        bodies["" if root else match[1].removesuffix("OutputReference")] = match[3]
    return _block("", arguments, bodies)


def _block(struct: str, arguments: dict[str, list[re.Match[str]]], bodies: dict[str, str]) -> Schema:
    attributes: Schema = {}
    blocks: Schema = {}
    flagged = {match[1]: match for match in _FLAGGED.finditer(bodies.get(struct, ""))}
    own = arguments.get(struct, [])
    # A few structs contain themselves. The inner one is empty here; Terraform's protocol has no recursive block either.
    arguments = {name: found for name, found in arguments.items() if name != struct}
    bodies = {name: body for name, body in bodies.items() if name != struct}
    for argument in own:
        name, value, is_block, kind, storage = argument.groups()
        flags = flagged.get(name)
        nested = _struct(value)
        if is_block == "true":
            blocks[name] = {
                "nesting": {"struct": "single"}.get(kind, kind),
                "one": kind == "struct" or not re.match(r"cdktn\.\w+Mapper", value),
                "required": bool(flags and flags[4] == "true"),
                "block": _block(nested, arguments, bodies),
            }
            continue
        of: Any = _SIMPLE.get(storage, "dynamic")
        if nested:
            of = ["object", _attribute_types(_block(nested, arguments, bodies))]
            of = of if kind == "struct" else [kind, of]
        elif kind == "set" and isinstance(of, list):
            of = ["set", of[1]]
        attributes[name] = {
            "type": of,
            "computed": bool(flags and flags[2] == "true"),
            "optional": not flags or flags[3] == "true",
            "required": bool(flags and flags[4] == "true"),
        }
    for name, flags in flagged.items():
        if name not in attributes and name not in blocks:
            attributes[name] = {"type": _computed(flags[5], arguments, bodies), "computed": True}
    return {"attributes": attributes, "blocks": blocks}


def _struct(value: str) -> str:
    """The struct that an argument's value is made of, or ''."""
    match = re.search(r"(?<![\w.])(\w+)ToHclTerraform", value)
    return match[1][:1].upper() + match[1][1:] if match else ""


def _computed(getter: str, arguments: dict[str, list[re.Match[str]]], bodies: dict[str, str]) -> Any:
    nested = re.search(r"new (\w+?)(List|Map|OutputReference)\(this, \"\w+\"(?:, (true|false))?", getter)
    if nested and nested[1] in bodies:
        of = ["object", _attribute_types(_block(nested[1], arguments, bodies))]
        if nested[2] == "Map":
            return ["map", of]
        return of if nested[2] == "OutputReference" else ["set" if nested[3] == "true" else "list", of]
    return next((of for call, of in _GETTERS if call in getter), "dynamic")


def _attribute_types(block: Schema) -> dict[str, Any]:
    """The types of a block's attributes and blocks, where it is the type of an attribute."""
    types = {name: attribute["type"] for name, attribute in block["attributes"].items()}
    for name, inner in block["blocks"].items():
        of = ["object", _attribute_types(inner["block"])]
        types[name] = of if inner["nesting"] == "single" else [inner["nesting"], of]
    return types
