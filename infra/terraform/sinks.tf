# Audit entries of the sources. This project's own entries come by Eventarc's triggers (events.tf), so no sink passes them: each entry would
# wake the chain twice, and an onboarding would cost 25 calls in place of 13. What Eventarc drops after 24 hours, a sweep repairs.

module "cluster_entries" {
  source = "./modules/sink"

  name         = "${local.sink_prefix}-clusters"
  projects     = local.listed
  folder       = local.kind == "folder" ? var.sources.folder : null
  organization = local.kind == "organization" ? var.sources.organization : null
  destination  = "pubsub.googleapis.com/${google_pubsub_topic.topic[local.audit_log_entries].id}"

  # Finished entries, those of changes without an operation, and started deletions too: a cluster in deletion is held at once.
  filter = <<-EOT
    log_id("cloudaudit.googleapis.com/activity")
    resource.type="gke_cluster"
    protoPayload.serviceName="container.googleapis.com"
    protoPayload.methodName=~"\.(CreateCluster|DeleteCluster|UpdateCluster|SetLabels)$"
    (operation.last=true OR NOT operation.id:* OR protoPayload.methodName=~"\.DeleteCluster$")
    NOT resource.labels.project_id="${var.project}"
  EOT

  # Messages published before the subscription exists are lost.
  depends_on = [google_pubsub_subscription.push]
}

resource "google_pubsub_topic_iam_member" "cluster_entries" {
  for_each = module.cluster_entries.sources

  project = var.project
  topic   = google_pubsub_topic.topic[local.audit_log_entries].id
  role    = "roles/pubsub.publisher"
  member  = module.cluster_entries.writers[each.key]
}

# The bindings that grant-rbac's identity makes, from the clusters' own audit logs: kept here, and watched by an alert (alerts.tf).

resource "google_logging_project_bucket_config" "bindings" {
  project        = var.project
  location       = var.region
  bucket_id      = "fleet-registrar-bindings"
  description    = "ClusterRoleBindings that Fleet Registrar has created"
  retention_days = 400
  # The audit log outlives the clusters it is about. Google also keeps a deleted bucket for 7 days, in which its name cannot be used.
  deletion_policy = "ABANDON"
  depends_on      = [google_project_service.enabled]
}

module "binding_entries" {
  source = "./modules/sink"

  name         = "${local.sink_prefix}-bindings"
  projects     = local.listed
  folder       = local.kind == "folder" ? var.sources.folder : null
  organization = local.kind == "organization" ? var.sources.organization : null
  destination  = "logging.googleapis.com/${google_logging_project_bucket_config.bindings.name}"

  filter = <<-EOT
    log_id("cloudaudit.googleapis.com/activity")
    resource.type="k8s_cluster"
    protoPayload.serviceName="k8s.io"
    protoPayload.methodName=~"^io\.k8s\.authorization\.rbac\.v1\.clusterrolebindings\.(create|update|patch)$"
    protoPayload.authenticationInfo.principalEmail="${local.emails["grant-rbac"]}"
  EOT
}

# A sink into a bucket of its own project writes without an identity.
resource "google_project_iam_member" "binding_entries" {
  for_each = setsubtract(module.binding_entries.sources, [var.project])

  project = var.project
  role    = "roles/logging.bucketWriter"
  member  = module.binding_entries.writers[each.key]

  condition {
    title      = "fleet-registrar-bindings"
    expression = "resource.name.endsWith(\"locations/${var.region}/buckets/${google_logging_project_bucket_config.bindings.bucket_id}\")"
  }
}
