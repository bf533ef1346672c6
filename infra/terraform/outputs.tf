output "identities" {
  description = "E-mail of each function's identity and of Argo CD's, for infra/argocd and for the attached clusters."
  value       = { for name, account in google_service_account.identity : name => account.email }
}

output "environment" {
  description = "The functions' settings, as `python -m ops` reads them: terraform output -json environment."
  value       = local.given
}

output "source_projects" {
  description = "Projects whose clusters are taken in. Below a folder or organisation: as of this apply."
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
