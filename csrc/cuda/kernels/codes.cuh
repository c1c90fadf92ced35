// Rows of y as codes of 8 bits (quantize.h): the scale of a row, and the codes of packs of columns.
#pragma once

#include "../../op/quantize.h"
#include "row.cuh"
#include "row_division.h"

namespace rmsnorm::cuda {

// y of one pack as it is quantised: before its cast, or, in Llama's order, after it.
template <class T, class W>
__device__ inline Columns<T> quantized_y(const Pack& x, float rstd, const WeightPack<T, W>& weight,
                                         const RowParams& params) {
  const Rounding<T> round{params.is_llama_order};
  return round(y_of(xhat_of(unpack<T>(x), rstd), w_of(weight, params), round));
}

// The larger of `largest` and the magnitudes of one pack, as bits, of the columns that exist: those
// that do not may be 0 * infinity.
template <class T, Access kAccess, class Column>
__device__ inline void find_largest(const Columns<T>& y, Column column, const RowParams& params,
                                    std::uint32_t& largest) {
  const Column columns = columns_from(column, params);
  if (columns <= 0) return;
#pragma unroll
  for (int i = 0; i < kPackColumns<T>; ++i) {
    if (kAccess == Access::kPacks || i < columns) {
      largest = max(largest, magnitude_bits(y.values[i]));
    }
  }
}

__device__ inline std::uint32_t shuffle_xor(std::uint32_t value, int offset) {
  return __shfl_xor_sync(kFullWarp, value, offset);
}

// The largest of `threads` neighbours, a power of two, to all of them. All threads of the block
// call it. More than a warp need `shared`, a word a warp, and meet at two barriers, before and
// after they write there.
__device__ inline std::uint32_t largest_of(std::uint32_t largest, int threads,
                                           std::uint32_t* shared) {
  const int lanes = min(threads, kWarpLanes);
  for (int s = lanes / 2; s >= 1; s /= 2) largest = max(largest, shuffle_xor(largest, s));
  if (threads <= kWarpLanes) return largest;
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  __syncthreads();
  if (lane == 0) shared[threadIdx.x / kWarpLanes] = largest;
  __syncthreads();
  largest = lane < threads / kWarpLanes ? shared[lane] : 0;
#pragma unroll
  for (int s = kWarpLanes / 2; s >= 1; s /= 2) largest = max(largest, shuffle_xor(largest, s));
  return largest;
}

// The codes of one pack of columns, the first in the lowest bits: 4 of float32, 8 of 16 bits.
template <class T>
struct CodePack {
  std::uint32_t words[kPackColumns<T> / 4];
};

// Four codes of int8, rounded to nearest even and clamped; of NaN 0.
__device__ inline std::uint32_t int8_codes(const float* values) {
  std::uint32_t codes[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) asm("cvt.rni.s8.f32 %0, %1;" : "=r"(codes[i]) : "f"(values[i]));
  const std::uint32_t low = __byte_perm(codes[0], codes[1], 0x0040);
  return __byte_perm(low, __byte_perm(codes[2], codes[3], 0x0040), 0x5410);
}

// Four codes of one of the two formats of float8.
__device__ inline std::uint32_t float8_codes(DType codes, const float* values) {
#if __CUDA_ARCH__ >= 900
  std::uint16_t low;
  std::uint16_t high;
  if (codes == DType::kFloat8E4M3) {
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(low) : "f"(values[1]), "f"(values[0]));
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(high) : "f"(values[3]), "f"(values[2]));
  } else {
    asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(low) : "f"(values[1]), "f"(values[0]));
    asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(high) : "f"(values[3]), "f"(values[2]));
  }
  return low | static_cast<std::uint32_t>(high) << 16;
#else
  const bool is_e4m3 = codes == DType::kFloat8E4M3;
  const int dropped = is_e4m3 ? 20 : 21;
  const std::uint32_t largest = magnitude_bits(largest_code(codes));
  const std::uint32_t smallest = static_cast<std::uint32_t>(is_e4m3 ? 127 - 6 : 127 - 14) << 23;
  std::uint32_t result = 0;
#pragma unroll
  for (int i = 3; i >= 0; --i) {
    const std::uint32_t bits = magnitude_bits(values[i]);
    const std::uint32_t magnitude = min(bits, largest);
    const std::uint32_t power = max(magnitude & 0x7f800000u, smallest);
    const std::uint32_t one = power + (static_cast<std::uint32_t>(dropped) << 23);
    const std::uint32_t sum = __float_as_uint(__uint_as_float(magnitude) + __uint_as_float(one));
    std::uint32_t code = sum - one + ((power - smallest) >> dropped);
    code |= __float_as_uint(values[i]) >> 24 & 0x80u;
    if (bits > 0x7f800000u) code = kFloat8NaN;
    result = result << 8 | code;
  }
  return result;
#endif
}

// Whether rows have scales of their own.
__device__ inline bool has_own_scales(const Quantization& quantization) {
  return quantization.scale == 0.0f;
}

// How y of a row becomes codes.
class Quantizer {
 public:
  // By the scale of all rows, until the row's own is set.
  __device__ explicit Quantizer(const Quantization& quantization) : codes_(quantization.codes) {
    division_.inverse = __frcp_rn(quantization.scale);
  }

  // `largest`: the bits of the largest magnitude that the scale comes from.
  __device__ void set_scale(float scale, std::uint32_t largest) {
    is_own_ = true;
    division_ = row_division(scale, largest);
  }

  template <class T>
  __device__ CodePack<T> codes(Columns<T> y) const {
    if (is_own_) {
      if (!division_.is_ready) {
#pragma unroll
        for (float& value : y.values) value = made_ready(value, division_);
      }
      y = quotient(y, division_);
    } else {
      y = y * division_.inverse;
    }
    CodePack<T> pack;
#pragma unroll
    for (int i = 0; i < kPackColumns<T> / 4; ++i) {
      const float* const four = y.values + 4 * i;
      pack.words[i] = codes_ == DType::kInt8 ? int8_codes(four) : float8_codes(codes_, four);
    }
    return pack;
  }

 private:
  DType codes_;
  bool is_own_ = false;
  RowDivision division_{};
};

// All codes of a pack by one store, as store_global_pack.
__device__ inline void store_global_codes(std::uint8_t* address, const CodePack<float>& pack) {
  asm volatile("st.global.b32 [%0], %1;" ::"l"(__cvta_generic_to_global(address)),
               "r"(pack.words[0]));
}
template <class T>
__device__ inline void store_global_codes(std::uint8_t* address, const CodePack<T>& pack) {
  asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(address)),
               "r"(pack.words[0]), "r"(pack.words[1]));
}

// By the widest stores of 8, 4 and 1 codes that the alignment of all rows allows.
template <class T, Access kAccess, class Column>
__device__ inline void store_codes(std::uint8_t* y_row, Column column, const CodePack<T>& pack,
                                   const RowParams& params) {
  const Column columns = columns_from(column, params);
  std::uint8_t* const address = y_row + column;
  if (kAccess == Access::kPacks || params.access_bytes == 16) {
    if (columns > 0) store_global_codes(address, pack);
  } else if constexpr (kAccess == Access::kParts) {
    const bool are_words = params.access_bytes == 4 * static_cast<int>(sizeof(T));
#pragma unroll
    for (int i = 0; i < kPackColumns<T>; ++i) {
      const std::uint32_t rest = pack.words[i / 4] >> 8 * (i % 4);
      if (i >= columns) break;
      if (!are_words) {
        address[i] = static_cast<std::uint8_t>(rest);
      } else if (i % 4 == 0) {
        *reinterpret_cast<std::uint32_t*>(address + i) = rest;
      }
    }
  }
}

}  // namespace rmsnorm::cuda
