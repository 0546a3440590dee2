# Builds ops/lib/libmaskrcnn_ops.so from csrc/*.cpp and csrc/cpu/*.cpp against the stable ABI of PyTorch.
# TORCH_DIR may name another PyTorch's folder; the library then still runs with every PyTorch from 2.11 on.
TORCH_DIR    ?= $(shell $(PY) -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])")
OPS_LIBRARY  := ops/lib/libmaskrcnn_ops.so
OPS_SOURCES  := $(wildcard ops/csrc/*.cpp ops/csrc/cpu/*.cpp)
OBJECTS      ?= build/ops
OPS_OBJECTS  := $(OPS_SOURCES:ops/csrc/%.cpp=$(OBJECTS)/%.o)
# -ffp-contract=off: the CPU and CUDA must round alike; fma is written where it is wanted.
# -ffile-prefix-map: no path of the machine that built it may end in an artefact, wherever .venv lies or leads to.
# -fno-math-errno, -fno-trapping-math: nobody reads errno or the exception flags; they keep loops scalar.
# -fno-loop-unroll-and-jam: GCC 12 jams the taps of a pooled bin and then leaves its channels scalar, 4 times slower.
# -Werror in CI only: a compiler newer than ours may warn of more, and must still build.
# Not :=, because there may be no PyTorch yet when this is read; quoted for the shell, because a path may hold spaces.
OPS_CXXFLAGS  = -std=c++20 -O3 -fPIC -fvisibility=hidden -ffp-contract=off -fno-math-errno -fno-trapping-math \
                -fno-loop-unroll-and-jam -DTORCH_TARGET_VERSION=0x020b000000000000 -Wall -Wextra $(if $(CI),-Werror) \
                -ffile-prefix-map="$(CURDIR)"=. -ffile-prefix-map="$(TORCH_DIR)"=torch \
                -ffile-prefix-map="$$(realpath "$(TORCH_DIR)")"=torch

$(OPS_LIBRARY): $(OPS_OBJECTS)
	@mkdir -p $(@D)
	@echo "link    $@"
	@$(CXX) -shared -s $^ -o $@ -L"$(TORCH_DIR)/lib" -Wl,--no-undefined -ltorch_cpu

$(OBJECTS)/%.o: ops/csrc/%.cpp ops/build.mk $(INSTALLED)
	@mkdir -p $(@D)
	@echo "compile $<"
	@$(CXX) $(OPS_CXXFLAGS) -isystem "$(TORCH_DIR)/include" -MMD -c $< -o $@

-include $(OPS_OBJECTS:.o=.d)
