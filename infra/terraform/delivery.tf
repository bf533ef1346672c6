# Cloud Build: two triggers on the one branch. An approval is for a whole build, so plan and apply are two builds. A bucket
# keeps the plan under its commit, and exactly that plan is applied. Only reviewed code ever runs with these identities.

locals {
  stages   = var.delivery == null ? toset([]) : toset(["plan", "apply"])
  projects = setunion([var.project, local.fleet_project, local.central_project], local.listed)

  # The plan reads all projects; the apply changes them. `projectIamAdmin` can grant itself every role, so a person must
  # approve. The providers name the functions' project as quota project, which takes serviceusage.services.use there.
  plan_roles  = ["roles/iam.securityReviewer", "roles/viewer"]
  apply_roles = ["roles/iam.roleAdmin", "roles/logging.configWriter", "roles/resourcemanager.projectIamAdmin", "roles/serviceusage.serviceUsageAdmin"]
  apply_run_roles = [
    "roles/cloudbuild.builds.editor", "roles/cloudfunctions.admin", "roles/cloudscheduler.admin", "roles/eventarc.admin",
    "roles/iam.serviceAccountAdmin", "roles/iam.serviceAccountUser", "roles/monitoring.editor", "roles/pubsub.admin",
    "roles/run.admin", "roles/storage.admin",
  ]
  delivery_roles = var.delivery == null ? {} : merge(
    { for pair in setproduct(local.projects, local.plan_roles) : "plan/${join("/", pair)}" => ["plan", pair[0], pair[1]] },
    { for pair in setproduct(local.projects, local.plan_roles) : "apply/${join("/", pair)}" => ["apply", pair[0], pair[1]] },
    { for pair in setproduct(local.projects, local.apply_roles) : "apply/${join("/", pair)}" => ["apply", pair[0], pair[1]] },
    { for role in local.apply_run_roles : "apply/${var.project}/${role}" => ["apply", var.project, role] },
    { for stage in ["plan", "apply"] : "${stage}/${var.project}/log" => [stage, var.project, "roles/logging.logWriter"] },
    { "plan/${var.project}/quota" = ["plan", var.project, "roles/serviceusage.serviceUsageConsumer"] },
  )
}

resource "google_service_account" "delivery" {
  for_each = local.stages

  project      = var.project
  account_id   = "fleet-registrar-${each.key}"
  display_name = "Fleet Registrar: Cloud Build, ${each.key}"
  depends_on   = [google_project_service.enabled]
}

# A folder's or organisation's own rights are given by its administrator: docs/deploy.md lists them.
resource "google_project_iam_member" "delivery" {
  #checkov:skip=CKV_GCP_41:the apply identity acts as the accounts that it makes; its builds wait for a person's approval
  #checkov:skip=CKV_GCP_42:the apply identity administers what it makes, and has no owner or editor; its builds wait for approval
  #checkov:skip=CKV_GCP_49:the apply identity manages the functions' accounts; its builds wait for a person's approval
  #checkov:skip=CKV_GCP_117:a plan reads everything that Terraform manages; roles/viewer reads no data and makes no tokens
  for_each = local.delivery_roles

  project = each.value[1]
  role    = each.value[2]
  member  = "serviceAccount:${google_service_account.delivery[each.value[0]].email}"
}

resource "google_storage_bucket" "plans" {
  #checkov:skip=CKV_GCP_63:it does not log at all, see CKV_GCP_62
  #checkov:skip=CKV_GCP_62:plans hold names, no secrets, and are gone after 30 days; reads are in the project's audit log
  count = var.delivery == null ? 0 : 1

  project                     = var.project
  name                        = "${var.project}-fleet-registrar-plans"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true # a plan can be made again

  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age = 30
    }
  }

  depends_on = [google_project_service.enabled]
}

resource "google_storage_bucket_iam_member" "plans" {
  for_each = { for stage in local.stages : stage => stage == "plan" ? "roles/storage.objectUser" : "roles/storage.objectViewer" }

  bucket = google_storage_bucket.plans[0].name
  role   = each.value
  member = "serviceAccount:${google_service_account.delivery[each.key].email}"
}

# The plan reads existing resources, including the object of the bundle; the apply manages the storage of the project.
resource "google_storage_bucket_iam_member" "planned_bundle" {
  for_each = setintersection(local.stages, ["plan"])

  bucket = google_storage_bucket.bundles.name
  role   = "roles/storage.objectViewer"
  member = "serviceAccount:${google_service_account.delivery[each.key].email}"

  lifecycle {
    replace_triggered_by = [google_storage_bucket.bundles.id]
  }
}

# The plan reads the state without its lock, so it need not write there.
resource "google_storage_bucket_iam_member" "state" {
  for_each = { for stage in local.stages : stage => stage == "plan" ? "roles/storage.objectViewer" : "roles/storage.objectUser" }

  bucket = var.delivery.state_bucket
  role   = each.value
  member = "serviceAccount:${google_service_account.delivery[each.key].email}"
}

resource "google_cloudbuild_trigger" "delivery" {
  for_each = local.stages

  project            = var.project
  location           = var.region
  name               = "fleet-registrar-${each.key}"
  description        = each.key == "plan" ? "Checks, tests, packages and plans" : "Applies the plan of the same commit, after approval"
  filename           = each.key == "plan" ? "cloudbuild.yaml" : "infra/terraform/cloudbuild-apply.yaml"
  service_account    = google_service_account.delivery[each.key].id
  include_build_logs = "INCLUDE_BUILD_LOGS_WITH_STATUS"

  repository_event_config {
    repository = var.delivery.repository

    push {
      branch = "^${var.delivery.branch}$"
    }
  }

  approval_config {
    approval_required = each.key == "apply"
  }

  substitutions = {
    _PLANS_BUCKET = google_storage_bucket.plans[0].name
    _STATE_BUCKET = var.delivery.state_bucket
  }

  depends_on = [google_project_iam_member.delivery]
}
