# One project: the fleet, the functions and the clusters are in it.
module "registrar" {
  source = "../.."

  project            = "my-fleet"
  central_membership = "projects/my-fleet/locations/europe-west1/memberships/central"
}

output "argocd_values" {
  value = module.registrar.argocd_values
}

output "environment" {
  value = module.registrar.environment
}
