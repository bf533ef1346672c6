# Clusters of several projects, of which only those with the label argocd=yes are registered.
module "registrar" {
  source = "../.."

  project            = "my-fleet"
  central_membership = "projects/my-fleet/locations/europe-west1/memberships/central"
  sources            = { projects = ["my-fleet", "team-a-prod", "team-b"] }
  settings = {
    cluster_selector = "argocd=yes"
    label_keys       = ["env", "team", "cost-*"]
  }
}

output "argocd_values" {
  value = module.registrar.argocd_values
}

output "environment" {
  value = module.registrar.environment
}
