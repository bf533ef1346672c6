"""Identities and what they may do: service accounts, roles, and the policies of projects and resources.

Resources go by full names without a host: `projects/P`, `projects/P/topics/T`, `projects/P/locations/L/services/S`,
`projects/P/serviceAccounts/E`. Left out: folders and organisations, deny policies, groups; a binding with a condition is
kept and shown, and grants nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local.google.iam.roles import EVERYTHING, PREDEFINED
from local.google.iam.tokens import Tokens
from local.google.wire import GoogleError

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

_URLSAFE = str.maketrans("+/", "-_")


def member(email: str) -> str:
    """Return an identity as a member of a binding."""
    return f"{'serviceAccount' if email.endswith('.gserviceaccount.com') else 'user'}:{email}"


def unique_id(email: str) -> str:
    """Return the unique id of a service account: 21 digits, here derived from its e-mail."""
    return f"1{int(hashlib.sha256(email.encode()).hexdigest(), 16) % 10**20:020}"


@dataclass
class Iam:
    """Who is who, and who may do what, where.

    `owners` may do everything (the person whose machine this is). `roles` are custom roles by full name, `accounts`
    service accounts by e-mail, `policies` the bindings of a resource by its name.
    """

    owners: set[str] = field(default_factory=set)
    roles: dict[str, Json] = field(default_factory=dict)
    accounts: dict[str, Json] = field(default_factory=dict)
    policies: dict[str, list[Json]] = field(default_factory=dict)
    tokens: Tokens = field(default_factory=Tokens)
    _revoked: dict[tuple[str, str, str], set[str]] = field(default_factory=dict)

    # Tokens

    def token_for(self, email: str) -> str:
        """Return a new access token that says `email`."""
        return self.tokens.new(email)

    def identity(self, authorization: str | None) -> str | None:
        """Return the e-mail behind an `Authorization: Bearer …` header, or None."""
        kind, _, token = (authorization or "").partition(" ")
        return self.tokens.access.get(token.strip()) if kind.lower() == "bearer" else None

    # What identities may do

    def allows(self, email: str | None, permission: str, project: str) -> bool:
        """Whether IAM lets `email` use `permission` in `project` (an id)."""
        return self.allows_on(email, permission, f"projects/{project}")

    def allows_on(self, email: str | None, permission: str, resource: str) -> bool:
        """Whether IAM lets `email` use `permission` on a resource, by the resource's policy or its project's."""
        if email in self.owners:
            return True
        project = "/".join(resource.split("/")[:2])
        who = member(email) if email else "allUsers"
        roles = self._roles_of(who, {resource, project})
        return any(role == EVERYTHING or permission in self.permissions(role) for role in roles)

    def permissions(self, role: str) -> set[str]:
        """Return the permissions of a role; empty for a missing role."""
        if role in PREDEFINED:
            return set(PREDEFINED[role])
        found = self.roles.get(role, {})
        return set() if found.get("deleted") else set(found.get("includedPermissions", ()))

    def bind(self, resource: str, role: str, *members: str, condition: Json | None = None) -> None:
        """Grant a role on a resource to members (`serviceAccount:E`)."""
        bindings = self.policies.setdefault(resource, [])
        for binding in bindings:
            if binding["role"] == role and binding.get("condition") == condition:
                binding["members"] += [one for one in members if one not in binding["members"]]
                return
        bindings.append({"role": role, "members": list(members)} | ({"condition": condition} if condition else {}))

    def grant(self, email: str, project: str, *permissions: str) -> None:
        """Grant `email` permissions in `project` (an ID): undo `revoke`, and add a custom role for the others."""
        who, resource = member(email), f"projects/{project}"
        for permission in permissions:
            roles = self._revoked.pop((who, resource, permission), set())
            if not roles:
                roles = {f"{resource}/roles/granted.{email.partition('@')[0].replace('-', '_')}"}
                self.bind(resource, *roles, who)
            for role in roles:
                self.define_role(role, self.permissions(role) | {permission})

    def revoke(self, email: str, project: str, *permissions: str) -> None:
        """Take the permissions out of the custom roles that `email` has in `project`: one less may not be enough."""
        who, resource = member(email), f"projects/{project}"
        for permission in permissions:
            for role in set(self._roles_of(who, {resource})):
                if permission in self.roles.get(role, {}).get("includedPermissions", ()):
                    self.define_role(role, self.permissions(role) - {permission})
                    self._revoked.setdefault((who, resource, permission), set()).add(role)

    def _roles_of(self, who: str, resources: set[str]) -> Iterator[str]:
        for resource in resources:
            for binding in self.policies.get(resource, ()):
                if {who, "allUsers"} & set(binding["members"]) and "condition" not in binding:
                    yield binding["role"]

    # Roles, accounts and policies as resources

    def define_role(self, name: str, permissions: set[str], title: str = "") -> Json:
        """Create a custom role, or replace its permissions."""
        role = self.roles.setdefault(name, {"name": name, "title": title or name.rpartition("/")[2], "stage": "GA"})
        role["includedPermissions"] = sorted(permissions)
        role["etag"] = _etag(role["includedPermissions"])
        return role

    def create_account(self, email: str, title: str = "") -> Json:
        """Create a service account."""
        id_, _, host = email.partition("@")
        project = host.partition(".")[0]
        unique = unique_id(email)
        account = {
            "name": f"projects/{project}/serviceAccounts/{email}",
            "projectId": project,
            "uniqueId": unique,
            "email": email,
            "displayName": title or id_,
            "oauth2ClientId": unique,
            "etag": "MDEwMjE5MjA=",
        }
        self.accounts[email] = account
        return account

    def policy(self, resource: str) -> Json:
        """Return the policy of a resource."""
        bindings = deepcopy(self.policies.get(resource, []))
        project, others = resource.split("/")[1], resource.count("/") > 1
        if not others:
            owners = [member(email) for email in sorted(self.owners)]
            bindings += [{"role": EVERYTHING, "members": owners}] if owners else []
        bindings.sort(key=lambda binding: (binding["role"], json.dumps(binding.get("condition"))))
        conditional = any("condition" in binding for binding in bindings)
        answer: Json = {"version": 3 if conditional else 1, "etag": _etag([project, bindings])}
        return answer | ({"bindings": bindings} if bindings else {})

    def set_policy(self, resource: str, policy: Json) -> Json:
        """Replace the policy of a resource; 409 where it has changed since it was read."""
        etag = policy.get("etag")
        if etag and not same_etag(etag, self.policy(resource)["etag"]):
            raise GoogleError(
                409, "There were concurrent policy changes. Retry the whole read-modify-write.", "ABORTED"
            )
        bindings = policy.get("bindings", [])
        for binding in bindings:
            role = binding.get("role", "")
            if role not in PREDEFINED and role not in self.roles:
                raise GoogleError(400, f"Role {role} is not supported for this resource.")
        always = {member(email) for email in self.owners} if resource.count("/") == 1 else set()
        kept = []
        for binding in deepcopy(bindings):
            if binding["role"] == EVERYTHING:
                binding["members"] = [one for one in binding.get("members", []) if one not in always]
            if binding.get("members"):
                kept.append(binding)
        self.policies[resource] = kept
        return self.policy(resource)


def same_etag(one: str, other: str) -> bool:
    """Compare two etags: clients send them back in either alphabet of base64."""
    return one.translate(_URLSAFE) == other.translate(_URLSAFE)


def _etag(value: Any) -> str:
    """Return a checksum in base64: clients decode it and encode it again."""
    return base64.b64encode(b"\x07" + hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()[:7]).decode()
