# Two fleets feed one Argo CD: production creates Argo CD's identity, and staging uses it.
module "production" {
  source = "../.."

  project            = "my-fleet"
  central_membership = "projects/my-fleet/locations/europe-west1/memberships/central"
}

module "staging" {
  source = "../.."

  project            = "my-staging"
  central_membership = "projects/my-fleet/locations/europe-west1/memberships/central"
  settings           = { instance = "staging" }
  argocd             = { identity = "argocd@my-fleet.iam.gserviceaccount.com" }
}

output "argocd_values" {
  value = { production = module.production.argocd_values, staging = module.staging.argocd_values }
}

output "environment" {
  value = { production = module.production.environment, staging = module.staging.environment }
}
