# Refused inputs, each by its own validation. The providers are mocked. Terraform 1.11 or newer runs these tests.

mock_provider "google" {
  override_during = plan
  mock_resource "google_cloudfunctions2_function" {
    defaults = {
      state = "ACTIVE"
    }
  }
  mock_data "google_project" {
    defaults = {
      number = "123456789012"
    }
  }
  mock_data "google_cloud_asset_search_all_resources" {
    defaults = {
      results = []
    }
  }
}

mock_provider "google-beta" {}

mock_provider "time" {}

variables {
  project            = "my-fleet"
  central_membership = "projects/my-fleet/locations/europe-west1/memberships/central"
}

run "the_least_inputs_are_enough" {
  command = plan
}

run "a_project_is_not_a_number" {
  command = plan
  variables {
    project = "123456789012"
  }
  expect_failures = [var.project]
}

run "the_central_membership_is_a_full_name" {
  command = plan
  variables {
    central_membership = "central"
  }
  expect_failures = [var.central_membership]
}

run "the_central_membership_may_be_in_another_fleet" {
  command = plan
  variables {
    central_membership = "projects/another/locations/europe-west1/memberships/central"
  }
}

run "the_central_membership_names_its_project_by_id" {
  command = plan
  variables {
    central_membership = "projects/123456789012/locations/europe-west1/memberships/central"
  }
  expect_failures = [var.central_membership]
}

run "the_identity_of_argocd_is_an_e_mail" {
  command = plan
  variables {
    argocd = { identity = "argocd" }
  }
  expect_failures = [var.argocd]
}

run "argo_cds_address_has_no_query" {
  command = plan
  variables {
    argocd = { url = "https://argocd.example.com/?a=b" }
  }
  expect_failures = [var.argocd]
}

run "sources_are_projects_or_an_organisation" {
  command = plan
  variables {
    sources = { projects = ["team-a-prod"], organization = "678" }
  }
  expect_failures = [var.sources]
}

run "a_folder_needs_its_organisation" {
  command = plan
  variables {
    sources = { folder = "345" }
  }
  expect_failures = [var.sources]
}

run "a_source_project_is_an_id" {
  command = plan
  variables {
    sources = { projects = ["123456789012"] }
  }
  expect_failures = [var.sources]
}

run "with_gke_only_is_for_folders_and_organisations" {
  command = plan
  variables {
    sources = { projects = ["team-a-prod"], with_gke_only = true }
  }
  expect_failures = [var.sources]
}

run "a_schedule_has_five_fields" {
  command = plan
  variables {
    sweep_schedule = "every 15 minutes"
  }
  expect_failures = [var.sweep_schedule]
}

run "a_function_has_at_least_one_instance" {
  command = plan
  variables {
    max_instances = 0
  }
  expect_failures = [var.max_instances]
}

run "an_organisation_without_projects_is_a_mistake" {
  command = plan
  variables {
    sources = { organization = "678" }
  }
  expect_failures = [google_cloudfunctions2_function.function]
}

run "max_removals_is_a_number_or_a_percentage" {
  command = plan
  variables {
    settings = { max_removals = "many" }
  }
  expect_failures = [var.settings]
}

run "some_regions_have_no_membership_events" {
  command = plan
  variables {
    membership_locations = ["europe-west12"]
  }
  expect_failures = [var.membership_locations]
}

run "the_repository_is_in_the_functions_region" {
  command = plan
  variables {
    delivery = {
      repository   = "projects/my-fleet/locations/us-east1/connections/c/repositories/r"
      state_bucket = "my-state"
    }
  }
  expect_failures = [var.delivery]
}
