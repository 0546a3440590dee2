// The bytes of one input, taken from the front; past their end all are 0.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

namespace fuzz {

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), left_(size) {}

  bool empty() const { return left_ == 0; }

  uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }

  template <class T>
  T raw() {
    uint8_t bytes[sizeof(T)];
    for (uint8_t& each : bytes) each = byte();
    T value;
    std::memcpy(&value, bytes, sizeof(T));
    return value;
  }

  bool flag() { return byte() & 1; }
  int64_t below(int64_t count) { return byte() % count; }

  // True for one byte in sixteen: what goes wrong must not keep all else from going on.
  bool seldom() { return byte() >= 0xf0; }

  // A size of a tensor: nearly always small, seldom so large that no memory holds it.
  int64_t size() {
    const uint8_t code = byte();
    if (code < 0xe8) return code % 9;
    if (code < 0xff) return (code - 0xe7) * 3;
    constexpr int64_t kLarge[] = {255, 1023, 4097, 65535, 65536, 16777217, INT64_C(1) << 31, INT64_C(1) << 40};
    return kLarge[byte() % 8];
  }

  // Any integer, those at the ends of the types more often.
  int64_t integer() {
    constexpr int64_t kEnds[] = {0,
                                 -1,
                                 65535,
                                 65536,
                                 16777216,
                                 16777217,
                                 INT64_C(1) << 31,
                                 -(INT64_C(1) << 31),
                                 INT64_C(1) << 32,
                                 INT64_C(1) << 62,
                                 INT64_MAX,
                                 INT64_MIN,
                                 INT64_MAX - 1,
                                 -2,
                                 32767,
                                 32768};
    const uint8_t code = byte();
    if (code < 0xc0) return code % 64;
    if (code < 0xe0) return raw<int16_t>();
    if (code < 0xf8) return kEnds[code % 16];
    return raw<int64_t>();
  }

  double number() {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    constexpr double kSpecial[] = {
        0,     -0.0, 1,     -1,     0.5,   kInfinity, -kInfinity, std::numeric_limits<double>::quiet_NaN(),
        1e-45, 1e38, -1e38, 3.5e38, 1e300, -1e300,    5e-324,     16777216};
    const uint8_t code = byte();
    if (code < 0x80) return code / 64.0;
    if (code < 0xe0) return kSpecial[code % 16];
    if (code < 0xf0) return raw<int16_t>() / 8.0;
    return raw<double>();
  }

 private:
  const uint8_t* data_;
  size_t left_;
};

}  // namespace fuzz
