# Builds ops/lib/libmaskrcnn_ops.so from csrc/*.cpp and csrc/cpu/*.cpp against the stable ABI of PyTorch, and where
# nvcc is, ops/lib/libmaskrcnn_ops_cuda.so from csrc/cuda/*.cu.
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

# The CUDA kernels, for the architectures given and, as PTX, for later ones. A CPU build of PyTorch has no
# libtorch_cuda.so: an empty one of that name serves the linker, and a GPU machine's own serves the loader.
NVCC               ?= nvcc
CUDA_ARCHITECTURES ?= 75 80 86 89 90
CUDA_LIBRARY       := ops/lib/libmaskrcnn_ops_cuda.so
CUDA_SOURCES       := $(wildcard ops/csrc/cuda/*.cu)
CUDA_OBJECTS       := $(CUDA_SOURCES:ops/csrc/%.cu=$(OBJECTS)/%.o)
HAS_NVCC           := $(shell command -v $(NVCC) 2>/dev/null)
OPS_LIBRARIES      := $(OPS_LIBRARY) $(if $(HAS_NVCC),$(CUDA_LIBRARY))
NVCCFLAGS           = -std=c++20 -O3 -fmad=false --expt-relaxed-constexpr --threads 0 -Wno-deprecated-gpu-targets \
                      $(foreach arch,$(CUDA_ARCHITECTURES),-gencode arch=compute_$(arch),code=sm_$(arch)) \
                      -gencode arch=compute_$(lastword $(CUDA_ARCHITECTURES)),code=compute_$(lastword $(CUDA_ARCHITECTURES)) \
                      -DUSE_CUDA -DTORCH_TARGET_VERSION=0x020b000000000000 $(if $(CI),-Werror all-warnings) \
                      -Xcompiler -fPIC,-fvisibility=hidden,-ffp-contract=off,-Wall,-Wextra \
                      -Xcompiler -ffile-prefix-map="$(CURDIR)"=. -Xcompiler -ffile-prefix-map="$(TORCH_DIR)"=torch \
                      -Xcompiler -ffile-prefix-map="$$(realpath "$(TORCH_DIR)")"=torch

$(CUDA_LIBRARY): $(CUDA_OBJECTS) $(OBJECTS)/stub/libtorch_cuda.so
	@mkdir -p $(@D)
	@echo "link    $@"
	@$(NVCC) -shared -nodlink -Wno-deprecated-gpu-targets -ccbin $(CXX) $(CUDA_OBJECTS) -o $@ -Xlinker -s,--no-as-needed \
	  -L$(OBJECTS)/stub -L"$(TORCH_DIR)/lib" -ltorch_cpu -ltorch_cuda

$(OBJECTS)/stub/libtorch_cuda.so:
	@mkdir -p $(@D)
	@$(CXX) -shared -Wl,-soname,libtorch_cuda.so -o $@ -xc++ /dev/null

$(OBJECTS)/cuda/%.o: ops/csrc/cuda/%.cu ops/build.mk $(INSTALLED)
	@mkdir -p $(@D)
	@echo "compile $< for $(CUDA_ARCHITECTURES)"
	@$(NVCC) $(NVCCFLAGS) -ccbin $(CXX) -isystem "$(TORCH_DIR)/include" -MMD -MF $(@:.o=.d) -c $< -o $@

-include $(CUDA_OBJECTS:.o=.d)

# The same kernels on the CPU, for the tests: compiled as C++ against a header that stands in for CUDA's. The
# sanitizer ends the process at a misaligned vector access, an overflow or a bad shift; SANITIZE=address,undefined also
# at an access past a tensor. Then the sanitizer must be the process's first library, and coroutines have stacks that
# it does not know.
SANITIZE         ?= undefined
EMULATOR         := tests/ops/emulated_cuda
comma            := ,
EMULATED         := build/emulated-$(subst $(comma),-,$(SANITIZE))
EMULATED_LIBRARY := $(EMULATED)/libmaskrcnn_ops_emulated.so
EMULATED_OBJECTS := $(CUDA_SOURCES:ops/csrc/cuda/%.cu=$(EMULATED)/%.o) $(EMULATED)/emulator.o
EMULATED_CXXFLAGS = $(OPS_CXXFLAGS) -O1 -DUSE_CUDA -U_FORTIFY_SOURCE -fsanitize=$(SANITIZE) -fno-sanitize=vptr \
                    -fno-sanitize-recover --param asan-stack=0 -I$(EMULATOR) -isystem "$(TORCH_DIR)/include"
EMULATED_PROCESS  = EMULATED_CUDA=$(EMULATED_LIBRARY) $(if $(findstring address,$(SANITIZE)), \
                    ASAN_OPTIONS=detect_leaks=0:alloc_dealloc_mismatch=0 \
                    LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so) \
                    $$($(CXX) -print-file-name=libstdc++.so)")

$(EMULATED_LIBRARY): $(EMULATED_OBJECTS)
	@echo "link    $@"
	@$(CXX) -shared $^ -o $@ -L"$(TORCH_DIR)/lib" -Wl,--no-undefined,-Bsymbolic -fsanitize=$(SANITIZE) -ltorch_cpu

$(EMULATED)/%.o: ops/csrc/cuda/%.cu ops/build.mk $(INSTALLED)
	@mkdir -p $(@D)
	@echo "compile $< for the emulator"
	@$(CXX) $(EMULATED_CXXFLAGS) -MMD -c -x c++ $< -o $@

$(EMULATED)/%.o: $(EMULATOR)/%.cpp ops/build.mk $(INSTALLED)
	@mkdir -p $(@D)
	@$(CXX) $(EMULATED_CXXFLAGS) -MMD -c $< -o $@

-include $(EMULATED_OBJECTS:.o=.d)
