variable "project" {
  description = "Id of the project that Fleet Registrar's functions and topics live in."
  type        = string
}

variable "region" {
  description = "Region of the function."
  type        = string
}

variable "bucket" {
  description = "Name of a bucket for the function's source."
  type        = string
}

variable "bundle" {
  description = "Path of a zip file with main.py and requirements.txt of the folder `function`."
  type        = string
}

variable "webhook_secret" {
  description = "Id of a Secret Manager secret whose latest version is the webhook's URL."
  type        = string
}

variable "name" {
  description = "Name of the function and id of its service account."
  type        = string
  default     = "cluster-events-chat"
}

variable "events" {
  description = "The events to post: the last word but one of their types."
  type        = set(string)
  default     = ["onboarded", "offboarded", "failed", "limited"]
  nullable    = false

  validation {
    condition     = length(setsubtract(var.events, ["onboarded", "changed", "held", "released", "offboarded", "failed", "limited", "swept"])) == 0
    error_message = "events are some of onboarded, changed, held, released, offboarded, failed, limited, swept."
  }
}
