# Metrics from the functions' log entries, one dashboard, and one objective: no function has a metrics client. metrics.json
# defines the metrics, so that the tests can run their filters on real log entries.

locals {
  metrics = jsondecode(file("${path.module}/metrics.json"))
}

resource "google_logging_metric" "functions" {
  for_each = local.metrics

  project     = var.project
  name        = "fleet-registrar/${each.key}"
  description = each.value.description
  filter      = each.value.filter

  label_extractors = { for label, field in each.value.labels : label => "EXTRACT(${field})" }
  value_extractor  = try("EXTRACT(${each.value.value})", null)

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = can(each.value.value) ? "DISTRIBUTION" : "INT64"
    unit        = try(each.value.unit, "1")

    dynamic "labels" {
      for_each = each.value.labels

      content {
        key        = labels.key
        value_type = "STRING"
      }
    }
  }

  dynamic "bucket_options" {
    for_each = can(each.value.bounds) ? [each.value.bounds] : []

    content {
      explicit_buckets {
        bounds = bucket_options.value
      }
    }
  }

  depends_on = [google_project_service.enabled]
}

resource "google_monitoring_dashboard" "functions" {
  project        = var.project
  dashboard_json = file("${path.module}/dashboard.json")

  depends_on = [time_sleep.metrics]
}

resource "google_monitoring_custom_service" "registrar" {
  project      = var.project
  service_id   = "fleet-registrar"
  display_name = local.title

  depends_on = [google_project_service.enabled]
}

# A cluster that a sweep finds has no start, so it does not count: the alerts "no sweep" and "dead letters" report what the events miss.
resource "google_monitoring_slo" "onboarding" {
  project             = var.project
  service             = google_monitoring_custom_service.registrar.service_id
  slo_id              = "onboarding"
  display_name        = "99 % of the selected clusters are in Argo CD within 5 minutes"
  goal                = 0.99
  rolling_period_days = 28

  request_based_sli {
    distribution_cut {
      distribution_filter = join(" ", [
        "metric.type=\"logging.googleapis.com/user/${google_logging_metric.functions["onboarding-seconds"].name}\"",
        "resource.type=\"cloud_run_revision\"",
      ])

      range {
        max = 300
      }
    }
  }

  depends_on = [time_sleep.metrics]
}

# The error budget of 28 days is spent in two days at 14 times the rate, and in five days at 6 times.
resource "google_monitoring_alert_policy" "slow_onboarding" {
  for_each = {
    fast = { window = "3600s", rate = 14, severity = "ERROR" }
    slow = { window = "21600s", rate = 6, severity = "WARNING" }
  }

  project               = var.project
  display_name          = "${local.title}: clusters appear too late (${each.key} burn)"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = var.notification_channels
  user_labels           = { code = "created" }

  conditions {
    display_name = "the error budget burns ${each.value.rate} times too fast over ${each.value.window}"

    condition_threshold {
      filter          = "select_slo_burn_rate(\"${google_monitoring_slo.onboarding.name}\", \"${each.value.window}\")"
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.rate
      duration        = "0s"
    }
  }

  documentation {
    content = "More clusters than 1 % take longer than 5 minutes to appear in Argo CD, or fail. Runbook: ${var.runbook_url}#clusters-appear-too-late"
  }
}
