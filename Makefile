# Commands for developers and operators. `make` lists them.
PYTHON ?= python3
STACK ?= dev
run = .venv/bin/python -m operations

.DEFAULT_GOAL := help
.PHONY: help dev test setup up preview status doctor logs backup backups points recover restore env beside take-over destroy wipe render documents lint kong-check

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]*:.*## / {printf "%-12s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

dev: ## set up this machine and start the dev stack
	@$(PYTHON) operations/bootstrap.py --engine --pulumi
	@$(run) up --stack dev
	@$(run) status --stack dev
	@echo
	@echo 'To run Pulumi commands in this shell: . ./activate    then, for example: pulumi preview -s dev'

test: ## set up this machine and run the tests that need neither Docker nor Pulumi
	@$(PYTHON) operations/bootstrap.py --development
	@.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

setup: ## set up this machine, including Pulumi and its plugins
	@$(PYTHON) operations/bootstrap.py --pulumi

up: ## create or update a stack: make up STACK=dev
	@$(PYTHON) operations/bootstrap.py --pulumi
	@$(run) up --stack $(STACK)

preview: ## show what a new stack would create, without secrets or cluster: make preview STACK=prod
	@$(PYTHON) operations/bootstrap.py --pulumi
	@$(run) preview --stack $(STACK)

status: ## show the stack's containers or pods: make status STACK=dev
	@$(run) status --stack $(STACK)

doctor: ## find out what is wrong with a stack, and what to do: make doctor STACK=dev
	@$(run) doctor --stack $(STACK)

logs: ## follow the logs of a workload: make logs SERVICE=postgres
	@$(run) logs --stack $(STACK) --follow $(or $(SERVICE),$(error name one: make logs SERVICE=postgres))

backup: ## back up the databases now: make backup STACK=prod
	@$(run) backup --stack $(STACK)

backups: ## list the backups: make backups STACK=prod
	@$(run) backups list --stack $(STACK)

points: ## list the times to which databases can be recovered: make points STACK=prod
	@$(run) points --stack $(STACK)

recover: ## replace a database, or all, by its state at a time, after a typed confirmation: make recover DATABASE=pti_user TO=2026-11-29T12:34:56Z
	@$(run) recover --stack $(STACK) --to $(or $(TO),$(error name the time: make recover DATABASE=pti_user TO=2026-11-29T12:34:56Z)) \
		$(if $(filter all,$(DATABASE)),--all,--database $(or $(DATABASE),$(error name one, or all: make recover DATABASE=pti_user TO=2026-11-29T12:34:56Z)))

restore: ## replace a database, or all, by the newest backup, after a typed confirmation: make restore DATABASE=pti_user
	@$(run) restore --stack $(STACK) $(if $(filter all,$(DATABASE)),--all,--database $(or $(DATABASE),$(error name one, or all: make restore DATABASE=pti_user))) \
		$(if $(FROM),--from $(FROM))

env: ## write .env.<service> for a service run from an editor: make env SERVICE=user
	@$(run) env --stack $(STACK) $(or $(SERVICE),$(error name one: make env SERVICE=user))

beside: ## configure a second stack like dev, on free ports: make beside STACK=dev2
	@$(PYTHON) operations/bootstrap.py
	@$(run) beside --stack $(if $(filter file,$(origin STACK)),$(error name the new stack: make beside STACK=dev2),$(STACK))

take-over: ## remove the containers of another state's stack of this name; data stays: make take-over STACK=dev
	@$(run) take-over --stack $(STACK)

destroy: ## destroy a stack and keep its data, after a typed confirmation: make destroy STACK=dev
	@$(if $(filter file,$(origin STACK)),$(error name the stack: make destroy STACK=dev))$(run) destroy --stack $(STACK)

wipe: ## destroy a stack and DELETE its data except for backups, after a typed confirmation: make wipe STACK=dev
	@$(if $(filter file,$(origin STACK)),$(error name the stack: make wipe STACK=dev))$(run) wipe --stack $(STACK)

render: ## write a stack as a Compose file, or as Kubernetes manifests, into rendered/: make render STACK=prod
	@$(PYTHON) operations/bootstrap.py
	@$(run) render --stack $(STACK)

documents: ## regenerate the generated documents
	@$(PYTHON) operations/bootstrap.py --development
	@$(run) documents

kong-check: ## compare a real Kong with the recorded behaviour: make kong-check KONG=https://api.pti-calendar.fr
	@$(PYTHON) operations/bootstrap.py --development
	@.venv/bin/python -m tests.gateway.check $(or $(KONG),$(error name one: make kong-check KONG=https://api.pti-calendar.fr))

lint: ## check style, types and commit subjects
	@$(PYTHON) operations/bootstrap.py --development
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy .
	@.venv/bin/python .ci/subjects.py
