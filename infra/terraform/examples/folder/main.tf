# Clusters of all projects below a folder. The organisation holds the custom roles that are bound to the folder.
module "registrar" {
  source = "../.."

  project            = "my-fleet"
  central_membership = "projects/my-fleet/locations/europe-west1/memberships/central"
  sources            = { folder = "345", organization = "678" }
}

output "argocd_values" {
  value = module.registrar.argocd_values
}

output "environment" {
  value = module.registrar.environment
}
