# One identity for each function and one for Argo CD, each with the permissions of ../roles.json and no other.
# Only additive grants (`_iam_member`): authoritative resources remove other members from projects and topics.

resource "google_service_account" "identity" {
  for_each = local.account_ids

  project      = var.project
  account_id   = each.value
  display_name = "Fleet Registrar: ${each.key}"
  depends_on   = [google_project_service.enabled]
}

locals {
  # Argo CD's identity, where another instance has created it.
  given_identity = var.argocd.identity == null ? {} : { (local.argocd) = var.argocd.identity }
  members = merge(
    { for name, account in google_service_account.identity : name => "serviceAccount:${account.email}" },
    { for name, email in local.given_identity : name => "serviceAccount:${email}" },
  )
  # The e-mail is known before the account exists: settings and log filters compare it.
  emails     = merge({ for name, id in local.account_ids : name => "${id}@${var.project}.iam.gserviceaccount.com" }, local.given_identity)
  publishers = merge([for name, role in local.roles : { for topic in role.publish : "${name}/${topic}" => { name = name, topic = topic } }]...)

  # Not needed if others register the clusters.
  registering = ["gkehub.memberships.create", "gkehub.memberships.delete", "gkehub.operations.get"]
  fleet = {
    for name, role in local.roles : name => sort(distinct([
      for permission in concat(role.fleet, local.central_is_in_fleet ? role.central : []) : permission
      if var.settings.registration == "create" || !contains(local.registering, permission)
    ]))
  }
  in_fleet   = { for name, permissions in local.fleet : name => permissions if length(permissions) > 0 }
  in_central = { for name, role in local.roles : name => role.central if length(role.central) > 0 && !local.central_is_in_fleet }
  in_run     = { for name, role in local.roles : name => role.run if can(role.run) }
  in_source  = { for name, role in local.roles : name => role.source if length(role.source) > 0 }
}

resource "google_pubsub_topic_iam_member" "publisher" {
  for_each = local.publishers

  project = var.project
  topic   = google_pubsub_topic.topic[each.value.topic].id
  role    = "roles/pubsub.publisher"
  member  = local.members[each.value.name]
}

# In the fleet project: memberships and the gateway. Predefined roles are too wide: the smallest with memberships.create may delete the fleet.

resource "google_project_iam_custom_role" "fleet" {
  for_each = local.in_fleet

  project     = local.fleet_project
  role_id     = "${local.role_prefix}.${replace(each.key, "-", "_")}"
  title       = "${local.title}: ${each.key}, fleet"
  permissions = each.value
  depends_on  = [google_project_service.enabled]
}

resource "google_project_iam_member" "fleet" {
  for_each = local.in_fleet

  project = local.fleet_project
  role    = google_project_iam_custom_role.fleet[each.key].id
  member  = local.members[each.key]
}

# In the central cluster's fleet, if that is another one: its membership, and the gateway to it.

resource "google_project_iam_custom_role" "central" {
  for_each = local.in_central

  project     = local.central_project
  role_id     = "${local.role_prefix}.${replace(each.key, "-", "_")}.central"
  title       = "${local.title}: ${each.key}, central cluster"
  permissions = each.value
  depends_on  = [google_project_service.enabled]
}

resource "google_project_iam_member" "central" {
  for_each = local.in_central

  project = local.central_project
  role    = google_project_iam_custom_role.central[each.key].id
  member  = local.members[each.key]
}

# Argo CD's terminal: `gkehub.gateway.stream`, which no function has.
resource "google_project_iam_member" "terminal" {
  #checkov:skip=CKV_GCP_42:named admin, it is the gateway's and holds no administration; only where the terminal is asked for
  count = var.argocd.terminal ? 1 : 0

  project = local.fleet_project
  role    = "roles/gkehub.gatewayAdmin"
  member  = local.members[local.argocd]
}

# In the functions' project: what the status page reads of them.

resource "google_project_iam_custom_role" "run" {
  for_each = local.in_run

  project     = var.project
  role_id     = "${local.role_prefix}.${replace(each.key, "-", "_")}.run"
  title       = "${local.title}: ${each.key}, functions"
  permissions = each.value
  depends_on  = [google_project_service.enabled]
}

resource "google_project_iam_member" "run" {
  for_each = local.in_run

  project = var.project
  role    = google_project_iam_custom_role.run[each.key].id
  member  = local.members[each.key]
}

# In the source projects: reading clusters; for grant-rbac and revoke-rbac also ClusterRoleBindings, because a new cluster's own RBAC knows
# neither of them. The only predefined role that may bind is roles/container.admin.

resource "google_project_iam_custom_role" "source" {
  for_each = { for pair in setproduct(local.listed, keys(local.in_source)) : "${pair[0]}/${pair[1]}" => pair }

  project     = each.value[0]
  role_id     = "${local.role_prefix}.${replace(each.value[1], "-", "_")}.source"
  title       = "${local.title}: ${each.value[1]}, source"
  permissions = local.in_source[each.value[1]]
  depends_on  = [google_project_service.enabled]
}

resource "google_project_iam_member" "source" {
  for_each = { for pair in setproduct(local.listed, keys(local.in_source)) : "${pair[0]}/${pair[1]}" => pair }

  project = each.value[0]
  role    = google_project_iam_custom_role.source[each.key].id
  member  = local.members[each.value[1]]
}

resource "google_organization_iam_custom_role" "source" {
  for_each = local.kind == "projects" ? {} : local.in_source

  org_id      = var.sources.organization
  role_id     = "${local.role_prefix}.${replace(each.key, "-", "_")}.source"
  title       = "${local.title}: ${each.key}, source"
  permissions = each.value
}

resource "google_folder_iam_member" "source" {
  for_each = local.kind == "folder" ? local.in_source : {}

  folder = "folders/${var.sources.folder}"
  role   = google_organization_iam_custom_role.source[each.key].name
  member = local.members[each.key]
}

resource "google_organization_iam_member" "source" {
  for_each = local.kind == "organization" ? local.in_source : {}

  org_id = var.sources.organization
  role   = google_organization_iam_custom_role.source[each.key].name
  member = local.members[each.key]
}

# Argo CD's pods act as its Google identity: the two workloads that talk to clusters, and no other. The instance that creates the
# identity grants this.
resource "google_service_account_iam_member" "argocd" {
  for_each = var.argocd.identity == null ? toset(var.argocd.service_accounts) : toset([])

  service_account_id = google_service_account.identity[local.argocd].name
  role               = "roles/iam.workloadIdentityUser"
  member = format(
    "serviceAccount:%s.svc.id.goog[%s/%s]",
    coalesce(var.argocd.workload_identity_project, local.fleet_project), var.argocd.namespace, each.key
  )
}

# The identities that invoke the functions: those of Pub/Sub's pushes and of Eventarc's triggers.

resource "google_service_account" "caller" {
  for_each = toset(["push", "trigger"])

  project      = var.project
  account_id   = "fleet-registrar-${each.key}"
  display_name = "Fleet Registrar: ${each.key}"
  depends_on   = [google_project_service.enabled]
}

# Projects from before April 2021: Pub/Sub's agent needs this grant to create the push identity's tokens. In newer projects its own role has it.
resource "google_service_account_iam_member" "push_tokens" {
  service_account_id = google_service_account.caller["push"].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = local.agents["pubsub"]
}

resource "google_project_iam_member" "event_receiver" {
  project = var.project
  role    = "roles/eventarc.eventReceiver"
  member  = "serviceAccount:${google_service_account.caller["trigger"].email}"
}

# A gen2 function is a Cloud Run service, and that is where calls are allowed. This role holds `run.routes.invoke` and nothing else.
resource "google_cloud_run_service_iam_member" "invoker" {
  for_each = merge(
    { for name in local.woken : "push/${name}" => { caller = "push", name = name } },
    { "trigger/${local.router}" = { caller = "trigger", name = local.router } },
  )

  project  = var.project
  location = var.region
  # From the service, not from its name: a function that is replaced has a new service, which needs the grant again.
  service = basename(google_cloudfunctions2_function.function[each.value.name].service_config[0].service)
  role    = "roles/run.servicesInvoker"
  member  = "serviceAccount:${google_service_account.caller[each.value.caller].email}"
}

# Who may open the status page: the viewers, and no other user.
resource "google_cloud_run_service_iam_member" "viewer" {
  for_each = var.status.viewers

  project  = var.project
  location = var.region
  service  = basename(google_cloudfunctions2_function.function[local.page].service_config[0].service)
  role     = "roles/run.servicesInvoker"
  member   = each.key
}
