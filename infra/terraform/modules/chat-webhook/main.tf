# An example of a subscriber: a function that posts events of the topic `cluster-events` to a chat webhook.

terraform {
  required_providers {
    google = {
      source = "hashicorp/google"
    }
  }
}

resource "google_service_account" "chat" {
  project      = var.project
  account_id   = var.name
  display_name = "Posts Fleet Registrar's events to a chat"
}

# The URL is a secret: anybody who has it can post to the chat. Add its version by hand.
resource "google_secret_manager_secret_iam_member" "chat" {
  project   = var.project
  secret_id = var.webhook_secret
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.chat.member
}

resource "google_storage_bucket_object" "source" {
  bucket = var.bucket
  name   = "${var.name}-${filemd5(var.bundle)}.zip"
  source = var.bundle
}

resource "google_cloudfunctions2_function" "chat" {
  project     = var.project
  location    = var.region
  name        = var.name
  description = "Posts Fleet Registrar's events to a chat"

  build_config {
    runtime     = "python313"
    entry_point = "post"

    source {
      storage_source {
        bucket = google_storage_bucket_object.source.bucket
        object = google_storage_bucket_object.source.name
      }
    }
  }

  service_config {
    service_account_email = google_service_account.chat.email
    ingress_settings      = "ALLOW_INTERNAL_ONLY"
    available_memory      = "256Mi"
    timeout_seconds       = 60
    max_instance_count    = 1
    environment_variables = { EVENTS = join(",", sort(var.events)) }

    secret_environment_variables {
      key        = "WEBHOOK_URL"
      project_id = var.project
      secret     = var.webhook_secret
      version    = "latest"
    }
  }

  event_trigger {
    trigger_region        = var.region
    event_type            = "google.cloud.pubsub.topic.v1.messagePublished"
    pubsub_topic          = "projects/${var.project}/topics/cluster-events"
    service_account_email = google_service_account.chat.email
    retry_policy          = "RETRY_POLICY_RETRY"
  }

  depends_on = [google_secret_manager_secret_iam_member.chat]
}

resource "google_cloud_run_service_iam_member" "invoker" {
  project  = var.project
  location = var.region
  service  = google_cloudfunctions2_function.chat.name
  role     = "roles/run.invoker"
  member   = google_service_account.chat.member
}
