// Calls the ops as PyTorch's dispatcher does: arguments on a stack of the stable ABI, in the order of the schema.
// The kernels are caught as they are registered, so that an exception arrives here with its own text.
#pragma once
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/stableivalue_conversions.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tensors.h"

namespace fuzz {

using Kernel = void (*)(StableIValue* stack, uint64_t arguments, uint64_t results);
Kernel kernel_of(const char* op);

// Of each op that is registered, how many calls it did not refuse.
std::map<std::string, int64_t>& accepted();

// Why an op refused; empty where it did not.
struct Outcome {
  std::vector<Tensor> results;
  std::string refusal;

  bool refused() const { return !refusal.empty(); }
};

Outcome call_boxed(const char* op, std::vector<StableIValue> stack, size_t results);

template <class... Arguments>
Outcome call(const char* op, size_t results, const Arguments&... arguments) {
  return call_boxed(op, {torch::stable::detail::from<Arguments>(arguments)...}, results);
}

// Ends the process, which is a finding, unless the contract holds.
void must(bool holds, const char* op, const char* what);

}  // namespace fuzz
