# The ops as programs that take an input, three times: for libFuzzer (clang), for its findings and its corpus on any
# machine, and for several threads under ThreadSanitizer (clang), with threads in the place of PyTorch's OpenMP, which no
# sanitizer follows. PyTorch's libraries themselves are not instrumented; what they allocate for the ops is watched.
CLANGS        := clang++ $(addprefix clang++-,22 21 20 19 18 17 16 15 14)
FUZZ_CLANG    ?= $(or $(firstword $(foreach each,$(CLANGS),$(wildcard $(addsuffix /$(each),$(subst :, ,$(PATH)))))),clang++)
FUZZ          := build/fuzz
FUZZ_SOURCES  := $(wildcard ops/csrc/cpu/*.cpp) \
                 $(addprefix tests/fuzz/ops/,call.cpp boxes.cpp features.cpp masks.cpp pictures.cpp fuzz.cpp)
FUZZ_CXXFLAGS  = $(OPS_CXXFLAGS) -O1 -g1 -fno-omit-frame-pointer -U_FORTIFY_SOURCE -isystem "$(TORCH_DIR)/include" -MMD
FUZZ_LDFLAGS   = -L"$(TORCH_DIR)/lib" -Wl,-rpath,"$(TORCH_DIR)/lib" -ltorch_cpu -lc10
UBSAN         := undefined -fno-sanitize=vptr -fno-sanitize-recover=all

# $(1): program, $(2): its compiler, $(3): flags, $(4): the other sources
define FUZZ_PROGRAM
$(1)_OBJECTS := $$(patsubst %.cpp,$$(FUZZ)/$(1).o/%.o,$$(FUZZ_SOURCES) $(4))
$$(FUZZ)/$(1): $$($(1)_OBJECTS)
	@echo "link    $$@"
	@$(2) $(3) $$^ -o $$@ $$(FUZZ_LDFLAGS)
$$(FUZZ)/$(1).o/%.o: %.cpp ops/build.mk tests/fuzz/build.mk $$(INSTALLED)
	@command -v $(2) >/dev/null || { echo "error: $(2) is missing, which compiles $$(FUZZ)/$(1) (Debian: clang, libclang-rt-14-dev)"; exit 2; }
	@mkdir -p $$(@D)
	@echo "compile $$< for $(1)"
	@$(2) $$(filter-out $(5),$$(FUZZ_CXXFLAGS)) $(3) -c $$< -o $$@
-include $$($(1)_OBJECTS:.o=.d)
endef

$(eval $(call FUZZ_PROGRAM,ops-fuzzer,$$(FUZZ_CLANG),-fsanitize=fuzzer$(comma)address$(comma)$(UBSAN),,-fno-loop-unroll-and-jam))
$(eval $(call FUZZ_PROGRAM,ops-threads,$$(FUZZ_CLANG),-fsanitize=thread,tests/fuzz/ops/threads.cpp tests/fuzz/ops/replay.cpp,-fno-loop-unroll-and-jam))
$(eval $(call FUZZ_PROGRAM,ops-replay,$$(CXX),-fsanitize=address$(comma)$(UBSAN),tests/fuzz/ops/replay.cpp,))

# Whether such a clang is here, with the libraries that its programs need: Debian has them in packages of their own.
.PHONY: fuzz-clang
fuzz-clang:
	@mkdir -p $(FUZZ)
	@echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' \
	  | $(FUZZ_CLANG) -fsanitize=fuzzer$(comma)address$(comma)undefined -x c++ - -o $(FUZZ)/fuzz-clang 2>/dev/null
