"""Who may do what in a cluster: RBAC over the stored roles and bindings, or Google's IAM where the cluster is a GKE one.

Pure reading of the store. Rules: https://kubernetes.io/docs/reference/access-authn-authz/rbac/, with its privilege
escalation checks. The IAM side: https://cloud.google.com/kubernetes-engine/docs/how-to/iam (either side may allow;
permissions are `container.<resource>.<verb>`). Aggregated ClusterRoles are left out: they are a controller's work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.kubernetes import resources
from local.kubernetes.resources import RBAC
from local.kubernetes.status import StatusError, forbidden, not_found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.kubernetes.resources import Resource
    from local.kubernetes.store import Object, Store

Rule = dict[str, Any]

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
_SERVICE_ACCOUNT = "system:serviceaccount:"

_IAM_VERBS = {"watch": "list", "patch": "update", "deletecollection": "delete"}
_IAM_NAMES = {
    "clusterrolebindings": "clusterRoleBindings",
    "clusterroles": "clusterRoles",
    "configmaps": "configMaps",
    "cronjobs": "cronJobs",
    "customresourcedefinitions": "customResourceDefinitions",
    "daemonsets": "daemonSets",
    "localsubjectaccessreviews": "localSubjectAccessReviews",
    "networkpolicies": "networkPolicies",
    "persistentvolumeclaims": "persistentVolumeClaims",
    "replicasets": "replicaSets",
    "rolebindings": "roleBindings",
    "selfsubjectaccessreviews": "selfSubjectAccessReviews",
    "selfsubjectrulesreviews": "selfSubjectRulesReviews",
    "serviceaccounts": "serviceAccounts",
    "statefulsets": "statefulSets",
    "subjectaccessreviews": "subjectAccessReviews",
}


@dataclass(frozen=True)
class User:
    name: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attributes:
    """One access question. `path` is set for a non-resource URL (`/version`)."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f'{self.verb} path "{self.path}"'
        resource = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        where = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        return f'{self.verb} resource "{resource}" in API group "{self.group}" {where}'


def service_account(namespace: str, name: str) -> User:
    """The user that a ServiceAccount is: https://kubernetes.io/docs/reference/access-authn-authz/authentication/."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
    return User(f"{_SERVICE_ACCOUNT}{namespace}:{name}", groups)


def iam_permission(attributes: Attributes) -> str:
    """Return the IAM permission that GKE checks; paths have no permission."""
    if attributes.path:
        return ""
    verb = _IAM_VERBS.get(attributes.verb, attributes.verb)
    return f"container.{_IAM_NAMES.get(attributes.resource, attributes.resource)}.{verb}"


class Authorizer:
    """Decides from the current objects of the store."""

    def __init__(self, store: Store, iam_allows: Callable[[str, str], bool] | None = None) -> None:
        self._store = store
        self._iam_allows = iam_allows

    def decide(self, user: User, attributes: Attributes) -> tuple[bool, str]:
        """Return whether the user may, and the reason."""
        if MASTERS in user.groups:
            return True, ""
        for rule, reason in self._rules(user, attributes.namespace):
            if _rule_allows(rule, attributes):
                return True, reason
        permission = iam_permission(attributes)
        if self._iam_allows is None or not permission:
            return False, ""
        if self._iam_allows(user.name, permission):
            return True, f"access granted by IAM permissions ({permission})"
        return False, f'requires one of ["{permission}"] permission(s).'

    def require(self, user: User, attributes: Attributes) -> None:
        """Raise 403 if the user lacks the permission."""
        allowed, reason = self.decide(user, attributes)
        if not allowed:
            raise _denied(user, attributes, reason)

    def rules(self, user: User, namespace: str) -> list[Rule]:
        """Return all RBAC rules that the user holds in a namespace ("" for cluster-wide ones only)."""
        return [rule for rule, _ in self._rules(user, namespace)]

    def impersonated(self, user: User, name: str, groups: list[str]) -> User:
        """Return whom `user` acts as; groups are filled in as kube-apiserver's impersonation filter does."""
        if name.startswith(_SERVICE_ACCOUNT):
            namespace, _, account = name.removeprefix(_SERVICE_ACCOUNT).partition(":")
            self.require(user, Attributes("impersonate", "", "serviceaccounts", namespace=namespace, name=account))
            groups = groups or list(service_account(namespace, account).groups)
        else:
            self.require(user, Attributes("impersonate", "", "users", name=name))
        for group in groups:
            if not (name.startswith(_SERVICE_ACCOUNT) and group in service_account(namespace, account).groups):
                self.require(user, Attributes("impersonate", "", "groups", name=group))
        implied = UNAUTHENTICATED if name == "system:anonymous" else AUTHENTICATED
        return User(name, (*groups, implied) if implied not in groups else tuple(groups))

    def refuse_escalation(self, user: User, resource: Resource, item: Object) -> None:
        """Refuse a role or binding with rights that the user lacks, unless they may `escalate` or `bind`."""
        namespace, name = item["metadata"].get("namespace", ""), item["metadata"].get("name", "")
        if resource in {resources.CLUSTERROLES, resources.ROLES}:
            attributes = Attributes("escalate", RBAC, resource.plural, namespace=namespace, name=name)
            granted = item.get("rules") or []
        else:
            plural = "clusterroles" if item["roleRef"].get("kind") == "ClusterRole" else "roles"
            role = item["roleRef"].get("name", "")
            attributes = Attributes("bind", RBAC, plural, namespace=namespace, name=role)
            granted = None
        if self.decide(user, attributes)[0]:
            return
        if granted is None:
            granted = self._role_rules(item["roleRef"], namespace)
            if granted is None:
                raise not_found(resources.BY_PLURAL[RBAC, attributes.resource], attributes.name)
        held = self.rules(user, namespace)
        missing = [
            rule for rule in granted if not all(any(_covers(own, part) for own in held) for part in _parts(rule))
        ]
        if missing:
            groups = " ".join(f'"{group}"' for group in user.groups)
            rules_text = "\n".join(_shown(rule) for rule in missing)
            why = f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n{rules_text}'
            raise forbidden(resource, name, why)

    def _rules(self, user: User, namespace: str) -> Iterator[tuple[Rule, str]]:
        bindings = self._store.all(resources.CLUSTERROLEBINDINGS)
        if namespace:
            bindings = bindings + self._store.all(resources.ROLEBINDINGS, namespace)
        for binding in bindings:
            bound_in = binding["metadata"].get("namespace", "")
            if any(_is_subject(subject, user, bound_in) for subject in binding.get("subjects", [])):
                role = binding["roleRef"]
                reason = (
                    f'RBAC: allowed by {binding["kind"]} "{binding["metadata"]["name"]}" '
                    f'of {role["kind"]} "{role["name"]}" to User "{user.name}"'
                )
                yield from ((rule, reason) for rule in self._role_rules(role, bound_in) or [])

    def _role_rules(self, role: dict[str, str], namespace: str) -> list[Rule] | None:
        if role.get("kind") == "ClusterRole":
            found = self._store.get(resources.CLUSTERROLES, "", role.get("name", ""))
        else:
            found = self._store.get(resources.ROLES, namespace, role.get("name", ""))
        return None if found is None else found.get("rules") or []


def _denied(user: User, attributes: Attributes, reason: str) -> StatusError:
    who = f'User "{user.name}" cannot {attributes}' + (f": {reason}" if reason else "")
    if attributes.path:
        return StatusError(403, "Forbidden", f"forbidden: {who}", {})
    named = resources.Resource(attributes.group, attributes.resource, attributes.resource)
    return forbidden(named, attributes.name, who)


def _is_subject(subject: dict[str, str], user: User, namespace: str) -> bool:
    match subject.get("kind"):
        case "User":
            return subject["name"] == user.name
        case "Group":
            return subject["name"] in user.groups
        case _:
            return f"{_SERVICE_ACCOUNT}{subject.get('namespace') or namespace}:{subject['name']}" == user.name


def _rule_allows(rule: Rule, attributes: Attributes) -> bool:
    if not _matches(rule.get("verbs", []), attributes.verb):
        return False
    if attributes.path:
        return any(_path_matches(pattern, attributes.path) for pattern in rule.get("nonResourceURLs", []))
    names = rule.get("resourceNames")
    return (
        _matches(rule.get("apiGroups", []), attributes.group)
        and _resource_matches(rule.get("resources", []), attributes.resource, attributes.subresource)
        and (not names or attributes.name in names)
    )


def _matches(patterns: list[str], value: str) -> bool:
    return "*" in patterns or value in patterns


def _resource_matches(patterns: list[str], resource: str, subresource: str) -> bool:
    wanted = f"{resource}/{subresource}" if subresource else resource
    return _matches(patterns, wanted) or (bool(subresource) and f"*/{subresource}" in patterns)


def _path_matches(pattern: str, path: str) -> bool:
    return path == pattern or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def _parts(rule: Rule) -> Iterator[Rule]:
    """Split a rule into rules of one verb on one thing, so that each can be covered by another rule."""
    for verb in rule.get("verbs", []):
        for url in rule.get("nonResourceURLs", []):
            yield {"verbs": [verb], "nonResourceURLs": [url]}
        for group in rule.get("apiGroups", []):
            for resource in rule.get("resources", []):
                for name in rule.get("resourceNames") or [None]:
                    names = {} if name is None else {"resourceNames": [name]}
                    yield {"verbs": [verb], "apiGroups": [group], "resources": [resource], **names}


def _covers(own: Rule, part: Rule) -> bool:
    if not _matches(own.get("verbs", []), part["verbs"][0]):
        return False
    if "nonResourceURLs" in part:
        return any(_path_matches(pattern, part["nonResourceURLs"][0]) for pattern in own.get("nonResourceURLs", []))
    resource, _, subresource = part["resources"][0].partition("/")
    return (
        _matches(own.get("apiGroups", []), part["apiGroups"][0])
        and _resource_matches(own.get("resources", []), resource, subresource)
        and (not own.get("resourceNames") or part.get("resourceNames", [None])[0] in own["resourceNames"])
    )


def _shown(rule: Rule) -> str:
    names = {
        "nonResourceURLs": "NonResourceURLs",
        "apiGroups": "APIGroups",
        "resources": "Resources",
        "resourceNames": "ResourceNames",
        "verbs": "Verbs",
    }
    parts = [_listed(title, rule[field]) for field, title in names.items() if rule.get(field)]
    return "{" + ", ".join(parts) + "}"


def _listed(title: str, values: list[str]) -> str:
    quoted = ", ".join(f'"{value}"' for value in values)
    return f"{title}:[{quoted}]"
