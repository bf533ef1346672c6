output "sources" {
  description = "What has a sink: ids of projects, or `folder`, or `organization`. Known before anything is made."
  value = setunion(
    var.projects, var.folder == null ? [] : ["folder"], var.organization == null ? [] : ["organization"]
  )
}

output "writers" {
  description = "Each sink's identity, by its source, as an IAM member."
  value = merge(
    { for project, sink in google_logging_project_sink.sink : project => sink.writer_identity },
    { for sink in google_logging_folder_sink.sink : "folder" => sink.writer_identity },
    { for sink in google_logging_organization_sink.sink : "organization" => sink.writer_identity },
  )
}
