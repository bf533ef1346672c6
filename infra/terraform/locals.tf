# Values derived from the inputs and from the identities' roles. Topics and functions are named in ../roles.json and nowhere here.

data "google_project" "run" {
  project_id = var.project
}

data "google_project" "fleet" {
  project_id = local.fleet_project
}

# Only where the central cluster is a member of another fleet.
data "google_project" "central" {
  count = local.central_is_in_fleet ? 0 : 1

  project_id = local.central_project
}

# All projects below a folder or organisation, at any depth. `name` ends with the project's id; `project` is its number.
data "google_cloud_asset_search_all_resources" "source_projects" {
  count = local.kind == "projects" ? 0 : 1

  scope       = local.scope
  asset_types = ["cloudresourcemanager.googleapis.com/Project"]
  query       = "state:ACTIVE"
}

# The same scope's projects in which the GKE API is enabled.
data "google_cloud_asset_search_all_resources" "gke_services" {
  count = local.kind != "projects" && var.sources.with_gke_only ? 1 : 0

  scope       = local.scope
  asset_types = ["serviceusage.googleapis.com/Service"]
  query       = "name:container.googleapis.com state:ENABLED"
}

locals {
  fleet_project = coalesce(var.fleet_project, var.project)
  run_number    = data.google_project.run.number
  fleet_number  = data.google_project.fleet.number

  # The fleet that the central cluster is a member of.
  central_project     = split("/", var.central_membership)[1]
  central_is_in_fleet = local.central_project == local.fleet_project
  central_number      = local.central_is_in_fleet ? local.fleet_number : data.google_project.central[0].number

  # Several instances share fleet projects and organisations. Names there contain the instance. Names in the functions' project do
  # not, because each instance has a project of its own. A role's id has at most 64 characters, an instance's name 30.
  is_default  = var.settings.instance == "default"
  role_prefix = local.is_default ? "fleet_registrar" : "fr.${replace(var.settings.instance, "-", "_")}"
  sink_prefix = local.is_default ? "fleet-registrar" : "fleet-registrar-${var.settings.instance}"
  title       = local.is_default ? "Fleet Registrar" : "Fleet Registrar ${var.settings.instance}"

  # The source projects.
  kind   = var.sources.folder != null ? "folder" : var.sources.organization != null ? "organization" : "projects"
  scope  = local.kind == "projects" ? null : local.kind == "folder" ? "folders/${var.sources.folder}" : "organizations/${var.sources.organization}"
  listed = local.kind != "projects" ? toset([]) : length(var.sources.projects) > 0 ? var.sources.projects : toset([local.fleet_project])
  # Apps Script makes a project `sys-<26 digits>` for each script; such a project never has clusters.
  found = local.kind == "projects" ? {} : {
    for found in data.google_cloud_asset_search_all_resources.source_projects[0].results :
    basename(found.name) => found.project if !can(regex("^sys-[0-9]{20,}$", basename(found.name)))
  }
  with_gke = toset(flatten([
    for search in data.google_cloud_asset_search_all_resources.gke_services : [
      for service in search.results : service.project if endswith(service.name, "/services/container.googleapis.com")
    ]
  ]))
  source_projects = local.kind == "projects" ? local.listed : toset([
    for id, number in local.found : id if !var.sources.with_gke_only || contains(local.with_gke, number)
  ])

  # Roles and identities.
  roles     = jsondecode(file("${path.module}/../roles.json"))
  argocd    = "argocd"
  functions = toset([for name in keys(local.roles) : name if name != local.argocd])
  page      = "status" # people call it; messages wake all others
  woken     = toset([for name in local.functions : name if name != local.page])
  router    = "route-event"
  sweep     = "sweep"

  audit_log_entries = "audit-log-entries"
  dead_letters      = "dead-letters"
  # A topic is named after the function that it wakes; log entries have one of their own.
  wakes  = { for name in local.woken : name => name == local.router ? local.audit_log_entries : name }
  topics = setunion(values(local.wakes), flatten([for role in values(local.roles) : role.publish]))

  # Google's rule: a service account's id has 6 to 30 characters.
  account_ids = {
    for name in keys(local.roles) : name => length(name) < 6 ? "fleet-${name}" : name
    if name != local.argocd || var.argocd.identity == null
  }
}
