// The layers of a frozen graph joined with what follows them, as oneDNN computes them on the CPU.
#pragma once
#include <torch/csrc/jit/ir/ir.h>

// Replaces convolutions and matrix products with the sum and the ReLU behind them; see handler/onednn.py, which says
// why. Before the graph's method is called for the first time.
void join_layers(torch::jit::Graph& graph);
