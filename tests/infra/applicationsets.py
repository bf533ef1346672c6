"""ApplicationSets as Argo CD reads them: what a generator selects, and the Applications that a template gives."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import re
from typing import TYPE_CHECKING, Any

import yaml

from tests.infra.argocd import VALUES, render
from tests.unit import given

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.infra.argocd import Object


# At most 33 characters for a cluster: of its short name what fits, and a hash, because two clusters may share that name.
SHORT = '{{index .metadata.labels "fleet-registrar/name" | trunc 24}}-{{.name | sha256sum | trunc 8}}'
# A cluster's owner cannot set these labels.
CERTAIN = "fleet-registrar/project"
FIELD = re.compile(r"\{\{\.([A-Za-z.]+)\}\}")


def walk(value: Any) -> Iterator[str]:
    """Every text in an object."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)
    elif isinstance(value, str):
        yield value


def filled(value: Any, parameters: Object) -> Any:
    """Fill in a template as Go's does with missingkey=error, for plain keys."""
    if isinstance(value, dict):
        return {key: filled(inner, parameters) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, parameters) for inner in value]

    def found(match: re.Match[str]) -> str:
        here: Any = parameters
        for part in match[1].split("."):
            here = here[part]
        return str(here)

    if not isinstance(value, str):
        return value
    if SHORT in value:
        digest = hashlib.sha256(parameters["name"].encode()).hexdigest()
        value = value.replace(SHORT, f"{parameters['metadata']['labels']['fleet-registrar/name'][:24]}-{digest[:8]}")
    return FIELD.sub(found, value)


def generators(item: Object) -> list[Object]:
    """The generators of an ApplicationSet in order, those of a matrix in its place."""
    (outer,) = item["spec"]["generators"]
    return outer["matrix"]["generators"] if "matrix" in outer else [outer]


def selected(item: Object) -> Object:
    """The labels that the clusters of an ApplicationSet are selected by."""
    return dict(selector(item)["matchLabels"])


def selector(item: Object) -> Object:
    """The selector of the clusters of an ApplicationSet."""
    (found,) = [generator["clusters"]["selector"] for generator in generators(item) if "clusters" in generator]
    return dict(found)


def elements(item: Object, tenants: list[Object]) -> list[Object]:
    """The parameters that come before the clusters'."""
    first = generators(item)[0]
    return list(first["list"]["elements"]) if "list" in first else tenants if "git" in first else [{}]


def cluster(**labels: str) -> Object:
    """The parameters of a cluster, from the Secret that the functions write."""
    secret = given.created()
    name = base64.b64decode(secret["data"]["name"]).decode()
    own = {**secret["metadata"]["labels"], "fleet-registrar/name": "blue", CERTAIN: VALUES["apps-project"], **labels}
    return {"name": name, "nameNormalized": name, "metadata": {"labels": own}}


def applications(item: Object, tenants: list[Object], member: Object) -> list[Object]:
    """The Applications that an ApplicationSet makes for a cluster."""
    made = []
    for element in elements(item, tenants):
        wanted = filled(selected(item), element)
        if all(member["metadata"]["labels"].get(key) == value for key, value in wanted.items()):
            made.append(filled(item["spec"]["template"], {**element, **member}))
    return made


def strict(schema: Any) -> Any:
    """The schema with nothing allowed beside what it names."""
    if isinstance(schema, list):
        return [strict(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(inner) for key, inner in schema.items()}
    named = isinstance(schema.get("properties"), dict)
    free = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    # metadata is `type: object` in every definition: the API server knows its fields.
    return {**made, "additionalProperties": False} if named and not free else made


def fits(destination: Object, allowed: Object) -> bool:
    return all(fnmatch.fnmatchcase(destination[key], allowed[key]) for key in allowed)


def deployed(source: Object, tree: Path) -> list[Object]:
    """What Argo CD renders of a source: the folder, with the namespace and patches of the Application."""
    path = tree / source["path"].removeprefix("infra/argocd/")
    if "kustomize" not in source:
        return render(path)
    own = tree / "rendered"
    own.mkdir(exist_ok=True)
    (own / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": [f"../{path.relative_to(tree)}"], **source["kustomize"]})
    )
    return render(own)
