// The row arithmetic of the SIMD variants, written once against Vec: what a variant is made of
// (variant.h). variant_scalar.cc says plainly what it computes.
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
        if constexpr (__is_same(To, float)) {
          store_floats<kInterleaved<From>>(out, load_pair<From>(in));
        } else if constexpr (__is_same(From, float)) {
          store_pair<To, Floats::kAny>(out, load_floats<kInterleaved<To>>(in));
        } else {
          float wide[kPairColumns];
          store_floats<kInterleaved<From>>(wide, load_pair<From>(in));
          store_pair<To, Floats::kAny>(out, load_floats<kInterleaved<To>>(wide));
        }
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
