# One log sink for each project of a list, or one for a folder or an organisation with everything below it. The caller grants `writers` the right
# to write to the destination: until then entries are silently dropped.

terraform {
  required_providers {
    google = {
      source = "hashicorp/google"
    }
  }
}

resource "google_logging_project_sink" "sink" {
  for_each = var.projects

  project                = each.key
  name                   = var.name
  destination            = var.destination
  filter                 = var.filter
  unique_writer_identity = true
}

resource "google_logging_folder_sink" "sink" {
  count = var.folder == null ? 0 : 1

  folder           = "folders/${var.folder}"
  name             = var.name
  destination      = var.destination
  filter           = var.filter
  include_children = true # the default is the folder's own entries, of which there are none
}

resource "google_logging_organization_sink" "sink" {
  count = var.organization == null ? 0 : 1

  org_id           = var.organization
  name             = var.name
  destination      = var.destination
  filter           = var.filter
  include_children = true
}
