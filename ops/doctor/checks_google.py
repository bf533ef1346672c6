"""Checks of projects, APIs, identities and their permissions. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ops.doctor import commands
from ops.doctor.codes import Code
from ops.doctor.expected import ARGOCD, ARGOCD_WORKLOADS, BUILD_ROLES, Expected
from ops.doctor.findings import Check, Finding, Read, Unread
from ops.doctor.observed import Bindings, Google, at
from ops.terminal import pluralize
from shared.values.commands import gcloud
from shared.values.objects import Object

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


# Permissions, and the predefined roles that are known to have them: those are not read.
PUBLISH: Final = "pubsub.topics.publish"
CONSUME: Final = "pubsub.subscriptions.consume"
INVOKE: Final = "run.routes.invoke"
_ROLES_WITH: Final[Mapping[str, frozenset[str]]] = {
    PUBLISH: frozenset({"roles/pubsub.publisher"}),
    CONSUME: frozenset({"roles/pubsub.subscriber"}),
    INVOKE: frozenset({"roles/run.servicesInvoker", "roles/run.invoker"}),
}
KNOWN_ROLES: Final = _ROLES_WITH[PUBLISH] | _ROLES_WITH[INVOKE]


def check_operator(_: Expected, seen: Google) -> list[Finding]:
    """The operator is logged in, and calls are billed to a project."""
    check = Check("operator")
    operator = check.known(seen.operator, "")
    if operator is None:
        return check.end("", "")
    who = operator.email or "your identity"
    if operator.needs_quota_project and not operator.quota_project:
        check.warn(
            Code.NO_QUOTA_PROJECT,
            who,
            "your application default credentials have no quota project, so some APIs answer 403",
            "gcloud auth application-default set-quota-project $PROJECT",
        )
    billed = f", quota project {operator.quota_project}" if operator.quota_project else ""
    return check.end(who, f"logged in{billed}")


def check_projects(expected: Expected, seen: Google) -> list[Finding]:
    """The projects are active, and the fleet project has the number of the settings."""
    check = Check("projects")
    settings = expected.settings
    numbers = {
        settings.central_membership.project: ("CENTRAL_PROJECT_NUMBER", settings.central_project_number),
        settings.fleet_project: ("FLEET_PROJECT_NUMBER", settings.fleet_project_number),
    }
    for project in expected.projects:
        found = check.known_of(seen.projects, project)
        describe = gcloud("projects describe", project)
        if found is None:
            if not isinstance(seen.projects.get(project), Unread):
                text = "this project does not exist, or your identity may not see it"
                check.fail(Code.PROJECT_NOT_ACTIVE, project, text, describe)
            continue
        if (state := found.get("lifecycleState", "ACTIVE")) != "ACTIVE":
            text = f"the project is {state}: take it out of SOURCE_PROJECTS, or restore it within 30 days"
            check.fail(Code.PROJECT_NOT_ACTIVE, project, text, describe)
        number = str(found.get("projectNumber", ""))
        setting, right = numbers.get(project, ("", number))
        if number != right:
            text = f"its number is {number}, {setting} is {right}"
            check.fail(Code.PROJECT_NUMBER_WRONG, project, text, commands.TERRAFORM)
    return check.end("", f"{pluralize(len(expected.projects), 'project')} active, the fleet's number is right")


def check_apis(expected: Expected, seen: Google) -> list[Finding]:
    """Every API that a project needs is enabled."""
    check = Check("apis")
    for project in expected.projects:
        enabled = check.known_of(seen.services, project)
        for api in sorted(expected.apis(project) - enabled) if enabled is not None else ():
            check.fail(Code.API_DISABLED, f"{api} in {project}", "not enabled", commands.enable(api, project))
    needed = sum(len(expected.apis(project)) for project in expected.projects)
    return check.end("", f"{needed} enabled in {pluralize(len(expected.projects), 'project')}")


def check_accounts(expected: Expected, seen: Google) -> list[Finding]:
    """Every service account exists and is enabled."""
    check = Check("service-accounts")
    names = [expected.account(name) for name in sorted(expected.roles)]
    names += [expected.push_account, expected.trigger_account, expected.build_account]
    accounts = check.known(seen.accounts, expected.project)
    for email in names if accounts is not None else ():
        found = (accounts or {}).get(email)
        if found is None and email.partition("@")[2] != expected.push_account.partition("@")[2]:
            continue  # Argo CD's identity may be in another project
        if found is None:
            check.fail(Code.ACCOUNT_MISSING, email, "does not exist", commands.TERRAFORM)
        elif found.get("disabled"):
            enable = gcloud("iam service-accounts enable", email, project=expected.project)
            check.fail(Code.ACCOUNT_DISABLED, email, "is disabled", enable)
    return check.end("", f"{len(names)} exist and are enabled")


def check_permissions(expected: Expected, seen: Google) -> list[Finding]:
    """Each identity has exactly its permissions of `infra/roles.json` on the fleets' and source projects."""
    check = Check("permissions")
    number = 0
    for name in sorted(expected.roles):
        for project in expected.projects:
            needed = expected.permissions(name, project)
            policy = check.known_of(seen.policies, project)
            if policy is None:
                continue
            number += len(needed)
            account = expected.account(name)
            held = _held(check, account, policy, seen.roles)
            if held is None:
                continue
            subject = f"{account} on {project}"
            if missing := needed - held:
                role = f"{expected.custom_roles}.{name.replace('-', '_')}"
                text = f"lacks {', '.join(sorted(missing))} (custom role {role})"
                check.fail(Code.PERMISSION_MISSING, subject, text, commands.TERRAFORM)
            if (extra := held - needed) and not _is_required_terminal(name, extra):
                some = sorted(extra)
                more = f" and {len(some) - 3} more" if len(some) > 3 else ""
                text = f"has more than it needs: {', '.join(some[:3])}{more}"
                bindings = {"flatten": "bindings", "filter": f"bindings.members:{account}"}
                check.warn(Code.PERMISSION_EXTRA, subject, text, gcloud("projects get-iam-policy", project, **bindings))
    return check.end("", f"{number} of infra/roles.json are granted, and no more")


def check_publishers(expected: Expected, seen: Google, topic_policies: Mapping[str, Read[Bindings]]) -> list[Finding]:
    """Each identity may publish to the topics of `infra/roles.json`."""
    check = Check("publishers")
    number = 0
    for name, role in sorted(expected.roles.items()):
        member = f"serviceAccount:{expected.account(name)}"
        for topic in role["publish"]:
            number += 1
            policy = check.known_of(topic_policies, topic)
            if policy is not None and not may(member, PUBLISH, policy, seen, expected.project):
                fix = commands.grant_publish(expected.project, topic, member)
                check.fail(Code.PUBLISHER_MISSING, f"{name} to topic {topic}", "may not publish", fix)
    return check.end("", f"{number} grants on topics are there")


def check_agents(expected: Expected, seen: Google) -> list[Finding]:
    """Google's service agents hold their roles: they mint tokens, deliver events and register clusters."""
    check = Check("service-agents")
    settings = expected.settings
    required = [
        (expected.project, f"gcp-sa-{service}", f"roles/{service}.serviceAgent")
        for service in ("pubsub", "eventarc", "cloudscheduler")
    ]
    fleet = sorted({settings.fleet_project, *settings.source_projects})
    required += [(project, "gcp-sa-gkehub", "roles/gkehub.serviceAgent") for project in fleet]
    for project, agent, role in required:
        owner = settings.fleet_project if agent == "gcp-sa-gkehub" else expected.project
        number = project_number(expected, seen, owner)
        policy = check.known_of(seen.policies, project)
        if policy is None or number is None:
            continue
        member = f"serviceAccount:service-{number}@{agent}.iam.gserviceaccount.com"
        if agent == "gcp-sa-pubsub" and holds(
            seen.account_policies.get(expected.push_account), member, "roles/iam.serviceAccountTokenCreator"
        ):
            continue  # enough to mint the tokens of pushes
        if not holds(policy, member, role):
            fix = commands.grant("projects", project, member, role)
            check.fail(Code.AGENT_ROLE_MISSING, f"{agent} on {project}", f"lacks {role}", fix)
    return check.end("", f"{len(required)} roles are there")


def check_builder(expected: Expected, seen: Google) -> list[Finding]:
    """The build identity may read sources, write images and log: without that no deployment succeeds."""
    check = Check("build-identity")
    member = f"serviceAccount:{expected.build_account}"
    policy = check.known_of(seen.policies, expected.project)
    for role in BUILD_ROLES if policy is not None else ():
        # A condition that narrows it to the sources' bucket is right here.
        if not holds(policy, member, role, conditional=True):
            check.fail(Code.BUILD_ROLE_MISSING, expected.build_account, f"lacks {role}", commands.TERRAFORM)
    return check.end(expected.build_account, "may read sources, write images and log")


def check_workload_identity(expected: Expected, seen: Google, pool: Read[str], *, is_gke: Read[bool]) -> list[Finding]:
    """Exactly Argo CD's two service accounts may act as its Google identity."""
    check = Check("argocd-workload-identity")
    settings = expected.settings
    email = settings.argocd_service_account
    gke = check.known(is_gke, email)
    if gke is None:
        return check.end(email, "")
    found_pool = check.known(pool, email) if gke else ""
    if found_pool is None:
        return check.end(email, "")
    known = found_pool or f"{settings.central_membership.project}.svc.id.goog"  # of the central cluster's fleet
    policy = check.known_of(seen.account_policies, email)
    if policy is None:
        return check.end(email, "")
    right = {f"serviceAccount:{known}[{settings.argocd_namespace}/{name}]": name for name in ARGOCD_WORKLOADS}
    found = {
        member
        for binding in policy
        if binding.get("role") == "roles/iam.workloadIdentityUser"
        for member in binding.get("members", [])
    }
    role, accounts = "roles/iam.workloadIdentityUser", "iam service-accounts"
    home = email.partition("@")[2].partition(".")[0]
    for member, name in right.items():
        if member not in found:
            text = f"may not act as {email}: Argo CD gets no token"
            fix = commands.grant(accounts, email, member, role, project=home)
            check.fail(Code.WORKLOAD_IDENTITY_MISSING, name, text, fix)
    mine = tuple(f"[{settings.argocd_namespace}/{name}]" for name in ARGOCD_WORKLOADS)
    for member in sorted(one for one in found - right.keys() if not one.endswith(mine)):
        text = f"may act as {email} too, and so reach every cluster"
        shown = gcloud(f"{accounts} get-iam-policy", email, project=home)
        check.warn(Code.WORKLOAD_IDENTITY_EXTRA, member, text, shown)
    return check.end(email, "is used by Argo CD's two service accounts alone")


# What policies say


def holds(policy: Read[Bindings] | None, member: str, role: str, *, conditional: bool = False) -> bool:
    """Whether a policy gives a role to a member; a binding with a condition counts only with `conditional`."""
    return isinstance(policy, tuple) and any(
        binding.get("role") == role
        and member in (binding.get("members") or [])
        and (conditional or not binding.get("condition"))
        for binding in policy
    )


def roles_of(policy: Iterable[Object], member: str) -> set[str]:
    """Return the roles that a policy gives to a member without a condition."""
    return {
        str(binding.get("role"))
        for binding in policy
        if member in (binding.get("members") or []) and not binding.get("condition")
    }


def may(member: str, permission: str, policy: Bindings, seen: Google, project: str) -> bool:
    """Whether a member has a permission on a topic, subscription or service, by its policy or its project's."""
    of_project = seen.policies.get(project)
    given = roles_of(policy, member) | (roles_of(of_project, member) if isinstance(of_project, tuple) else set())
    known = [seen.roles.get(role) for role in given]
    return bool(given & _ROLES_WITH[permission]) or any(
        permission in one for one in known if isinstance(one, frozenset)
    )


def project_number(expected: Expected, seen: Google, project: str) -> str | None:
    """Return a project's number, where it is known."""
    if project == expected.settings.fleet_project:
        return expected.settings.fleet_project_number
    number = at(seen.projects.get(project), "projectNumber")
    return None if number is None else str(number)


def _held(
    check: Check, email: str, policy: Bindings, roles: Mapping[str, Read[frozenset[str]]]
) -> frozenset[str] | None:
    """Return the permissions that a policy gives an identity; None where one of its roles could not be read."""
    held: set[str] = set()
    for role in roles_of(policy, f"serviceAccount:{email}"):
        permissions = check.known(roles.get(role, Unread(f"role {role} was not read")), role)
        if permissions is None:
            return None
        held |= permissions
    return frozenset(held)


def _is_required_terminal(name: str, extra: frozenset[str]) -> bool:
    """Argo CD's terminal needs roles/gkehub.gatewayAdmin, which holds nothing but the gateway's verbs and a few reads."""
    return name == ARGOCD and all(one.startswith(("gkehub.", "resourcemanager.", "serviceusage.")) for one in extra)
