"""Reads projects, APIs, identities, topics, functions, triggers and sinks: the first two parts of `Observed`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ops.activity import log_query, parse_time
from ops.doctor.api import Api, attempt
from ops.doctor.checks_functions import region_of
from ops.doctor.checks_google import KNOWN_ROLES, roles_of
from ops.doctor.expected import ARGOCD, SWEEP, Expected, subscription_of
from ops.doctor.findings import Read, Unread
from ops.doctor.observed import Bindings, Delivery, Google, Operator, at, short
from shared.values.objects import Object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from google.auth.credentials import Credentials


T = TypeVar("T")
K = TypeVar("K")

WIDTH: Final = 16  # calls at a time; each API allows hundreds of reads a minute
LOOK_BACK: Final = timedelta(days=1)


class Reader:
    """Reads many things at a time; what cannot be read is `Unread`."""

    def __init__(self, api: Api, expected: Expected, member: str) -> None:
        self.api = api
        self.expected = expected
        self.member = member

    def each(self, read: Callable[[K], T], keys: Iterable[K]) -> dict[K, Read[T]]:
        """Return what was read for each key."""
        several = list(keys)
        with ThreadPoolExecutor(WIDTH) as pool:
            found = pool.map(lambda key: attempt(partial(read, key), self.member), several)
            return dict(zip(several, found, strict=True))

    def together(self, **reads: Callable[[], Any]) -> Object:
        """Return what each of several reads gave."""
        return self.each(lambda name: reads[name](), reads)

    # Projects and identities

    def google(self, operator: Read[Operator], delivery: Delivery) -> Google:
        """Read what `checks_google` compares. `delivery` says which roles the topics' and services' policies give."""
        expected = self.expected
        projects = expected.projects
        found = self.together(
            projects=lambda: self.each(self._project, projects),
            services=lambda: self.each(self._services, projects),
            policies=lambda: self.each(
                lambda one: self.api.policy("cloudresourcemanager", f"v1/projects/{one}", post=True), projects
            ),
            accounts=self._accounts,
            account_policies=lambda: self.each(self._account_policy, [expected.push_account, expected.account(ARGOCD)]),
        )
        policies: dict[str, Read[Bindings]] = found["policies"]
        roles = self.each(self._permissions, self._roles(policies, delivery))
        policies = self._with_inherited(policies, roles, found["projects"])
        roles |= self.each(self._permissions, self._roles(policies, delivery) - roles.keys())
        return Google(**found | {"operator": operator, "policies": policies, "roles": roles})

    def _project(self, project: str) -> Object | None:
        return self.api.find("cloudresourcemanager", f"v1/projects/{project}")

    def _services(self, project: str) -> frozenset[str]:
        found = self.api.pages(
            "serviceusage", f"v1/projects/{project}/services", "services", filter="state:ENABLED", pageSize=200
        )
        return frozenset(str(at(one, "config", "name") or short(one.get("name"))) for one in found)

    def _accounts(self) -> Mapping[str, Object]:
        found = self.api.pages("iam", f"v1/projects/{self.expected.project}/serviceAccounts", "accounts", pageSize=100)
        return {str(one.get("email")): one for one in found}

    def _account_policy(self, email: str) -> Bindings:
        return self.api.policy("iam", f"v1/projects/-/serviceAccounts/{email}", post=True)

    def _permissions(self, role: str) -> frozenset[str]:
        return frozenset(self.api.get("iam", f"v1/{role}").get("includedPermissions") or [])

    def _roles(self, policies: Mapping[str, Read[Bindings]], delivery: Delivery) -> set[str]:
        """Return the roles that policies give to our identities and to Google's agents, but for those known by name."""
        names = {f"serviceAccount:{self.expected.account(name)}" for name in self.expected.roles}
        names |= {f"serviceAccount:{self.expected.push_account}", f"serviceAccount:{self.expected.trigger_account}"}

        def given(several: Iterable[Read[Bindings]]) -> set[str]:
            lists = [policy for policy in several if isinstance(policy, tuple)]
            return {role for policy in lists for name in names for role in roles_of(policy, name)}

        # A role that is known by name counts as extra permissions where a project's policy gives it.
        on_objects = given([*delivery.topic_policies.values(), *delivery.invokers.values()])
        return given(policies.values()) | (on_objects - KNOWN_ROLES)

    def _with_inherited(
        self,
        policies: Mapping[str, Read[Bindings]],
        roles: Mapping[str, Read[frozenset[str]]],
        projects: Mapping[str, Any],
    ) -> dict[str, Read[Bindings]]:
        """Add what folders and the organisation give, to projects whose own policy gives too little."""
        lacking = [
            one for one in policies if self._lacks(one, policies[one], roles) and at(projects.get(one), "parent")
        ]
        inherited = self.each(self._inherited, lacking)
        found = dict(policies)
        for project, more in inherited.items():
            own = policies[project]
            found[project] = more if isinstance(more, Unread) or isinstance(own, Unread) else (*own, *more)
        return found

    def _lacks(self, project: str, policy: Read[Bindings], roles: Mapping[str, Read[frozenset[str]]]) -> bool:
        if isinstance(policy, Unread):
            return False
        for name in self.expected.roles:
            held: set[str] = set()
            for role in roles_of(policy, f"serviceAccount:{self.expected.account(name)}"):
                permissions = roles.get(role)
                held |= permissions if isinstance(permissions, frozenset) else set()
            if self.expected.permissions(name, project) - held:
                return True
        return False

    def _ancestors(self, project: str) -> list[tuple[str, str]]:
        """Return (`folders` or `organizations`, number) of what a project is below."""
        answer = self.api.post("cloudresourcemanager", f"v1/projects/{project}:getAncestry", {})
        found = [at(one, "resourceId") or {} for one in answer.get("ancestor") or []]
        return [(f"{one['type']}s", str(one["id"])) for one in found if one.get("type") in {"folder", "organization"}]

    def _inherited(self, project: str) -> Bindings:
        found: list[Object] = []
        for kind, number in self._ancestors(project):
            version = "v2" if kind == "folders" else "v1"
            found += self.api.policy("cloudresourcemanager", f"{version}/{kind}/{number}", post=True)
        return tuple(found)

    # What carries messages and events

    def delivery(self, now: datetime) -> Delivery:
        """Read what `checks_pubsub` and `checks_functions` compare."""
        expected = self.expected
        parent = f"v1/projects/{expected.project}"
        subscriptions = [*map(subscription_of, expected.functions)]
        found = self.together(
            topics=lambda: frozenset(
                str(one.get("name")) for one in self.api.pages("pubsub", f"{parent}/topics", "topics")
            ),
            topic_policies=lambda: self.each(
                lambda one: self.api.policy("pubsub", f"{parent}/topics/{one}", post=False), expected.topics
            ),
            subscriptions=lambda: _by_name(self.api.pages("pubsub", f"{parent}/subscriptions", "subscriptions")),
            subscription_policies=lambda: self.each(
                lambda one: self.api.policy("pubsub", f"{parent}/subscriptions/{one}", post=False), subscriptions
            ),
            functions=self._functions,
            triggers=lambda: tuple(self.api.pages("eventarc", f"{parent}/locations/-/triggers", "triggers")),
            sinks=lambda: self.each(self._sinks, sorted(expected.settings.source_projects)),
            last_sweep=lambda: self._last_sweep(now),
        )
        functions: Read[Mapping[str, Object]] = found["functions"]
        invokers: dict[str, Read[Bindings]] = {}
        if not isinstance(functions, Unread):
            known = functions
            invokers = self.each(lambda one: self._invokers(known[one]), known)
        return Delivery(**found, invokers=invokers, jobs=self._jobs_beside(functions))

    def chain(self, now: datetime) -> Delivery:
        """Read what moves messages: functions, subscriptions, the schedule and the last sweep. The rest is unread."""
        parent = f"v1/projects/{self.expected.project}"
        found = self.together(
            subscriptions=lambda: _by_name(self.api.pages("pubsub", f"{parent}/subscriptions", "subscriptions")),
            functions=self._functions,
            last_sweep=lambda: self._last_sweep(now),
        )
        return Delivery(**found, jobs=self._jobs_beside(found["functions"]))

    def _jobs_beside(self, functions: Read[Mapping[str, Object]]) -> Read[tuple[Object, ...]]:
        """Return the schedules in the functions' regions."""
        if isinstance(functions, Unread):
            return functions
        regions = sorted({region_of(one) for one in functions.values()})
        return attempt(lambda: self._jobs(regions), self.member)

    def _functions(self) -> Mapping[str, Object]:
        path = f"v2/projects/{self.expected.project}/locations/-/functions"
        found = _by_name(self.api.pages("cloudfunctions", path, "functions"))
        return {name: one for name, one in found.items() if name in self.expected.deployed}

    def _invokers(self, function: Object) -> Bindings:
        service = str(at(function, "serviceConfig", "service") or "") or str(function["name"]).replace(
            "/functions/", "/services/"
        )
        return self.api.policy("run", f"v1/{service}", post=False)

    def _jobs(self, regions: Iterable[str]) -> tuple[Object, ...]:
        several = (
            self.api.pages("cloudscheduler", f"v1/projects/{self.expected.project}/locations/{region}/jobs", "jobs")
            for region in regions
        )
        return tuple(job for jobs in several for job in jobs)

    def _sinks(self, project: str) -> tuple[Object, ...]:
        """Return a project's sinks; with those of its folders and organisation where it has none of ours."""
        found = self.api.pages("logging", f"v2/projects/{project}/sinks", "sinks")
        if any(short(one.get("name")) == self.expected.sink for one in found):
            return tuple(found)
        if at(self._project(project), "parent"):
            for kind, number in self._ancestors(project):
                above = self.api.pages("logging", f"v2/{kind}/{number}/sinks", "sinks")
                found += [one for one in above if one.get("includeChildren")]
        return tuple(found)

    def _last_sweep(self, now: datetime) -> datetime | None:
        swept = f'resource.labels.service_name="{SWEEP}" jsonPayload.decision="swept"'
        entries = self.api.entries(log_query(self.expected.project, swept, now - LOOK_BACK, 1))
        return parse_time(entries[0].get("timestamp")) if entries else None


def operator_of(credentials: Credentials, email: str) -> Operator:
    """Return who runs the check. Only a person's own credentials need a quota project."""
    from google.oauth2.credentials import Credentials as Person

    return Operator(email, isinstance(credentials, Person), str(getattr(credentials, "quota_project_id", "") or ""))


def member_of(email: str) -> str:
    """Return an identity as IAM names it; '' if the e-mail is not known."""
    kind = "serviceAccount" if email.endswith("gserviceaccount.com") else "user"
    return f"{kind}:{email}" if "@" in email else ""


def _by_name(items: Iterable[Object]) -> dict[str, Object]:
    return {short(one.get("name")): one for one in items}
