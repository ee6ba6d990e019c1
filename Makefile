SHELL := /bin/bash

# How many agencies, and how many made-up bets each of them has.
AGENCIES ?= 5
BETS ?= 10000
COMPOSE_FILE ?= docker-compose-dev.yaml
# What the images are built on: make docker-image BUILD_ARGS='--build-arg BASE=python:3.12-slim'
BUILD_ARGS ?=

default: docker-image
.PHONY: default

docker-image:
	docker build $(BUILD_ARGS) -f ./server/Dockerfile -t "server:latest" .
	docker build $(BUILD_ARGS) -f ./client/Dockerfile -t "client:latest" .
.PHONY: docker-image

# Docker makes a folder where a file that is to be mounted is missing, and it stays there in the place of the file.
no-folders:
	@for folder in .data/agency-*.csv/ server/config.ini/ client/config.yaml/; do \
		if test -d "$$folder"; then \
			echo "$${folder%/}: is a folder, as Docker makes one where a mounted file is missing;" \
				"remove it and try again: sudo rmdir $${folder%/}" >&2; exit 2; \
		fi; \
	done
.PHONY: no-folders

# A data file that holds something is never replaced.
data: no-folders docker-image
	docker run --rm --user "$$(id -u):$$(id -g)" -v "$(CURDIR)/.data:/data" client:latest \
		sample /data/.sample --agencies $(AGENCIES) --bets $(BETS) --overwrite
	cd .data/.sample && for file in *; do test -s "../$$file" || cp "$$file" .. || exit; done
	rm -r .data/.sample
.PHONY: data

$(COMPOSE_FILE):
	./generar-compose.sh $@ $(AGENCIES)

# A file that is there is a draw that may have begun, so it is never written anew; but who asks for a number of agencies
# shall not get another one.
compose-file: ASKED = $(filter-out file undefined default,$(origin AGENCIES))
compose-file: $(COMPOSE_FILE)
	@found=$$(grep -cE '^ *"?client[0-9]+"?: *\{?$$' '$(COMPOSE_FILE)'); \
	if test -n '$(ASKED)' && test "$$found" != '$(AGENCIES)'; then \
		echo "$(COMPOSE_FILE) has $$found agencies, not $(AGENCIES); for a new draw with $(AGENCIES):" \
			"./generar-compose.sh $(COMPOSE_FILE) $(AGENCIES)" >&2; exit 2; \
	fi
.PHONY: compose-file

docker-compose-up: no-folders compose-file docker-image
	docker compose -f $(COMPOSE_FILE) up -d
.PHONY: docker-compose-up

# The book outlives it, on its volume: docker compose -f $(COMPOSE_FILE) down -v throws it away.
docker-compose-down:
	docker compose -f $(COMPOSE_FILE) stop -t 10
	docker compose -f $(COMPOSE_FILE) down
.PHONY: docker-compose-down

docker-compose-logs:
	docker compose -f $(COMPOSE_FILE) logs -f
.PHONY: docker-compose-logs
