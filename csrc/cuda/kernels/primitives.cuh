// The kernels' PTX and intrinsics: shuffles, conversions, and moves of 16-byte packs between memory
// and registers. The other files in this folder use only __frcp_rn and the barriers.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "../../op/formula.h"

namespace rmsnorm::cuda {

// 16 bytes, moved at once: 4 columns of float32 or 8 of a 16-bit type.
struct alignas(16) Pack {
  std::uint32_t words[4];
};
template <class T>
inline constexpr int kPackColumns = 16 / static_cast<int>(sizeof(T));

inline constexpr unsigned kFullWarp = 0xffffffffu;

__device__ inline float shuffle_xor(float value, int offset) {
  return __shfl_xor_sync(kFullWarp, value, offset);
}

__device__ inline std::uint32_t shuffle_xor(std::uint32_t value, int offset) {
  return __shfl_xor_sync(kFullWarp, value, offset);
}

// Whether `value` is true in any lane of the warp.
__device__ inline bool any_of_warp(bool value) { return __any_sync(kFullWarp, value) != 0; }

// The columns of a pack of T as floats: the value type that formula.h computes with here.
template <class T>
struct Columns {
  float values[kPackColumns<T>];
};

// Operations on two neighbouring columns, with one instruction from compute capability 10.0 on.
// Each column is rounded as if alone.
__device__ inline float2 multiply_two(float2 a, float2 b) {
#if __CUDA_ARCH__ >= 1000
  return __fmul2_rn(a, b);
#else
  return {a.x * b.x, a.y * b.y};
#endif
}
__device__ inline float2 add_two(float2 a, float2 b) {
#if __CUDA_ARCH__ >= 1000
  return __fadd2_rn(a, b);
#else
  return {a.x + b.x, a.y + b.y};
#endif
}
__device__ inline float2 fma_two(float2 a, float2 b, float2 c) {
#if __CUDA_ARCH__ >= 1000
  return __ffma2_rn(a, b, c);
#else
  return {__fmaf_rn(a.x, b.x, c.x), __fmaf_rn(a.y, b.y, c.y)};
#endif
}

// by_two() applies f to each pair of neighbouring columns of the operands. An operand may be one
// number for all columns.
template <class T>
__device__ inline float2 two_of(const Columns<T>& columns, int i) {
  return {columns.values[i], columns.values[i + 1]};
}
__device__ inline float2 two_of(float value, int) { return {value, value}; }
template <class T, class F, class... Operands>
__device__ inline Columns<T> by_two(const F& f, const Operands&... operands) {
  Columns<T> result;
#pragma unroll
  for (int i = 0; i < kPackColumns<T>; i += 2) {
    const float2 two = f(two_of(operands, i)...);
    result.values[i] = two.x;
    result.values[i + 1] = two.y;
  }
  return result;
}

// B is Columns<T> or float.
template <class T, class B>
__device__ inline Columns<T> operator*(const Columns<T>& a, const B& b) {
  return by_two<T>(multiply_two, a, b);
}
template <class T, class B>
__device__ inline Columns<T> operator+(const Columns<T>& a, const B& b) {
  return by_two<T>(add_two, a, b);
}
template <class T, class B>
__device__ inline Columns<T> fma(const Columns<T>& a, const B& b, const Columns<T>& c) {
  return by_two<T>(fma_two, a, b, c);
}

__device__ inline float2 unpack_two(std::uint32_t word, Float16) {
  return __half22float2(reinterpret_cast<const __half2&>(word));
}
__device__ inline float2 unpack_two(std::uint32_t word, BFloat16) {
  return {__uint_as_float(word << 16), __uint_as_float(word & 0xffff0000u)};
}
template <class T>
__device__ inline Columns<T> unpack(const Pack& pack) {
  Columns<T> columns;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (sizeof(T) == 4) {
      columns.values[i] = __uint_as_float(pack.words[i]);
    } else {
      const float2 two = unpack_two(pack.words[i], T{});
      columns.values[2 * i] = two.x;
      columns.values[2 * i + 1] = two.y;
    }
  }
  return columns;
}

// Two neighbouring columns rounded to nearest even, the first in the low half of the word.
__device__ inline std::uint32_t round_two(float low, float high, Float16) {
  const __half2 two = __floats2half2_rn(low, high);
  return reinterpret_cast<const std::uint32_t&>(two);
}
__device__ inline std::uint32_t round_two(float low, float high, BFloat16) {
  const __nv_bfloat162 two = __floats2bfloat162_rn(low, high);
  return reinterpret_cast<const std::uint32_t&>(two);
}
template <class T>
__device__ inline Pack pack(const Columns<T>& columns) {
  const float(&values)[kPackColumns<T>] = columns.values;
  Pack result;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (sizeof(T) == 4) {
      result.words[i] = __float_as_uint(values[i]);
    } else {
      result.words[i] = round_two(values[2 * i], values[2 * i + 1], T{});
    }
  }
  return result;
}

// T(a * b) of 16-bit numbers, two with one instruction. The contract (fold.h) rounds the product to
// float32 first. The bits are the same, because that rounding is exact except for very small
// bfloat16 products. Either way those round to zero, or to the same multiple of 2^-133
// (float16_test.cc).
__device__ inline std::uint32_t multiply_packed_two(std::uint32_t a, std::uint32_t b, Float16) {
  std::uint32_t product;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(product) : "r"(a), "r"(b));
  return product;
}
__device__ inline std::uint32_t multiply_packed_two(std::uint32_t a, std::uint32_t b, BFloat16) {
#if __CUDA_ARCH__ >= 800
  // Below 9.0 there is no bfloat16 multiplication instruction. fma with -0 gives the same bits,
  // also for zeros.
  std::uint32_t product;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(product) : "r"(a), "r"(b), "r"(0x80008000u));
  return product;
#else
  const float2 x = unpack_two(a, BFloat16{});
  const float2 y = unpack_two(b, BFloat16{});
  return round_two(x.x * y.x, x.y * y.y, BFloat16{});
#endif
}
template <class T>
__device__ inline Pack multiply_packed(Pack a, const Pack& b) {
#pragma unroll
  for (int i = 0; i < 4; ++i) a.words[i] = multiply_packed_two(a.words[i], b.words[i], T{});
  return a;
}

// Makes the compiler unpack the pack again after this point. A row of a 16-bit type, kept both
// packed and unpacked between two passes, would take three times the registers of the packed row.
__device__ inline void keep_packed(Pack& pack) {
#pragma unroll
  for (std::uint32_t& word : pack.words) asm("" : "+r"(word));
}

// Makes the compiler compute an address here, once, instead of in the branch of every use.
template <class T>
__device__ inline void keep_address(T*& address) {
  asm("" : "+l"(address));
}

// Makes the compiler keep a number, instead of computing it again from its inputs.
template <class Number>
__device__ inline void keep_number(Number& number) {
  asm volatile("" : "+r"(number));
}

// A compiler barrier: memory is read again after it, and no later read moves before it.
__device__ inline void forget_memory() { asm volatile("" ::: "memory"); }

// `round` of formula.h: T(value) in Llama's order; otherwise value.
template <class T>
struct Rounding {
  bool is_llama_order;

  __device__ Columns<T> operator()(Columns<T> values) const {
    if constexpr (sizeof(T) == 2) {
      if (is_llama_order) values = unpack<T>(pack(values));
    }
    return values;
  }
};

// Conversions of one column.
__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(Float16 value) {
  return __half2float(__ushort_as_half(value.bits));
}
__device__ inline float to_float(BFloat16 value) {
  return __uint_as_float(static_cast<std::uint32_t>(value.bits) << 16);
}
__device__ inline float from_float(float value, float) { return value; }
__device__ inline Float16 from_float(float value, Float16) {
  return {__half_as_ushort(__float2half_rn(value))};
}
__device__ inline BFloat16 from_float(float value, BFloat16) {
  return {__bfloat16_as_ushort(__float2bfloat16_rn(value))};
}

// The codes of four numbers (quantize.h), the first code in the lowest bits.
__device__ inline std::uint32_t int8_codes(const float* values) {
  std::uint32_t codes[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) asm("cvt.rni.s8.f32 %0, %1;" : "=r"(codes[i]) : "f"(values[i]));
  return __byte_perm(__byte_perm(codes[0], codes[1], 0x40), __byte_perm(codes[2], codes[3], 0x40),
                     0x5410);
}
#if __CUDA_ARCH__ >= 900
__device__ inline std::uint32_t e4m3_codes(const float* values) {
  std::uint16_t low;
  std::uint16_t high;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(low) : "f"(values[1]), "f"(values[0]));
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(high) : "f"(values[3]), "f"(values[2]));
  return low | static_cast<std::uint32_t>(high) << 16;
}
__device__ inline std::uint32_t e5m2_codes(const float* values) {
  std::uint16_t low;
  std::uint16_t high;
  asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(low) : "f"(values[1]), "f"(values[0]));
  asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(high) : "f"(values[3]), "f"(values[2]));
  return low | static_cast<std::uint32_t>(high) << 16;
}
#endif

// Load and store a pack in shared or global memory, on a 16-byte boundary.
__device__ inline Pack load_pack(const void* address) {
  const uint4 words = *static_cast<const uint4*>(address);
  return {{words.x, words.y, words.z, words.w}};
}
__device__ inline void store_shared_pack(void* address, const Pack& pack) {
  *static_cast<uint4*>(address) =
      make_uint4(pack.words[0], pack.words[1], pack.words[2], pack.words[3]);
}
// Written as PTX, because nvcc 13.0 sometimes splits a C++ store into four 4-byte stores. No thread
// reads the stored data again, so there is no memory clobber, which would cost registers.
__device__ inline void store_global_pack(void* address, const Pack& pack) {
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(address)),
               "r"(pack.words[0]), "r"(pack.words[1]), "r"(pack.words[2]), "r"(pack.words[3]));
}
// Stores of 4 or 8 bytes, as PTX for the same reasons.
__device__ inline void store_global_words(void* address, const std::uint32_t (&words)[1]) {
  asm volatile("st.global.b32 [%0], %1;" ::"l"(__cvta_generic_to_global(address)), "r"(words[0]));
}
__device__ inline void store_global_words(void* address, const std::uint32_t (&words)[2]) {
  asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(address)),
               "r"(words[0]), "r"(words[1]));
}

// An address in shared memory, as PTX instructions take it.
__device__ inline unsigned shared_address(const void* address) {
  return static_cast<unsigned>(__cvta_generic_to_shared(address));
}
__device__ inline Pack load_shared_pack(unsigned address) {
  Pack pack;
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(pack.words[0]), "=r"(pack.words[1]), "=r"(pack.words[2]), "=r"(pack.words[3])
               : "r"(address));
  return pack;
}

// Copies a pack from global to shared memory asynchronously, without a register in between. It
// needs compute capability 8.0 and does nothing below 8.0. The same thread may read the pack after
// await_copies(); other threads need a barrier as well.
__device__ inline void copy_to_shared(unsigned to, const void* from) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to),
               "l"(__cvta_generic_to_global(from))
               : "memory");
#endif
}
// Ends a group of copies, which may be empty.
__device__ inline void end_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Waits for all groups of copies except the last `later` groups. `later` is 0, 1, 3 or 7.
__device__ inline void await_copies(int later) {
#if __CUDA_ARCH__ >= 800
  if (later == 7) {
    asm volatile("cp.async.wait_group 7;" ::: "memory");
  } else if (later == 3) {
    asm volatile("cp.async.wait_group 3;" ::: "memory");
  } else if (later == 1) {
    asm volatile("cp.async.wait_group 1;" ::: "memory");
  } else {
    asm volatile("cp.async.wait_group 0;" ::: "memory");
  }
#endif
}

// Makes the L2 cache fetch the line at a global address.
__device__ inline void prefetch(const void* address) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(address)));
}

// Loads a pack of which only the first `bytes` bytes exist; the other bytes of the result are 0.
// `bytes` may be 16 or more (all exist), or not positive (none exists). Each access has `access`
// bytes: 2, 4, 8 or 16. The address and `bytes` are multiples of `access`.
template <class T, class Bytes>
__device__ inline Pack load_unaligned(const void* address, Bytes bytes, int access) {
  Pack pack{};
  if (access == 16) {
    if (bytes > 0) pack = load_pack(address);
  } else if (access == 8) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (8 * i >= bytes) break;
      const uint2 words = static_cast<const uint2*>(address)[i];
      pack.words[2 * i] = words.x;
      pack.words[2 * i + 1] = words.y;
    }
  } else if (sizeof(T) == 4 || access == 4) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (4 * i < bytes) pack.words[i] = static_cast<const std::uint32_t*>(address)[i];
    }
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (2 * i >= bytes) break;
      const std::uint32_t half = static_cast<const std::uint16_t*>(address)[i];
      pack.words[i / 2] |= half << 16 * (i % 2);
    }
  }
  return pack;
}

template <class T, class Bytes>
__device__ inline void store_unaligned(void* address, const Pack& pack, Bytes bytes, int access) {
  if (access == 16) {
    if (bytes > 0) store_global_pack(address, pack);
  } else if (access == 8) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (8 * i >= bytes) break;
      static_cast<uint2*>(address)[i] = make_uint2(pack.words[2 * i], pack.words[2 * i + 1]);
    }
  } else if (sizeof(T) == 4 || access == 4) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (4 * i < bytes) static_cast<std::uint32_t*>(address)[i] = pack.words[i];
    }
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (2 * i >= bytes) break;
      const std::uint32_t half = pack.words[i / 2] >> 16 * (i % 2);
      static_cast<std::uint16_t*>(address)[i] = static_cast<std::uint16_t>(half);
    }
  }
}

}  // namespace rmsnorm::cuda
