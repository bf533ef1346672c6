# Conditions that a person must act on; metrics.tf has those of the objective. Each says what to do, and names its runbook in
# docs/operate.md. Its label `code` is the code in the log entries that it counts.

locals {
  functions_logs = "resource.type=\"cloud_run_revision\" resource.labels.service_name=\"${local.sweep}\""
  # The default schedule has missed two sweeps after this time.
  no_sweep_for = "3600s"
}

# Monitoring answers 404 for a metric of the last 10 minutes. The functions' builds run meanwhile.
resource "time_sleep" "metrics" {
  create_duration = "600s"
  triggers = { metrics = join(" ", concat(
    [google_logging_metric.sweeps.id, google_logging_metric.foreign_bindings.id],
    [for metric in google_logging_metric.functions : metric.id],
  )) }
}

resource "google_monitoring_alert_policy" "dead_letters" {
  project               = var.project
  display_name          = "Fleet Registrar: dead letters"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = var.notification_channels
  user_labels           = { code = "dead_lettered" }

  conditions {
    display_name = "dead letters are waiting"

    condition_threshold {
      filter = join(" AND ", [
        "resource.type=\"pubsub_subscription\"",
        "resource.labels.subscription_id=\"${google_pubsub_subscription.dead_letters.name}\"",
        "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\"",
      ])
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "60s"

      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    content = "`python -m ops dead-letters list` says for which cluster and why; repair the cause, then `python -m ops dead-letters replay`. Runbook: ${var.runbook_url}#dead-letters"
  }
}

resource "google_monitoring_alert_policy" "removal_limit" {
  project               = var.project
  display_name          = "Fleet Registrar: a removal limit is reached"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = var.notification_channels
  user_labels           = { code = "limited" }

  conditions {
    display_name = "a sweep would let more clusters go than MAX_REMOVALS"

    condition_matched_log {
      filter = "${local.functions_logs} severity=CRITICAL jsonPayload.decision=\"limited\""
    }
  }

  alert_strategy {
    auto_close = "86400s"

    notification_rate_limit {
      period = "3600s"
    }
  }

  documentation {
    content = "Nothing is removed. The log line lists the clusters and the one publish that releases exactly that plan. First ask why: a selector, a label, a project that is missing from the settings? Runbook: ${var.runbook_url}#release-a-plan-above-the-removal-limit"
  }

  depends_on = [google_project_service.enabled]
}

resource "google_logging_metric" "sweeps" {
  project     = var.project
  name        = "fleet-registrar/sweeps"
  description = "Sweeps that came to their end"
  filter      = "${local.functions_logs} jsonPayload.decision=\"swept\""

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }

  depends_on = [google_project_service.enabled]
}

# Absent data triggers this alert, but only after the first sweep has run (docs/deploy.md starts one). A paused schedule disables it.
resource "google_monitoring_alert_policy" "no_sweep" {
  project               = var.project
  display_name          = "Fleet Registrar: no sweep"
  combiner              = "OR"
  enabled               = !var.sweep_paused
  severity              = "ERROR"
  notification_channels = var.notification_channels
  user_labels           = { code = "swept" }

  conditions {
    display_name = "no sweep came to its end for an hour"

    condition_threshold {
      filter                  = "resource.type=\"cloud_run_revision\" AND metric.type=\"logging.googleapis.com/user/${google_logging_metric.sweeps.name}\""
      comparison              = "COMPARISON_LT"
      threshold_value         = 1
      duration                = "300s"
      evaluation_missing_data = "EVALUATION_MISSING_DATA_ACTIVE"

      aggregations {
        alignment_period     = local.no_sweep_for
        per_series_aligner   = "ALIGN_SUM"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content = "Missed events stay missed until a sweep runs. Read the log of the function `sweep`, its dead letters, and the Scheduler job. Runbook: ${var.runbook_url}#no-sweep-ends"
  }

  depends_on = [time_sleep.metrics]
}

# The functions' identity can grant cluster-admin to any user, and must grant it to Argo CD's identity alone. A condition on a list holds when it holds for one element: a
# second *user* in Argo CD's own binding escapes this, and the sweep repairs it at the next periodic check of that binding.
resource "google_logging_metric" "foreign_bindings" {
  project     = var.project
  name        = "fleet-registrar/foreign-bindings"
  description = "Bindings to cluster-admin, made by our identity, that are not Argo CD's"
  bucket_name = google_logging_project_bucket_config.bindings.name
  filter = chomp(<<-EOT
    protoPayload.authenticationInfo.principalEmail="${local.emails["grant-rbac"]}"
    protoPayload.response.roleRef.name="cluster-admin"
    (NOT protoPayload.response.subjects.name="${local.emails[local.argocd]}" OR protoPayload.response.subjects.kind=("Group" OR "ServiceAccount"))
  EOT
  )

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }
}

resource "google_monitoring_alert_policy" "foreign_bindings" {
  project               = var.project
  display_name          = "Fleet Registrar: somebody else was made cluster-admin"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = var.notification_channels
  user_labels           = { code = "cluster-admin" }

  conditions {
    display_name = "grant-rbac bound cluster-admin to somebody who is not Argo CD"

    condition_threshold {
      filter          = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.foreign_bindings.name}\" AND resource.type=\"logging_bucket\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_SUM"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content = "The identity of grant-rbac was misused. Disable it (`gcloud iam service-accounts disable`), read the log bucket fleet-registrar-bindings, remove the binding. Runbook: ${var.runbook_url}#somebody-else-was-made-cluster-admin"
  }

  depends_on = [time_sleep.metrics]
}
