# The functions, all from one bundle. `make package` writes it. The same sources give the same bytes, so that one build can apply
# the plan of another, and only changed code is deployed.

locals {
  # The version has one source. A label's value has no dots.
  version       = regex("VERSION: Final = \"([^\"]+)\"", file("${path.module}/../../shared/values/version.py"))[0]
  version_label = replace(lower(local.version), "/[^a-z0-9_-]/", "-")

  bundle      = "${path.module}/.build/functions.zip"
  bundle_hash = fileexists(local.bundle) ? filesha256(local.bundle) : "missing"

  # Connect Gateway's 2,400 requests a minute limit the whole chain. 500 clusters at once must not cause 500 cold starts.
  step  = { memory = "512Mi", timeout = 240, instances = var.max_instances, concurrency = 4 }
  sizes = { for name in local.functions : name => name == local.sweep ? local.one_at_a_time : name == local.page ? local.reader : local.step }
  # A second sweep waits (429, delivered again) until the first is done.
  one_at_a_time = { memory = "1Gi", timeout = 540, instances = 1, concurrency = 1 }
  # One instance: all its users share one reading.
  reader = { memory = "1Gi", timeout = 60, instances = 1, concurrency = 8 }

  # Instances do not share state: each has the same share of the quota. grant-rbac, write-secret, remove-secret and revoke-rbac use the gateway.
  gateway_requests = var.settings.gateway_requests == 0 ? 0 : max(1, floor(var.settings.gateway_requests / (4 * var.max_instances)))

  environment = {
    INSTANCE               = var.settings.instance
    FLEET_PROJECT          = local.fleet_project
    FLEET_PROJECT_NUMBER   = local.fleet_number
    SOURCE_PROJECTS        = join(",", sort(local.source_projects))
    CLUSTER_SELECTOR       = var.settings.cluster_selector
    LABEL_KEYS             = join(",", sort(var.settings.label_keys))
    CENTRAL_MEMBERSHIP     = var.central_membership
    CENTRAL_PROJECT_NUMBER = local.central_number
    ARGOCD_NAMESPACE       = var.argocd.namespace
    ARGOCD_SERVICE_ACCOUNT = local.emails[local.argocd]
    ARGOCD_CLUSTER_ROLE    = var.argocd.cluster_role
    ARGOCD_SHARDS          = tostring(var.argocd.shards)
    ARGOCD_URL             = var.argocd.url
    PUBSUB_PROJECT         = var.project
    MAX_REMOVALS           = var.settings.max_removals
    SWEEP_REQUESTS         = tostring(var.settings.sweep_requests)
    HOLD                   = tostring(var.settings.hold)
    GATEWAY_REQUESTS       = tostring(local.gateway_requests)
    DELIVERY_ATTEMPTS      = tostring(local.delivery_attempts)
    REGISTRATION           = var.settings.registration
    SECRETS                = var.settings.secrets
  }
  given = { for name, value in local.environment : name => value if value != "" }
  # Cloud Run counts all names and values of a function together, and refuses more than 32 KiB. Google adds some of its own.
  environment_bytes = sum([for name, value in local.given : length(name) + length(value)])
  environment_limit = 32000
}

resource "google_storage_bucket" "bundles" {
  #checkov:skip=CKV_GCP_63:it does not log at all, see CKV_GCP_62
  #checkov:skip=CKV_GCP_62:it holds our own source code; reads are in the project's audit log where Data Access logs are on
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
    # A new region replaces the bucket under the same name: no attribute here changes.
    replace_triggered_by = [google_storage_bucket.bundles.id]

    precondition {
      condition     = local.bundle_hash != "missing"
      error_message = "${local.bundle} is not there: run `make package` first."
    }
  }
}

# New projects give the default build identity no roles. This one may read the source, write the image and log.
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

# Cloud Functions copies the bundle into a bucket of its own, and the build reads the copy. That bucket does not exist before the
# first function, so the grant is the project's, narrowed to the bucket's name.
# https://cloud.google.com/functions/docs/securing/build-custom-sa
resource "google_project_iam_member" "build_source" {
  project = var.project
  role    = "roles/storage.objectViewer"
  member  = "serviceAccount:${google_service_account.build.email}"

  condition {
    title      = "fleet-registrar-build-source"
    expression = "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-${local.run_number}-${var.region}\")"
  }
}

resource "google_storage_bucket_iam_member" "build" {
  bucket = google_storage_bucket.bundles.name
  role   = "roles/storage.objectViewer"
  member = "serviceAccount:${google_service_account.build.email}"

  lifecycle {
    replace_triggered_by = [google_storage_bucket.bundles.id]
  }
}

# A build that starts before its grants are effective fails with a 403.
resource "time_sleep" "build_grants" {
  create_duration = "60s"
  triggers = {
    grants = join(" ", concat(
      [for role in google_project_iam_member.build : role.id],
      [google_project_iam_member.build_source.id, google_storage_bucket_iam_member.build.id],
    ))
  }
}

# In kebab-case the Cloud Run service has the function's name.
resource "google_cloudfunctions2_function" "function" {
  for_each = local.functions

  project     = var.project
  location    = var.region
  name        = each.key
  description = "Fleet Registrar ${local.version}"
  labels      = { fleet-registrar-version = local.version_label }

  build_config {
    runtime         = "python313"
    entry_point     = replace(each.key, "-", "_")
    service_account = google_service_account.build.name
    # The provider does not read back which bundle a function runs. It does read this: after a failed build the next plan shows the
    # function again.
    # The buildpack compiles our modules, and the image then sets the date of every file to 1980
    # (github.com/buildpacks/lifecycle/issues/1358). Python would compile modules whose date has changed at each cold start. With
    # SOURCE_DATE_EPOCH the compiled modules contain a hash of their source instead of its date (PEP 552).
    environment_variables = { BUNDLE = local.bundle_hash, SOURCE_DATE_EPOCH = "315532801" }

    source {
      storage_source {
        bucket     = google_storage_bucket.bundles.name
        object     = google_storage_bucket_object.bundle.name
        generation = google_storage_bucket_object.bundle.generation
      }
    }

    automatic_update_policy {}
  }

  service_config {
    service_account_email            = google_service_account.identity[each.key].email
    ingress_settings                 = each.key == local.page ? var.status.ingress : "ALLOW_INTERNAL_ONLY"
    environment_variables            = local.given
    available_memory                 = local.sizes[each.key].memory
    available_cpu                    = "1"
    timeout_seconds                  = local.sizes[each.key].timeout
    max_instance_count               = local.sizes[each.key].instances
    max_instance_request_concurrency = local.sizes[each.key].concurrency
  }

  lifecycle {
    precondition {
      condition     = length(local.source_projects) > 0
      error_message = "No source project: the search below the folder or organisation found no active one. Check sources, your right to search its assets, and sources.with_gke_only."
    }
    precondition {
      condition     = local.environment_bytes <= local.environment_limit
      error_message = "The settings of a function are ${local.environment_bytes} bytes; Cloud Run takes 32 KiB. SOURCE_PROJECTS has ${length(local.source_projects)} projects. Set sources.with_gke_only = true, or name a smaller folder."
    }
  }

  depends_on = [time_sleep.build_grants]
}

# Google may keep the configuration of a failed build. The plan is empty then, and only this check reports the failure.
check "functions" {
  assert {
    condition     = alltrue([for function in google_cloudfunctions2_function.function : function.state == "ACTIVE"])
    error_message = "Not every function is ACTIVE: ${join(", ", [for name, function in google_cloudfunctions2_function.function : "${name} is ${function.state}" if function.state != "ACTIVE"])}. See the troubleshooting table of docs/deploy.md."
  }
}
