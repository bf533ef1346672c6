# Inputs that are refused, each by its own validation. No cloud is needed: the providers are mocked.

mock_provider "google" {
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

run "the_central_membership_is_in_the_fleet" {
  command = plan
  variables {
    central_membership = "projects/another/locations/europe-west1/memberships/central"
  }
  expect_failures = [var.central_membership]
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
