# google-beta serves one resource only: the service agents (services.tf).
terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
    google-beta = {
      source  = "hashicorp/google-beta"
      version = "~> 6.50"
    }
  }

  # The bucket is given at init: -backend-config=bucket=… . A gcs backend locks by itself.
  backend "gcs" {
    prefix = "fleet-registrar"
  }
}

provider "google" {
  project = var.project
  region  = var.region
}

provider "google-beta" {
  project = var.project
  region  = var.region
}
