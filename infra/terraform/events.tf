# The triggers of route-event besides its topic: audit entries of this project, and the fleet's membership events. One trigger for each method
# and version: Eventarc has no pattern for methods. It keeps an event for 24 hours and has no dead letters; the sweep repairs what it loses.

locals {
  audit_triggers = {
    for pair in setproduct(["CreateCluster", "DeleteCluster", "UpdateCluster", "SetLabels"], ["v1", "v1beta1"]) :
    lower("audit-${pair[0]}-${pair[1]}") => "google.container.${pair[1]}.ClusterManager.${pair[0]}"
  }
  # A trigger sees its own project's events, and calls a service of its own project.
  membership_triggers = local.fleet_project != var.project ? {} : {
    for pair in setproduct(["created", "updated", "deleted"], var.membership_locations) :
    "membership-${pair[0]}-${pair[1]}" => { type = "google.cloud.gkehub.membership.v1.${pair[0]}", location = pair[1] }
  }
}

resource "google_eventarc_trigger" "audit" {
  for_each = local.audit_triggers

  project                 = var.project
  name                    = each.key
  location                = "global" # audit entries of all locations arrive here
  service_account         = google_service_account.caller["trigger"].email
  event_data_content_type = "application/json"

  matching_criteria {
    attribute = "type"
    value     = "google.cloud.audit.log.v1.written"
  }
  matching_criteria {
    attribute = "serviceName"
    value     = "container.googleapis.com"
  }
  matching_criteria {
    attribute = "methodName"
    value     = each.value
  }

  destination {
    cloud_run_service {
      service = google_cloudfunctions2_function.function[local.router].name
      region  = var.region
    }
  }

  depends_on = [google_project_iam_member.agent, google_project_iam_member.event_receiver, google_cloud_run_service_iam_member.invoker]
}

resource "google_eventarc_trigger" "membership" {
  for_each = local.membership_triggers

  project                 = var.project
  name                    = each.key
  location                = each.value.location
  service_account         = google_service_account.caller["trigger"].email
  event_data_content_type = "application/json" # as protobuf it would reach a Python function as bytes

  matching_criteria {
    attribute = "type"
    value     = each.value.type
  }

  destination {
    cloud_run_service {
      service = google_cloudfunctions2_function.function[local.router].name
      region  = var.region
    }
  }

  depends_on = [google_project_iam_member.agent, google_project_iam_member.event_receiver, google_cloud_run_service_iam_member.invoker]
}

# The sweep. The body must not be empty: Pub/Sub refuses a message without data. The job is paused until a person has
# read `python -m ops plan`: the first sweep acts on every cluster that exists.
resource "google_cloud_scheduler_job" "sweep" {
  project     = var.project
  region      = var.region
  name        = local.sweep
  description = "Compares clusters, fleet and Argo CD's list"
  schedule    = var.sweep_schedule
  paused      = var.sweep_paused
  time_zone   = "Etc/UTC"

  pubsub_target {
    topic_name = google_pubsub_topic.topic[local.sweep].id
    data       = base64encode("{}")
  }

  depends_on = [google_project_iam_member.agent, google_pubsub_subscription.push]
}
