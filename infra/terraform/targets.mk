# Targets for infra/terraform. The Makefile includes this file; run them from the root.
TERRAFORM ?= terraform
TF := $(TERRAFORM) -chdir=infra/terraform
TF_INIT = $(TF) init -input=false $(if $(STATE_BUCKET),-backend-config=bucket=$(STATE_BUCKET),$(error say where the state is: make $@ STATE_BUCKET=…))

# The roles of Google's own service agents.
AGENTS := ^google_(project|folder|organization)_iam_member\.(agent|fleet_agent)\[
# What Terraform keeps in a source project.
IN_SOURCE = (google_project_service\.enabled|google_project_iam_custom_role\.source|google_project_iam_member\.(source|fleet_agent|delivery)|google_logging_project_sink\.sink)\["([a-z]+/)?$(subst .,\.,$(SOURCE))["/]
# What wakes the functions. A destroy of these takes what depends on them too: the sinks.
WAKES := google_cloud_scheduler_job.sweep google_eventarc_trigger.audit google_eventarc_trigger.membership google_pubsub_subscription.push

# Drop the addresses that match $(1) from the state, in one write. Google keeps the resources.
define drop
	@addresses=$$($(TF) state list) && addresses=$$(printf '%s\n' "$$addresses" | { grep -E '$(1)' || true; }) && \
	  newline=$$(printf '\n_') && IFS=$${newline%_} && set -f && set -- $$addresses && \
	  { [ $$# -eq 0 ] || $(TF) state rm "$$@"; }
endef

.PHONY: package plan apply keep-agents forget uninstall-stop uninstall-rbac uninstall scan terraform-docs

package:  ## the functions' bundle, for terraform
	@$(PYTHON) infra/terraform/package.py

plan: package  ## terraform plan (STATE_BUCKET=…), kept in infra/terraform/registrar.tfplan
	@$(TF_INIT)
	@$(TF) plan -input=false -lock=false -out=registrar.tfplan

apply: package  ## terraform apply of exactly that plan (STATE_BUCKET=…)
	@$(TF_INIT)
	@$(TF) apply -input=false -lock-timeout=5m registrar.tfplan

keep-agents:  ## before a source project leaves: drop the roles of Google's service agents from the state (STATE_BUCKET=…)
	@$(TF_INIT)
	$(call drop,$(AGENTS))

forget:  ## after a source project was shut down: drop it from the state (STATE_BUCKET=… SOURCE=project)
	@$(TF_INIT)
	@test -n "$(SOURCE)" || { echo 'say which project was shut down: make forget SOURCE=…' >&2; exit 1; }
	$(call drop,$(IN_SOURCE))

uninstall-stop:  ## uninstall, first: destroy the schedule, triggers, sinks and push subscriptions (STATE_BUCKET=…)
	@$(TF_INIT)
	@$(TF) destroy $(addprefix -target=,$(WAKES))

uninstall-rbac:  ## uninstall, then: list Argo CD's bindings in each cluster of a fleet (FLEET=project; DELETE=yes deletes them)
	@infra/uninstall-rbac.sh $(or $(FLEET),$(error say which fleet: make $@ FLEET=…)) $(if $(filter yes,$(DELETE)),--delete)

uninstall: keep-agents  ## uninstall, last: destroy the rest, but for the roles of Google's service agents (STATE_BUCKET=…)
	@$(TF) destroy

scan: setup  ## checkov on infra/terraform, in a virtual environment of its own
	@$(BIN)/python -m tests.infra.scan

terraform-docs: setup  ## the tables of inputs and outputs in each module's README.md, as terraform-docs writes them
	@$(BIN)/python -m tests.infra.terraform_docs
