// The row arithmetic of the SIMD variants, written once for the Vec of every instruction set
// (simd.h). It provides the functions of a Variant (variant.h). variant_scalar.cc is the readable
// reference implementation of the same arithmetic.
#pragma once

#include "backward_rows.h"
#include "dweight_rows.h"
#include "residual_rows.h"

namespace rmsnorm::cpu {
namespace {

void convert(DType from, const void* source, DType to, void* destination, std::int64_t count) {
  with_dtype(from, [&](auto from_tag) {
    using From = typename decltype(from_tag)::Type;
    with_dtype(to, [&](auto to_tag) {
      using To = typename decltype(to_tag)::Type;
      const auto step = [](const From* in, To* out) {
        VecPair value = load_pair<From>(in);
        if constexpr (kInterleaved<From> && !kInterleaved<To>) value = deinterleave(value);
        if constexpr (kInterleaved<To> && !kInterleaved<From>) value = interleave(value);
        store_pair<To, Floats::kAny>(out, value);
      };
      const From* in = static_cast<const From*>(source);
      To* out = static_cast<To*>(destination);
      std::int64_t i = 0;
      for (; i + kPairColumns <= count; i += kPairColumns) step(in + i, out + i);
      if (const std::int64_t rest = count - i; rest > 0) {
        From tail[kPairColumns] = {};
        To converted[kPairColumns];
        for (std::int64_t j = 0; j < rest; ++j) tail[j] = in[i + j];
        step(tail, converted);
        for (std::int64_t j = 0; j < rest; ++j) out[i + j] = converted[j];
      }
    });
  });
}

}  // namespace
}  // namespace rmsnorm::cpu
