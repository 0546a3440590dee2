# One model, one server, one check. `make` alone lists the targets.
#
#   make serve                                       the demo model
#   make mar CHECKPOINT=model.pth NAME=mine ...      your own, then: make serve NAME=mine
#   make mar CHECKPOINT=coco                         a published one, then: make serve NAME=coco

PYTHON      ?= python3
VENV        ?= .venv
PY          := $(VENV)/bin/python
CXX         ?= g++
# CHECKPOINT where it is a file. What is none and has none of their endings is the name of a published model.
MODEL_FILE   = $(if $(wildcard $(CHECKPOINT)/.),,$(or $(wildcard $(CHECKPOINT)),$(filter %.pth %.pt %.pkl,$(CHECKPOINT))))
# Not from the environment: some systems keep the name of the machine in NAME. Without one: the file's, the published
# model's, or the demo.
NAME        := $(or $(if $(MODEL_FILE),$(basename $(notdir $(CHECKPOINT))),$(notdir $(CHECKPOINT))),demo)
STORE       ?= model_store
# Without one: that of the server that runs, or 8080.
PORT        ?=
IMAGE       ?= demo/pictures/shapes_02.jpg
PREDICTIONS ?= build/predictions
# Nor these: of a model that is exported again, of `make scale`, of `make fuzz`, and of `make pytorch-versions`.
VERSION     :=
WORKERS     :=
TARGET      :=
SECONDS     :=
INPUT       :=
VERSIONS    :=
MAR         := $(STORE)/$(NAME)$(if $(VERSION),-$(VERSION)).mar
INSTALLED   := $(VENV)/.installed
# deploy/Dockerfile gives requirements-serve.lock: what serves, without what tests.
LOCK        := requirements.lock
MAKEFLAGS   += --no-print-directory

ifneq ($(word 2,$(CHECKPOINT))$(word 2,$(LABELS)),)
$(error make takes no paths with spaces: rename the file, or call $(PY) -m export yourself)
endif
ifneq ($(words $(NAME))$(findstring /,$(NAME)),1)
$(error NAME must be one word without '/', got '$(NAME)')
endif
ifeq ($(NAME)$(CHECKPOINT),demo)
CHECKPOINT  := demo/shapes.pth
PRESET      ?= demo
THRESHOLD   ?= 0.5
endif
# A list of class names that comes with the export is no file to wait for.
LABELS_FILE := $(if $(wildcard export/class_lists/$(LABELS).txt),$(wildcard $(LABELS)),$(LABELS))
# Everything that `python -m export` is told; see `python -m export --help`.
EXPORT_ARGS := $(if $(VERSION),--version $(VERSION) )$(if $(PRESET),--preset $(PRESET)) $(if $(LABELS),--labels $(LABELS)) $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup lock audit ray ops mar serve stop predict page ready register versions scale rollback unregister cpp test test-emulated fuzz fuzz-threads fuzz-replay check pytorch-versions soak bench bench-peer bench-ray gpu-check clean FORCE

help: ## List the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-16s %s\n", $$1, $$2 }'

setup: $(INSTALLED) ## Make .venv with everything needed (TORCH_INDEX=URL: another build of PyTorch)

# Nothing of the lock is built here: a wheel runs no code of its own while it is installed.
LOCKED      := -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all:

$(INSTALLED): requirements.txt $(LOCK) requirements-java.lock server/java.py
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' \
	  || { echo "error: $(PYTHON) must be Python 3.11 to 3.14; choose one with PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@echo "fetching PyTorch, TorchServe and what else is needed into $(VENV): a few minutes, without another word"
	$(PY) $(LOCKED) -r $(LOCK)
	$(PY) -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) $$(grep '^torch==' requirements.txt)
	@$(PY) -m server.java >/dev/null 2>&1 || $(PY) $(LOCKED) -r requirements-java.lock
	@touch $@

# On top of the rest, with the same versions of what both need.
RAY_INSTALLED := $(VENV)/.ray-installed

ray: $(RAY_INSTALLED) ## Add Ray to .venv (0.5 GB), for examples/ray_serve.py, examples/ray_data.py and their tests

$(RAY_INSTALLED): $(INSTALLED) requirements-ray.lock
	$(PY) $(LOCKED) -r requirements-ray.lock
	@touch $@

# uv resolves for every Python and every system at once. It lives in a folder of its own, not in .venv. Where the index
# has PyTorch for CUDA, UV_TORCH_BACKEND=cpu keeps CUDA's packages out of the lock (tests/test_lock.py would find them).
UV          := build/uv/bin/uv
COMPILE      = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --only-binary :all: \
  --no-emit-package torch --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

$(UV): Makefile
	$(PYTHON) -m venv build/uv
	build/uv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9

lock: $(UV) ## Write requirements*.lock anew from requirements*.txt (UPGRADE=1: the newest of what they leave open)
	$(COMPILE) requirements.txt requirements-dev.txt --output-file requirements.lock
	$(COMPILE) requirements.txt --constraint requirements.lock --output-file requirements-serve.lock
	$(COMPILE) requirements-java.txt --output-file requirements-java.lock
	$(COMPILE) requirements-ray.txt --constraint requirements.lock --output-file requirements-ray.lock

audit: $(INSTALLED) ## List packages and jars with their versions and what is known against them (OFFLINE=1: ask nobody)
	@$(PY) -m tests.audit $(if $(OFFLINE),--offline)

include ops/build.mk
include tests/fuzz/build.mk

ops: $(OPS_LIBRARIES) ## Build the compiled ops (CXX=, NVCC=, CUDA_ARCHITECTURES="80 90")
	@$(if $(HAS_NVCC),:,echo "no $(NVCC) here: ops for the CPU only")

mar: $(MAR) ## Export CHECKPOINT=... [NAME=] [PRESET=] [LABELS=] [ARGS=] to model_store/NAME.mar

ifneq ($(CHECKPOINT),)
EXPORTED_WITH := build/$(basename $(notdir $(MAR))).export-arguments
# Rewritten only when it changes, so that the same checkpoint with other options is exported again.
$(EXPORTED_WITH): FORCE
	@mkdir -p $(@D)
	@echo '$(CHECKPOINT) $(EXPORT_ARGS)' | cmp -s - $@ || echo '$(CHECKPOINT) $(EXPORT_ARGS)' > $@

$(MODEL_FILE) $(LABELS_FILE):
	@echo 'error: $@ does not exist'; exit 2

$(MAR): $(MODEL_FILE) $(LABELS_FILE) $(EXPORTED_WITH) $(OPS_LIBRARIES) $(wildcard export/*.py export/*/*.py handler/*.py handler/*/*.py ops/*.py)
	$(PY) -m export $(CHECKPOINT) --name $(NAME) --out $(STORE) $(EXPORT_ARGS)
else
$(MAR):
	@echo 'error: $@ is missing; make it with: make mar CHECKPOINT=path NAME=$(NAME)'; exit 2
endif

serve: $(MAR) ## Start TorchServe on NAME (default: demo), wait until it answers, send it IMAGE
	@$(PY) -m server start $(MAR) --name $(NAME) $(if $(PORT),--port $(PORT))
	@$(MAKE) predict

stop: ## Stop that TorchServe
	@$(PY) -m server stop

predict: ## Send IMAGE="... ..." (pictures, folders), print the detections, write the pictures with masks (THRESHOLD=)
	@$(PY) -m server predict --name $(NAME) -- $(or $(IMAGE),$(error predict needs IMAGE="...": pictures or folders)) --out $(PREDICTIONS) $(if $(THRESHOLD),--threshold $(THRESHOLD))

ready: ## Whether all workers are up and a picture is answered (exit code 0)
	@$(PY) -m server ready --name $(NAME)

register: $(MAR) ## Export VERSION=..., add it to the running server, let it answer once it truly does (WORKERS=n)
	@$(PY) -m server register $(MAR) --name $(NAME) $(if $(WORKERS),--workers $(WORKERS))

versions: ## List the versions of NAME on the running server
	@$(PY) -m server versions --name $(NAME)

scale: ## Run WORKERS=n workers (VERSION=: of that one)
	@$(PY) -m server scale $(or $(WORKERS),$(error scale needs WORKERS=n)) --name $(NAME) $(if $(VERSION),--version $(VERSION))

rollback: ## Let VERSION=... answer again, which is still registered
	@$(PY) -m server rollback $(or $(VERSION),$(error rollback needs VERSION=...)) --name $(NAME)

unregister: ## Take VERSION=... away once it has answered all that it was asked
	@$(PY) -m server unregister $(or $(VERSION),$(error unregister needs VERSION=...)) --name $(NAME)

page: ## Open the page of NAME in a browser, with its token (PAGE_PORT=, NO_BROWSER=1)
	@$(PY) -m server.proxy --name $(NAME) $(if $(PAGE_PORT),--port $(PAGE_PORT)) $(if $(NO_BROWSER),--no-browser)

# Of Debian; where one is missing, CMake says which.
CPP_PACKAGES := cmake pkg-config libjpeg-dev libpng-dev libexif-dev libzip-dev nlohmann-json3-dev

cpp: $(INSTALLED) ## Build the C++ program of examples/cpp against the PyTorch of .venv: build/cpp/detect
	@command -v cmake >/dev/null || { echo "error: cpp needs cmake (Debian: $(CPP_PACKAGES))"; exit 2; }
	@cmake -S examples/cpp -B build/cpp -DTORCH_DIR="$(abspath $(TORCH_DIR))" >build/cpp.log 2>&1 \
	  || { cat build/cpp.log; echo "error: cpp needs $(CPP_PACKAGES)"; exit 2; }
	@cmake --build build/cpp --parallel $$(nproc)

# PYTEST_ARGS, for example -m slow or -k nms
test: $(INSTALLED) $(OPS_LIBRARIES) $(EMULATED_LIBRARY) $(FUZZ)/ops-replay ## Run the tests, a real TorchServe included (SLOW=1: the slow ones too)
	$(PY) -m pytest $(if $(SLOW),-m "") $(PYTEST_ARGS)
	@$(MAKE) test-emulated

test-emulated: $(INSTALLED) $(OPS_LIBRARY) $(EMULATED_LIBRARY) ## Run the op tests on the CUDA kernels, emulated on the CPU
	$(EMULATED_PROCESS) $(PY) -m pytest tests/ops $(PYTEST_ARGS)

# What is fuzzed where TARGET names nothing: the ops only where clang is, of which `make check` has no need.
FUZZ_TARGETS  = $(or $(TARGET),$(if $(shell command -v $(FUZZ_CLANG)),ops) pictures requests checkpoints lengths)
FUZZ_PY      ?= $(PY)

fuzz: $(INSTALLED) $(OPS_LIBRARY) ## Go on fuzzing: TARGET="ops pictures requests checkpoints lengths" SECONDS=600 (FUZZ_PY=: a Python with atheris)
	@$(if $(filter ops,$(FUZZ_TARGETS)),$(MAKE) $(FUZZ)/ops-fuzzer,$(if $(TARGET),:,echo "no clang++ here (Debian: clang, libclang-rt-14-dev): the ops are not fuzzed"))
	$(PY) -m tests.fuzz $(FUZZ_TARGETS) --seconds $(or $(SECONDS),600) --python $(FUZZ_PY)

fuzz-threads: $(INSTALLED) $(FUZZ)/ops-threads ## Run the ops on their fuzzing corpus with several threads, under ThreadSanitizer (clang)
	$(PY) -m tests.fuzz.replay $(FUZZ)/ops-threads $(INPUT)

fuzz-replay: $(INSTALLED) $(FUZZ)/ops-replay ## Run the ops on INPUT=file, or on their fuzzing corpus, under the sanitizers of CXX
	$(PY) -m tests.fuzz.replay $(FUZZ)/ops-replay $(INPUT)

check: $(INSTALLED) ## Format, lint, types, then all tests: what CI runs
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	@$(MAKE) test SLOW=1

# Several GB each, so by hand.
pytorch-versions: $(MAR) ## Prove the built ops and NAME's .mar under VERSIONS="2.11.0 2.15.0" of PyTorch (OUT=folder)
	@mkdir -p $(or $(OUT),build/pytorch)
	$(PY) -m tests.versions $(or $(VERSIONS),2.11.0 2.15.0) --archive $(MAR) --out $(or $(OUT),build/pytorch)/pytorch-versions.json

# SCENARIOS=traffic,kill and OUT=folder, too. 40 minutes are 20,000 requests and more, and goals of time then decide.
soak: $(MAR) ## Load, faults and hostile requests against a TorchServe of its own, each accounted for (MINUTES=40)
	$(PY) -m tests.soak --archive $(MAR) --minutes $(or $(MINUTES),40) --out $(or $(OUT),build/soak) $(if $(SCENARIOS),--scenarios $(SCENARIOS))

# Of `make bench` and `make bench-peer`: where figures and plots go.
BENCH_OUT   := $(or $(OUT),build/bench)

bench: $(MAR) ## Measure ops, R50-FPN by stage, replies and the served model (OUT=folder for figures and plots)
	@mkdir -p $(BENCH_OUT)
	$(PY) -m benchmarks.ops --out $(BENCH_OUT)/ops.json
	$(PY) -m benchmarks.cpu --out $(BENCH_OUT)/cpu.json
	$(PY) -m benchmarks.replies --out $(BENCH_OUT)/replies.json
	$(PY) -m benchmarks.served --archive $(MAR) --name $(NAME) --out $(BENCH_OUT)/served.json

bench-peer: $(STORE)/demo.mar ## The demo model beside TorchServe's own object_detector, where torchvision is (OUT=)
	$(PY) -m benchmarks.peer --archive $(STORE)/demo.mar --out $(BENCH_OUT)/peer.json

bench-ray: $(RAY_INSTALLED) $(STORE)/demo.mar ## The demo model behind Ray Serve: what it adds to a request, replicas (OUT=)
	$(PY) -m benchmarks.ray_serve --archive $(STORE)/demo.mar --out $(BENCH_OUT)/ray_serve.json

# PY=python3 where a GPU machine has a PyTorch of its own: no virtual environment is made then. Further: ONLY=steps,
# MINUTES=9, OUT=folder, WHEELS="folder ..." with packages that lack there, SERVE=1.
gpu-check: $(if $(filter $(VENV)/%,$(PY)),$(INSTALLED)) ## Build, test and measure on this machine's GPU (PY=python3: without .venv)
	$(PY) -m benchmarks.gpu_check $(or $(OUT),build/gpu-check) $(if $(ONLY),--only $(ONLY)) \
	  $(if $(MINUTES),--minutes $(MINUTES)) $(if $(WHEELS),--wheels $(WHEELS)) $(if $(SERVE),--serve)

clean: ## Remove what was built; .venv and model_store stay
	@if [ -x $(PY) ]; then $(PY) -m server stop; fi
	rm -rf build ops/lib

FORCE:
