// Registers what says CUDA for the CPU, in place of the CPU's own kernels: emulated kernels get CPU tensors.
#pragma once
#include_next <torch/csrc/stable/library.h>

#undef STABLE_TORCH_LIBRARY_IMPL
#define STABLE_TORCH_LIBRARY_IMPL(library, device, ops) _STABLE_TORCH_LIBRARY_IMPL(library, CPU, ops, C10_UID)
