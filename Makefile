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

# A data file that holds something is never replaced.
data: docker-image
	docker run --rm --user "$$(id -u):$$(id -g)" -v "$(CURDIR)/.data:/data" client:latest \
		sample /data/.sample --agencies $(AGENCIES) --bets $(BETS) --overwrite
	cd .data/.sample && for file in *; do test -s "../$$file" || cp "$$file" ..; done
	rm -r .data/.sample
.PHONY: data

$(COMPOSE_FILE):
	./generar-compose.sh $@ $(AGENCIES)

docker-compose-up: docker-image $(COMPOSE_FILE)
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
