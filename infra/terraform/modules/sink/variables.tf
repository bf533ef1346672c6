variable "destination" {
  description = "Where the entries go, in the form that sinks take."
  type        = string
}

variable "filter" {
  description = "Which entries."
  type        = string
}

variable "folder" {
  description = "Number of a folder, or null."
  type        = string
}

variable "name" {
  description = "The sinks' name."
  type        = string
}

variable "organization" {
  description = "Number of an organisation, or null."
  type        = string
}

variable "projects" {
  description = "Ids of projects."
  type        = set(string)
}
