// The readable reference implementation of the numerics contract (fold.h), one column at a time. It
// runs on processors without the SIMD instructions that the other variants need. The tests compare
// the other variants with it.

#include "../kernels/reference_rows.h"

namespace rmsnorm::cpu {
namespace {

void forward(const ForwardArgs& args, Range rows, Stores, const void*) {
  if (args.dtype == DType::kFloat64) return reference::forward<double, false>(args, rows);
  with_order(args.dtype, args.options.cast_order, [&](auto x, auto llama) {
    reference::forward<typename decltype(x)::Type, llama.value>(args, rows);
  });
}

void backward(const BackwardArgs& args, Range rows, Stores, const void*, void* partial) {
  if (args.dtype == DType::kFloat64) return reference::backward<double, false>(args, rows, partial);
  with_order(args.dtype, args.options.cast_order, [&](auto x, auto llama) {
    reference::backward<typename decltype(x)::Type, llama.value>(args, rows, partial);
  });
}

void reduce_dweight(const BackwardArgs& args, const void* partials, std::int64_t count,
                    Range range) {
  if (args.dtype == DType::kFloat64) {
    return reference::reduce_dweight<double>(args, partials, count, range);
  }
  with_dtype(args.dweight_dtype, [&](auto tag) {
    reference::reduce_dweight<typename decltype(tag)::Type>(args, partials, count, range);
  });
}

void convert(DType from, const void* source, DType to, void* destination, std::int64_t count) {
  with_dtype(from, [&](auto from_tag) {
    using From = typename decltype(from_tag)::Type;
    with_dtype(to, [&](auto to_tag) {
      using To = typename decltype(to_tag)::Type;
      for (std::int64_t i = 0; i < count; ++i) {
        const float value = to_float(static_cast<const From*>(source)[i]);
        static_cast<To*>(destination)[i] = from_float<To>(value);
      }
    });
  });
}

}  // namespace

const Variant kScalar{
    "scalar",       0,      nullptr, nullptr, forward, backward, reference::add_partial,
    reduce_dweight, convert};

}  // namespace rmsnorm::cpu
