# The enabled APIs, and Google's own service agents with what they need. A destroy disables no API and takes no role from an agent:
# everything else in the project uses them too.

locals {
  run_services = [
    "artifactregistry", "cloudasset", "cloudbuild", "cloudfunctions", "cloudresourcemanager", "cloudscheduler", "eventarc",
    "eventarcpublishing", "iam", "iamcredentials", "logging", "monitoring", "pubsub", "run", "serviceusage", "storage",
    # Calls count against the caller's project, so the APIs that the functions call must be enabled here too.
    "connectgateway", "container", "gkehub",
  ]
  # Argo CD's pods exchange their token in the fleet project: sts and iamcredentials.
  fleet_services = ["cloudresourcemanager", "connectgateway", "container", "gkeconnect", "gkehub", "iamcredentials", "sts"]
  # The fleet of the central cluster, if it is another one.
  central_services = local.central_is_in_fleet ? [] : ["connectgateway", "gkehub"]
  # A folder's or organisation's projects enable these themselves: `container` is there where clusters are.
  source_services = ["container", "gkehub"]

  enabled = merge(
    { for service in local.run_services : "${var.project}/${service}" => [var.project, service] },
    { for service in local.fleet_services : "${local.fleet_project}/${service}" => [local.fleet_project, service] },
    { for service in local.central_services : "${local.central_project}/${service}" => [local.central_project, service] },
    { for pair in setproduct(local.listed, local.source_services) : "${pair[0]}/${pair[1]}" => pair },
  )
}

resource "google_project_service" "enabled" {
  for_each = local.enabled

  project            = each.value[0]
  service            = "${each.value[1]}.googleapis.com"
  disable_on_destroy = false
}

# An agent appears with the first use of its API; this makes it at once, so that it can be granted something.
resource "google_project_service_identity" "run" {
  provider = google-beta
  for_each = toset(["cloudscheduler", "eventarc", "pubsub"])

  project    = var.project
  service    = "${each.key}.googleapis.com"
  depends_on = [google_project_service.enabled]
}

resource "google_project_service_identity" "fleet" {
  provider = google-beta

  project    = local.fleet_project
  service    = "gkehub.googleapis.com"
  depends_on = [google_project_service.enabled]
}

locals {
  agents = {
    for service in keys(google_project_service_identity.run) :
    service => "serviceAccount:service-${local.run_number}@gcp-sa-${service}.iam.gserviceaccount.com"
  }
  fleet_agent = "serviceAccount:service-${local.fleet_number}@gcp-sa-gkehub.iam.gserviceaccount.com"
}

# Google grants these roles itself when a service is used for the first time, but not to an agent that was made on request, like those
# above. IAM does not record who made a binding, so a destroy would take Google's own away from all other triggers, jobs and pushes of
# the project. `make keep-agents` drops them from the state instead.
resource "google_project_iam_member" "agent" {
  #checkov:skip=CKV_GCP_49:Google's own agents hold Google's own roles for them, which mint the tokens of pushes and triggers
  for_each = local.agents

  project = var.project
  role    = "roles/${each.key}.serviceAgent"
  member  = each.value

  lifecycle {
    prevent_destroy = true
  }
}

# Registering a cluster of another project: the fleet's agent needs its role there too. It stays, because the memberships stay.
resource "google_project_iam_member" "fleet_agent" {
  for_each = setunion(local.listed, [local.fleet_project])

  project    = each.key
  role       = "roles/gkehub.serviceAgent"
  member     = local.fleet_agent
  depends_on = [google_project_service_identity.fleet]

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_folder_iam_member" "fleet_agent" {
  count = local.kind == "folder" ? 1 : 0

  folder     = "folders/${var.sources.folder}"
  role       = "roles/gkehub.serviceAgent"
  member     = local.fleet_agent
  depends_on = [google_project_service_identity.fleet]

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_organization_iam_member" "fleet_agent" {
  count = local.kind == "organization" ? 1 : 0

  org_id     = var.sources.organization
  role       = "roles/gkehub.serviceAgent"
  member     = local.fleet_agent
  depends_on = [google_project_service_identity.fleet]

  lifecycle {
    prevent_destroy = true
  }
}
