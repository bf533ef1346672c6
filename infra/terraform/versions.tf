# google-beta serves one resource only: the service agents (services.tf). time waits for grants and metrics to take effect.
terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.45, < 9.0"
    }
    google-beta = {
      source  = "hashicorp/google-beta"
      version = ">= 7.45, < 9.0"
    }
    time = {
      source  = "hashicorp/time"
      version = "~> 0.13"
    }
  }

  # The bucket is given at init: -backend-config=bucket=… . A gcs backend locks the state.
  backend "gcs" {
    prefix = "fleet-registrar"
  }
}

# Every call names the project whose quota it uses. Terraform does not read the quota project of gcloud's login, and some APIs
# (Cloud Asset) refuse a person's call without one.
provider "google" {
  project               = var.project
  region                = var.region
  billing_project       = var.project
  user_project_override = true
}

provider "google-beta" {
  project               = var.project
  region                = var.region
  billing_project       = var.project
  user_project_override = true
}
