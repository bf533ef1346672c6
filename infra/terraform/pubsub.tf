# Topics, the push subscriptions of the functions, and the dead letters.

resource "google_pubsub_topic" "topic" {
  #checkov:skip=CKV_GCP_83:messages hold names of clusters, no secrets; Google's default encryption is enough
  for_each = local.topics

  project    = var.project
  name       = each.key
  depends_on = [google_project_service.enabled]
}

locals {
  # The functions know the number, too: a step writes its own dead letter at its last attempt.
  delivery_attempts = 20
}

# 10 s doubled up to 600 s, 20 times: about two hours, in which new grants become effective and clusters become reachable again.
# A message whose error lasts longer becomes a dead letter.
resource "google_pubsub_subscription" "push" {
  for_each = local.wakes

  project = var.project
  name    = each.value
  topic   = google_pubsub_topic.topic[each.value].id

  # Above the function's timeout: a delivery that still runs is not repeated.
  ack_deadline_seconds       = local.sizes[each.key].timeout + 60
  message_retention_duration = "604800s"

  push_config {
    push_endpoint = google_cloudfunctions2_function.function[each.key].service_config[0].uri

    oidc_token {
      service_account_email = google_service_account.caller["push"].email
      audience              = google_cloudfunctions2_function.function[each.key].service_config[0].uri
    }
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.topic[local.dead_letters].id
    max_delivery_attempts = local.delivery_attempts
  }

  # Never: otherwise a month without messages would delete the subscription.
  expiration_policy {
    ttl = ""
  }

  depends_on = [google_cloud_run_service_iam_member.invoker, google_service_account_iam_member.push_tokens]
}

# `ops dead-letters` pulls from this subscription and releases what it does not replay.
resource "google_pubsub_subscription" "dead_letters" {
  project = var.project
  name    = local.dead_letters
  topic   = google_pubsub_topic.topic[local.dead_letters].id

  ack_deadline_seconds       = 60
  message_retention_duration = "604800s"

  expiration_policy {
    ttl = ""
  }
}

# Without both grants a message that failed too often is redelivered forever.

resource "google_pubsub_topic_iam_member" "dead_letters" {
  project = var.project
  topic   = google_pubsub_topic.topic[local.dead_letters].id
  role    = "roles/pubsub.publisher"
  member  = local.agents["pubsub"]
}

resource "google_pubsub_subscription_iam_member" "dead_letters" {
  for_each = google_pubsub_subscription.push

  project      = var.project
  subscription = each.value.name
  role         = "roles/pubsub.subscriber"
  member       = local.agents["pubsub"]
}
