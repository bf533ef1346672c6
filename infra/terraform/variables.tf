variable "argocd" {
  description = <<-EOT
    Argo CD on the central cluster.
    `namespace`: its namespace.
    `identity`: e-mail address of its Google identity, if another instance has created it; by default Terraform creates one.
    `cluster_role`: the ClusterRole that is bound to its identity in every cluster.
    `workload_identity_project`: the project of its pods' Workload Identity pool: the central cluster's project, or the fleet
    project with fleet Workload Identity; by default the fleet project.
    `terminal`: whether its web terminal may open sessions through the gateway.
    `shards`: number of application controllers; a new Secret gets the least used shard. 0: no Secret gets a shard.
    `url`: address of its web page, to which the status page links. Empty: no links.
    `service_accounts`: the Kubernetes service accounts of its server and its application controller, which use its identity.
    The Argo CD operator puts the name of the ArgoCD object before them.
  EOT
  type = object({
    namespace                 = optional(string, "argocd")
    identity                  = optional(string)
    cluster_role              = optional(string, "cluster-admin")
    workload_identity_project = optional(string)
    terminal                  = optional(bool, false)
    shards                    = optional(number, 0)
    url                       = optional(string, "")
    service_accounts          = optional(list(string), ["argocd-application-controller", "argocd-server"])
  })
  default  = {}
  nullable = false

  validation {
    condition     = can(regex("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", var.argocd.namespace))
    error_message = "argocd.namespace is not a valid name of a namespace; example: argocd."
  }
  validation {
    condition     = var.argocd.identity == null ? true : can(regex("^[a-z0-9-]+@[a-z0-9.-]+\\.iam\\.gserviceaccount\\.com$", var.argocd.identity))
    error_message = "argocd.identity is the e-mail address of a service account; example: argocd@my-fleet.iam.gserviceaccount.com."
  }
  validation {
    condition     = can(regex("^[A-Za-z0-9]([-A-Za-z0-9_.:]*[A-Za-z0-9])?$", var.argocd.cluster_role))
    error_message = "argocd.cluster_role is not a ClusterRole's name; example: cluster-admin."
  }
  validation {
    condition     = var.argocd.shards >= 0 && var.argocd.shards <= 1000 && floor(var.argocd.shards) == var.argocd.shards
    error_message = "argocd.shards is a whole number from 0 (off) to 1000; example: 3."
  }
  validation {
    condition     = can(regex("^(https?://[^\\s/?#@]+(/[^\\s?#]*)?)?$", var.argocd.url))
    error_message = "argocd.url is the address of Argo CD's web page, without query; example: https://argocd.example.com."
  }
}

variable "central_membership" {
  description = "Full name of the central cluster's membership, in the fleet or in another one. Its cluster is never registered as an application cluster."
  type        = string

  validation {
    condition     = can(regex("^projects/[^/]+/locations/[^/]+/memberships/[^/]+$", var.central_membership))
    error_message = "central_membership is a full name; example: projects/my-fleet/locations/europe-west1/memberships/central."
  }
  validation {
    condition     = !can(regex("^projects/[0-9]+/", var.central_membership))
    error_message = "central_membership names its project by the id, not the number."
  }
}

variable "delivery" {
  description = <<-EOT
    Cloud Build: a plan for every push to the branch, and an apply of exactly that plan after approval. `repository` is a 2nd-generation
    repository, projects/P/locations/L/connections/C/repositories/R, in the region of the functions. null: no builds.
  EOT
  type = object({
    repository   = string
    state_bucket = string
    branch       = optional(string, "main")
  })
  default = null

  validation {
    condition = var.delivery == null ? true : can(
      regex("^projects/[^/]+/locations/${var.region}/connections/[^/]+/repositories/[^/]+$", var.delivery.repository)
    )
    error_message = "delivery.repository is projects/P/locations/L/connections/C/repositories/R, with L the region of the functions."
  }
}

variable "fleet_project" {
  description = "ID of the fleet's host project. By default the project of the functions; only then do membership events reach them."
  type        = string
  default     = null

  validation {
    condition     = var.fleet_project == null ? true : can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.fleet_project))
    error_message = "fleet_project is a project id, not a number; example: my-fleet."
  }
}

variable "max_instances" {
  description = <<-EOT
    Largest number of instances of each function except the sweep, which has one. An instance has one vCPU. Cloud Run refuses a function whose
    instances together exceed the region's CPU quota; many projects have 20 vCPU.
  EOT
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 1000 && floor(var.max_instances) == var.max_instances
    error_message = "max_instances is a whole number from 1 to 1000; example: 10."
  }
}

variable "membership_locations" {
  description = "Locations whose membership events reach the functions. The sweep finds changes in other locations."
  type        = set(string)
  default     = ["global"]
  nullable    = false

  validation {
    condition     = alltrue([for location in var.membership_locations : can(regex("^(global|[a-z]+-[a-z]+[0-9]+)$", location))])
    error_message = "membership_locations are regions, or global; example: [\"global\", \"europe-west1\"]."
  }
  validation {
    # https://cloud.google.com/eventarc/docs/locations
    condition     = length(setintersection(var.membership_locations, ["europe-west10", "europe-west12", "me-central2"])) == 0
    error_message = "Eventarc has no membership events in europe-west10, europe-west12 and me-central2: the sweep covers them."
  }
}

variable "notification_channels" {
  description = "Full names of the Monitoring channels that alerts go to. Without one, alerts are only seen in the console."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[0-9]+$", name))])
    error_message = "notification_channels are full names; example: projects/my-fleet/notificationChannels/1234567890."
  }
}

variable "project" {
  description = "ID of the project of the functions and topics."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project is a project id, not a number; example: my-fleet."
  }
}

variable "region" {
  description = "Region of the functions."
  type        = string
  default     = "europe-west1"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is the name of a region; example: europe-west1."
  }
}

variable "runbook_url" {
  description = "Address of docs/operate.md for the people who get the alerts. Each alert links to a section of it."
  type        = string
  default     = "docs/operate.md"
  nullable    = false
}

variable "settings" {
  description = <<-EOT
    Settings of the functions; docs/configuration.md explains each.
    `instance`: name of this registrar, if several write to one Argo CD.
    `cluster_selector`: label selector of the clusters to register. Empty: all.
    `label_keys`: labels to copy to the Secret. Empty: all.
    `max_removals`: how many clusters a sweep may newly hold: a number or a percentage.
    `sweep_requests`: how many requests a sweep publishes at most.
    `hold`: seconds for which a cluster that is no longer selected is held before its removal.
    `gateway_requests`: requests a minute that all functions together send to Connect Gateway; 0: no limit. A fleet project's quota
    is 2,400, Argo CD's requests included.
    `registration`: `create` registers clusters that have no membership; `wait` leaves that to others and deletes no membership.
    `secrets`: `write` creates cluster Secrets; `external` creates none, because another tool does.
  EOT
  type = object({
    instance         = optional(string, "default")
    cluster_selector = optional(string, "")
    label_keys       = optional(set(string), [])
    max_removals     = optional(string, "10%")
    sweep_requests   = optional(number, 200)
    hold             = optional(number, 600)
    gateway_requests = optional(number, 2000)
    registration     = optional(string, "create")
    secrets          = optional(string, "write")
  })
  default  = {}
  nullable = false

  validation {
    condition     = can(regex("^[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?$", var.settings.instance))
    error_message = "settings.instance is a DNS label of at most 30 characters; example: staging."
  }
  validation {
    condition     = alltrue([for key in var.settings.label_keys : can(regex("^([*]|[\\p{L}\\p{N}_./-]+([*]|:(([a-z0-9]([-a-z0-9]*[a-z0-9])?[.])*[a-z0-9]([-a-z0-9]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?)$", key))])
    error_message = "settings.label_keys are KEY, PREFIX* or KEY:NEW-KEY, where NEW-KEY is valid for Kubernetes; example: [\"env\", \"cost-*\", \"team:example.com/team\"]."
  }
  validation {
    condition     = !anytrue([for key in var.settings.label_keys : can(regex(":(goog-|fleet-registrar-|([^/]*[.])?(kubernetes[.]io|k8s[.]io|argoproj[.]io|fleet-registrar)/)", key))])
    error_message = "settings.label_keys rename a label to a reserved key: people who may label a cluster must not set it. Use a prefix of your own; example: [\"team:example.com/team\"]."
  }
  validation {
    condition     = length(distinct([for key in var.settings.label_keys : split(":", key)[0]])) == length(var.settings.label_keys) && length(distinct([for key in var.settings.label_keys : split(":", key)[1] if length(split(":", key)) > 1])) == length([for key in var.settings.label_keys : key if length(split(":", key)) > 1])
    error_message = "settings.label_keys name a KEY or a NEW-KEY twice; example: [\"env\", \"team:example.com/team\"]."
  }
  validation {
    condition     = can(regex("^([0-9]+|([0-9]|[1-9][0-9]|100)%)$", var.settings.max_removals))
    error_message = "settings.max_removals is a number or a percentage; example: 10%."
  }
  validation {
    condition     = var.settings.sweep_requests >= 1 && floor(var.settings.sweep_requests) == var.settings.sweep_requests
    error_message = "settings.sweep_requests is a whole number of at least 1; example: 200."
  }
  validation {
    condition     = var.settings.hold >= 0 && floor(var.settings.hold) == var.settings.hold
    error_message = "settings.hold is a whole number of seconds; example: 600."
  }
  validation {
    condition     = var.settings.gateway_requests >= 0 && floor(var.settings.gateway_requests) == var.settings.gateway_requests
    error_message = "settings.gateway_requests is a whole number of at least 0; example: 2000."
  }
  validation {
    condition     = contains(["create", "wait"], var.settings.registration)
    error_message = "settings.registration is create or wait; example: wait."
  }
  validation {
    condition     = contains(["write", "external"], var.settings.secrets)
    error_message = "settings.secrets is write or external; example: external."
  }
}

variable "sources" {
  description = <<-EOT
    The projects whose clusters are registered. By default the fleet project.
    `projects`: a list of project IDs.
    `folder` and `organization`: everything below a folder; both are numbers, and only an organisation's custom roles can be bound to
    a folder.
    `organization` alone: everything in the organisation.
    `with_gke_only` leaves out projects of the folder or organisation that have not enabled the GKE API when Terraform runs; use it from
    about 1,000 projects on. A project that enables GKE later is then a source from the next apply on.
  EOT
  type = object({
    projects      = optional(set(string), [])
    folder        = optional(string)
    organization  = optional(string)
    with_gke_only = optional(bool, false)
  })
  default  = {}
  nullable = false

  validation {
    condition = alltrue([
      for project in var.sources.projects : can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", project))
    ])
    error_message = "sources.projects are project ids, not numbers; example: [\"team-a-prod\"]."
  }
  validation {
    condition     = length(var.sources.projects) == 0 || (var.sources.folder == null && var.sources.organization == null)
    error_message = "sources has either projects, or a folder with its organization, or an organization alone."
  }
  validation {
    condition     = !var.sources.with_gke_only || var.sources.organization != null
    error_message = "sources.with_gke_only is for a folder or an organisation: remove it, or remove sources.projects."
  }
  validation {
    condition     = var.sources.folder == null || var.sources.organization != null
    error_message = "sources.folder needs sources.organization: only a custom role of the organisation can be bound to a folder."
  }
  validation {
    condition = alltrue([
      for number in [var.sources.folder, var.sources.organization] : number == null ? true : can(regex("^[0-9]+$", number))
    ])
    error_message = "sources.folder and sources.organization are numbers; example: \"123456789012\"."
  }
}

variable "status" {
  description = "The status page: who may open it (IAM members), and from where. docs/operate.md#the-status-page-for-your-team."
  type = object({
    viewers = optional(set(string), [])
    ingress = optional(string, "ALLOW_INTERNAL_ONLY")
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains(["ALLOW_INTERNAL_ONLY", "ALLOW_INTERNAL_AND_GCLB", "ALLOW_ALL"], var.status.ingress)
    error_message = "status.ingress is ALLOW_INTERNAL_ONLY, ALLOW_INTERNAL_AND_GCLB or ALLOW_ALL."
  }
  validation {
    condition     = length(setintersection(var.status.viewers, ["allUsers", "allAuthenticatedUsers"])) == 0
    error_message = "status.viewers must not be public: the page shows names, labels and error messages of all clusters."
  }
}

variable "sweep_paused" {
  description = "Whether the sweep's schedule is paused. Set it to false after a person has read `python -m ops plan` (docs/deploy.md)."
  type        = bool
  default     = true
  nullable    = false
}

variable "sweep_schedule" {
  description = "When a sweep runs: five fields of cron, in UTC."
  type        = string
  default     = "*/15 * * * *"
  nullable    = false

  validation {
    condition     = can(regex("^[^ ]+( [^ ]+){4}$", var.sweep_schedule))
    error_message = "sweep_schedule has the five fields of cron; example: */15 * * * *."
  }
}
