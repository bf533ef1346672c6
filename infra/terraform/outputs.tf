output "identities" {
  description = "E-mail of each function's identity and of Argo CD's, for infra/argocd and for the attached clusters."
  value       = merge({ for name, account in google_service_account.identity : name => account.email }, local.given_identity)
}

output "argocd_values" {
  description = "Values of infra/argocd/values/values.yaml that Terraform knows. The unique ids are what a direct call to a cluster may show in place of an e-mail."
  value = {
    "namespace"            = var.argocd.namespace
    "fleet-project"        = local.fleet_project
    "fleet-project-number" = local.given["FLEET_PROJECT_NUMBER"]
    "functions-domain"     = split("@", google_service_account.identity[local.sweep].email)[1]
    "functions-ids"        = join(",", [for name in local.functions : google_service_account.identity[name].unique_id])
    "argocd-identity"      = trimprefix(local.members[local.argocd], "serviceAccount:")
    "instance"             = var.settings.instance
    "central-membership"   = var.central_membership
    "shards"               = tostring(var.argocd.shards)
  }
}

output "environment" {
  description = "The functions' settings, as `python -m ops` reads them: terraform output -json environment."
  value       = local.given
}

output "source_projects" {
  description = "Projects whose clusters are registered. Below a folder or organisation: as of this apply."
  value       = sort(local.source_projects)
}

output "topics" {
  description = "Full name of each topic; publishing to a step is replay."
  value       = { for name, topic in google_pubsub_topic.topic : name => topic.id }
}

output "fleet_service_agent" {
  description = "The fleet's own agent, which needs roles/gkehub.serviceAgent in projects whose clusters are registered."
  value       = trimprefix(local.fleet_agent, "serviceAccount:")
}

output "version" {
  description = "Version of Fleet Registrar; the functions have it as the label fleet-registrar-version, with `-` for each dot."
  value       = local.version
}
