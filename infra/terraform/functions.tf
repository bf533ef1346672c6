# The functions, all from one bundle. `make package` writes it; the same sources give the same bytes, so that a plan made in one
# build can be applied in another, and only changed code is deployed.

locals {
  bundle      = "${path.module}/.build/functions.zip"
  bundle_hash = fileexists(local.bundle) ? filesha256(local.bundle) : "missing"

  # Connect Gateway's 2,400 requests a minute bound the whole; 500 clusters at once must not mean 500 cold starts.
  step  = { memory = "512Mi", timeout = 240, instances = 20, concurrency = 4 }
  sizes = { for name in local.functions : name => name == local.sweep ? local.one_at_a_time : local.step }
  # A second sweep waits (429, delivered again) until the first is done.
  one_at_a_time = { memory = "1Gi", timeout = 540, instances = 1, concurrency = 1 }

  environment = {
    FLEET_PROJECT          = local.fleet_project
    FLEET_PROJECT_NUMBER   = local.fleet_number
    SOURCE_PROJECTS        = join(",", sort(local.source_projects))
    CLUSTER_SELECTOR       = var.settings.cluster_selector
    LABEL_KEYS             = join(",", sort(var.settings.label_keys))
    CENTRAL_MEMBERSHIP     = var.central_membership
    ARGOCD_NAMESPACE       = var.argocd.namespace
    ARGOCD_SERVICE_ACCOUNT = local.emails[local.argocd]
    ARGOCD_CLUSTER_ROLE    = var.argocd.cluster_role
    PUBSUB_PROJECT         = var.project
    MAX_REMOVALS           = var.settings.max_removals
    SWEEP_REQUESTS         = tostring(var.settings.sweep_requests)
    HOLD                   = tostring(var.settings.hold)
  }
}

resource "google_storage_bucket" "bundles" {
  #checkov:skip=CKV_GCP_63:it does not log at all, see CKV_GCP_62
  #checkov:skip=CKV_GCP_62:it holds our own source code; who reads it is in the project's audit log where Data Access logs are on
  project                     = var.project
  name                        = "${var.project}-fleet-registrar-bundles"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true # everything in it can be made again

  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 30
    }
  }

  depends_on = [google_project_service.enabled]
}

resource "google_storage_bucket_object" "bundle" {
  bucket = google_storage_bucket.bundles.name
  name   = "functions-${local.bundle_hash}.zip"
  source = local.bundle

  lifecycle {
    precondition {
      condition     = local.bundle_hash != "missing"
      error_message = "${local.bundle} is not there: run `make package` first."
    }
  }
}

# New projects give the default build identity no roles; this one may read the bundle, write the image and log.
resource "google_service_account" "build" {
  project      = var.project
  account_id   = "fleet-registrar-build"
  display_name = "Fleet Registrar: builds the functions"
  depends_on   = [google_project_service.enabled]
}

resource "google_project_iam_member" "build" {
  for_each = toset(["roles/artifactregistry.writer", "roles/logging.logWriter"])

  project = var.project
  role    = each.key
  member  = "serviceAccount:${google_service_account.build.email}"
}

resource "google_storage_bucket_iam_member" "build" {
  bucket = google_storage_bucket.bundles.name
  role   = "roles/storage.objectViewer"
  member = "serviceAccount:${google_service_account.build.email}"
}

# In kebab-case the Cloud Run service has the function's name.
resource "google_cloudfunctions2_function" "function" {
  for_each = local.functions

  project     = var.project
  location    = var.region
  name        = each.key
  description = "Fleet Registrar"

  build_config {
    runtime         = "python313"
    entry_point     = replace(each.key, "-", "_")
    service_account = google_service_account.build.name

    source {
      storage_source {
        bucket = google_storage_bucket.bundles.name
        object = google_storage_bucket_object.bundle.name
      }
    }

    automatic_update_policy {}
  }

  service_config {
    service_account_email            = google_service_account.identity[each.key].email
    ingress_settings                 = "ALLOW_INTERNAL_ONLY"
    environment_variables            = { for name, value in local.environment : name => value if value != "" }
    available_memory                 = local.sizes[each.key].memory
    available_cpu                    = "1"
    timeout_seconds                  = local.sizes[each.key].timeout
    max_instance_count               = local.sizes[each.key].instances
    max_instance_request_concurrency = local.sizes[each.key].concurrency
  }

  lifecycle {
    precondition {
      condition     = length(local.source_projects) > 0
      error_message = "No active project is found below the folder or organisation: look at sources, and at the right to search its assets."
    }
  }

  depends_on = [google_project_iam_member.build, google_storage_bucket_iam_member.build]
}
