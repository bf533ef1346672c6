"""The kinds that are served, and how each is named in paths, permissions and messages."""

from __future__ import annotations

from dataclasses import dataclass

APPS = "apps"
RBAC = "rbac.authorization.k8s.io"
AUTHORIZATION = "authorization.k8s.io"
AUTHENTICATION = "authentication.k8s.io"
ADMISSION = "admissionregistration.k8s.io"

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Resource:
    """One kind. A `virtual` one is answered at once and never stored (access reviews)."""

    group: str
    plural: str
    kind: str
    namespaced: bool = False
    short: tuple[str, ...] = ()
    virtual: bool = False
    creates_on_update: bool = False  # PUT to an absent object creates it: kube-apiserver does so for RBAC only
    returns_deleted: bool = False  # DELETE answers the object, not a Status: so it does for these kinds
    fields: tuple[str, ...] = ()  # field selectors beside metadata.name and metadata.namespace

    @property
    def api_version(self) -> str:
        return f"{self.group}/v1" if self.group else "v1"

    @property
    def qualified(self) -> str:
        """The name in messages: `secrets`, `roles.rbac.authorization.k8s.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def verbs(self) -> tuple[str, ...]:
        return ("create",) if self.virtual else VERBS


RESOURCES = (
    Resource("", "configmaps", "ConfigMap", namespaced=True, short=("cm",)),
    Resource("", "namespaces", "Namespace", short=("ns",), returns_deleted=True, fields=("status.phase",)),
    Resource("", "secrets", "Secret", namespaced=True, fields=("type",)),
    Resource("", "serviceaccounts", "ServiceAccount", namespaced=True, short=("sa",), returns_deleted=True),
    # Stored, and not enforced; a service account's dry run of what they match is refused.
    Resource(ADMISSION, "validatingadmissionpolicies", "ValidatingAdmissionPolicy"),
    Resource(ADMISSION, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding"),
    Resource(APPS, "deployments", "Deployment", namespaced=True, short=("deploy",)),
    Resource(APPS, "statefulsets", "StatefulSet", namespaced=True, short=("sts",)),
    Resource(RBAC, "clusterrolebindings", "ClusterRoleBinding", creates_on_update=True),
    Resource(RBAC, "clusterroles", "ClusterRole", creates_on_update=True),
    Resource(RBAC, "rolebindings", "RoleBinding", namespaced=True, creates_on_update=True),
    Resource(RBAC, "roles", "Role", namespaced=True, creates_on_update=True),
    Resource(AUTHORIZATION, "localsubjectaccessreviews", "LocalSubjectAccessReview", namespaced=True, virtual=True),
    Resource(AUTHORIZATION, "selfsubjectaccessreviews", "SelfSubjectAccessReview", virtual=True),
    Resource(AUTHORIZATION, "selfsubjectrulesreviews", "SelfSubjectRulesReview", virtual=True),
    Resource(AUTHORIZATION, "subjectaccessreviews", "SubjectAccessReview", virtual=True),
    Resource(AUTHENTICATION, "selfsubjectreviews", "SelfSubjectReview", virtual=True),
)
GROUPS = (ADMISSION, APPS, AUTHENTICATION, AUTHORIZATION, RBAC)
BY_PLURAL = {(resource.group, resource.plural): resource for resource in RESOURCES}
BY_KIND = {(resource.api_version, resource.kind): resource for resource in RESOURCES}

CONFIGMAPS = BY_PLURAL["", "configmaps"]
NAMESPACES = BY_PLURAL["", "namespaces"]
SECRETS = BY_PLURAL["", "secrets"]
SERVICEACCOUNTS = BY_PLURAL["", "serviceaccounts"]
CLUSTERROLES = BY_PLURAL[RBAC, "clusterroles"]
CLUSTERROLEBINDINGS = BY_PLURAL[RBAC, "clusterrolebindings"]
ROLES = BY_PLURAL[RBAC, "roles"]
POLICIES = BY_PLURAL[ADMISSION, "validatingadmissionpolicies"]
ROLEBINDINGS = BY_PLURAL[RBAC, "rolebindings"]
STORED = tuple(resource for resource in RESOURCES if not resource.virtual)
