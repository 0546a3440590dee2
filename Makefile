# One model, one server, one check. `make` alone lists the targets.
PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python
CXX    ?= g++
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help setup ops

include ops/build.mk
