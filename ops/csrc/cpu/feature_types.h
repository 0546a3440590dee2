// float16 and bfloat16 as bits, with conversions that compilers vectorise at every instruction set: GCC 12 turns
// _Float16 into one library call an element. Both directions are exact or round to nearest even.
#pragma once
#include <bit>
#include <cstdint>

namespace maskrcnn {

struct Float16 {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

inline float to_float(float value) { return value; }

inline float to_float(BFloat16 value) { return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16); }

// Subnormals become normal by arithmetic with 2^-14, so that a denormals-are-zero mode does not eat them.
inline float to_float(Float16 value) {
  const uint32_t magnitude = (value.bits & 0x7fffu) << 13, sign = (value.bits & 0x8000u) << 16;
  const uint32_t rebiased = magnitude + (112u << 23);
  const uint32_t infinite = magnitude + (224u << 23);
  const float tiny = std::bit_cast<float>(magnitude + (113u << 23)) - 0x1p-14f;
  uint32_t bits = magnitude >= (31u << 23) ? infinite : rebiased;
  bits = magnitude < (1u << 23) ? std::bit_cast<uint32_t>(tiny) : bits;
  return std::bit_cast<float>(bits | sign);
}

template <class Feature>
Feature from_float(float value);

template <>
inline float from_float<float>(float value) {
  return value;
}

template <>
inline BFloat16 from_float<BFloat16>(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), magnitude = bits & 0x7fffffffu;
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1)) >> 16;
  const uint32_t quiet_nan = (bits >> 16) | 0x40u;
  return {static_cast<uint16_t>(magnitude > 0x7f800000u ? quiet_nan : rounded)};
}

// The addition of 0.5 rounds a subnormal: its last bit has the weight of float16's smallest number.
template <>
inline Float16 from_float<Float16>(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), magnitude = bits & 0x7fffffffu, sign = (bits >> 16) & 0x8000u;
  const uint32_t rounded = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1)) >> 13;
  const uint32_t tiny = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - std::bit_cast<uint32_t>(0.5f);
  uint32_t half = magnitude < (113u << 23) ? tiny : rounded;
  half = magnitude >= (143u << 23) ? 0x7c00u : half;  // 65536 and above; 65520 rounds up to it by itself
  half = magnitude > 0x7f800000u ? 0x7e00u : half;
  return {static_cast<uint16_t>(half | sign)};
}

}  // namespace maskrcnn
