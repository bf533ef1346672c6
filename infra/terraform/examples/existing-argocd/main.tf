# Beside an Argo CD that others installed: in another namespace, with other service accounts, bound to a narrower role.
# Others also register the clusters in the fleet. Adopt the Secrets that exist before the first sweep (docs/operate.md).
module "registrar" {
  source = "../.."

  project            = "my-fleet"
  central_membership = "projects/my-fleet/locations/europe-west1/memberships/central"
  settings           = { registration = "wait" }
  argocd = {
    namespace        = "openshift-gitops"
    cluster_role     = "deployer"
    service_accounts = ["gitops-argocd-application-controller", "gitops-argocd-server"]
  }
}

output "argocd_values" {
  value = module.registrar.argocd_values
}

output "environment" {
  value = module.registrar.environment
}
