#include "join_layers.h"

#include <ATen/Context.h>
#include <torch/csrc/jit/ir/constants.h>

namespace {

namespace jit = torch::jit;
using c10::IValue;
using jit::Node;
using jit::Value;

struct Joined {            // what a layer can take in
  std::vector<Node*> nodes;  // those that follow it, in their order
  Value* added = nullptr;  // the second map of a sum
  bool relu = false;
};

bool is(const Node* node, const char* kind) { return node && node->kind() == c10::Symbol::fromQualString(kind); }

Node* only_user(const Node* node) {
  const auto& uses = node->output()->uses();
  return uses.size() == 1 ? uses[0].user : nullptr;
}

// The other term of a sum of two maps; null if it is none, or scales one.
Value* other_term(Node* sum, const Value* term) {
  if (!is(sum, "aten::add") || !sum->input(0)->type()->isSubtypeOf(*c10::TensorType::get())) return nullptr;
  const auto scale = jit::toIValue(sum->input(2));
  if (!scale || !scale->isInt() || scale->toInt() != 1) return nullptr;
  Value* const other = sum->input(sum->input(0) == term ? 1 : 0);
  return other == term || is(other->node(), "prim::Constant") ? nullptr : other;
}

// A sum, a ReLU, or both; nobody else may want what is between them.
Joined followers(Node* layer, bool may_add) {
  Node* const after = only_user(layer);
  if (!after) return {};
  if (is(after, "aten::relu")) return {{after}, nullptr, true};
  Value* const added = may_add ? other_term(after, layer->output()) : nullptr;
  if (!added) return {};
  Node* const then = only_user(after);
  if (is(then, "aten::relu")) return {{after, then}, added, true};
  return {{after}, added, false};
}

Value* no_numbers(jit::Graph& graph) {  // an empty Scalar?[]
  Node* const node = graph.insertNode(graph.create(c10::prim::ListConstruct, 1));
  node->output()->setType(c10::ListType::create(c10::OptionalType::create(c10::NumberType::get())));
  return node->output();
}

// Weights are float32 constants: oneDNN has every such convolution that is not transposed.
bool is_plain_convolution(Node* node) {
  if (!is(node, "aten::_convolution")) return false;
  const auto weight = jit::toIValue(node->input(1)), transposed = jit::toIValue(node->input(6));
  return weight && weight->toTensor().scalar_type() == at::kFloat && transposed && !transposed->toBool();
}

bool is_product(Node* node) {
  return is(node, "aten::linear") && jit::toIValue(node->input(1)) && jit::toIValue(node->input(2));
}

void add_activation(std::vector<Value*>& inputs, jit::Graph& graph, const Joined& joined) {
  inputs.insert(inputs.end(), {graph.insertConstant(joined.relu ? "relu" : "none"), no_numbers(graph),
                               graph.insertConstant(IValue())});
}

std::vector<Value*> convolution_inputs(jit::Graph& graph, Node* layer, const Joined& joined) {
  std::vector<Value*> inputs{layer->input(0)};
  if (joined.added) inputs.push_back(joined.added);
  for (const size_t place : {1, 2, 4, 3, 5, 8})  // weight, bias, padding, stride, dilation, groups
    inputs.push_back(layer->input(place));
  if (joined.added) {
    inputs.push_back(graph.insertConstant("add"));
    inputs.push_back(graph.insertConstant(1.0));
    inputs.push_back(graph.insertConstant(joined.relu ? IValue("relu") : IValue()));
    inputs.insert(inputs.end(), {no_numbers(graph), graph.insertConstant(IValue())});
    return inputs;
  }
  add_activation(inputs, graph, joined);
  return inputs;
}

std::vector<Value*> product_inputs(jit::Graph& graph, Node* layer, const Joined& joined) {
  std::vector<Value*> inputs = layer->inputs().vec();
  add_activation(inputs, graph, joined);
  return inputs;
}

void join(jit::Graph& graph, Node* layer) {
  const bool convolves = is(layer, "aten::_convolution");
  const Joined joined = followers(layer, convolves);
  Node* const last = joined.nodes.empty() ? layer : joined.nodes.back();
  const jit::WithInsertPoint here(last);
  const auto inputs = convolves ? convolution_inputs(graph, layer, joined) : product_inputs(graph, layer, joined);
  const auto kind = c10::Symbol::fromQualString(convolves ? "mkldnn::_convolution_pointwise" : "mkldnn::_linear_pointwise");
  Node* const made = graph.insertNode(graph.create(kind, inputs, 1));
  made->output()->setType(last->output()->type());
  last->output()->replaceAllUsesWith(made->output());
  for (auto node = joined.nodes.rbegin(); node != joined.nodes.rend(); ++node) (*node)->destroy();
  layer->destroy();
}

}  // namespace

void join_layers(torch::jit::Graph& graph) {
  if (!at::globalContext().hasMKLDNN()) return;
  std::vector<Node*> layers;
  for (Node* node : graph.nodes())
    if (is_plain_convolution(node) || is_product(node)) layers.push_back(node);
  for (Node* layer : layers) join(graph, layer);
}
