# Targets for infra/terraform. The Makefile includes this file; run them from the root.
TERRAFORM ?= terraform
TF := $(TERRAFORM) -chdir=infra/terraform
TF_INIT = $(TF) init -input=false $(if $(STATE_BUCKET),-backend-config=bucket=$(STATE_BUCKET),$(error say where the state is: make $@ STATE_BUCKET=…))

.PHONY: package plan apply scan

package:  ## the functions' bundle, for terraform
	@$(PYTHON) infra/terraform/package.py

plan: package  ## terraform plan (STATE_BUCKET=…), kept in infra/terraform/registrar.tfplan
	@$(TF_INIT)
	@$(TF) plan -input=false -lock=false -out=registrar.tfplan

apply: package  ## terraform apply of exactly that plan (STATE_BUCKET=…)
	@$(TF_INIT)
	@$(TF) apply -input=false -lock-timeout=5m registrar.tfplan

scan: setup  ## checkov on infra/terraform, in a virtual environment of its own
	@$(BIN)/python -m tests.infra.scan
