// dweight from partial sums (backward_columns.h). Included by row_kernels.h.

void add_partial(DType dtype, void* sum, const void* partial, std::int64_t count) {
  if (dtype == DType::kFloat64) {
    plain::add_partial(static_cast<double*>(sum), static_cast<const double*>(partial), count);
  } else {
    plain::add_partial(static_cast<float*>(sum), static_cast<const float*>(partial), count);
  }
}

// The neighbour-first tree over one Pair of columns of `count` >= 1 rows of partial sums. Sums of
// 2^k neighbours wait on a stack for the next 2^k, as the digits of a binary counter do; what waits
// at the end is added from the fewest to the most, which is what an odd one passing through comes
// to.
RMSNORM_INLINE Pair tree_sum(const float* partials, std::int64_t count, std::int64_t stride) {
  Pair waiting[kTreeLevels + 1];
  int depth = 0;
  Pair sum = both(Vec::zero());
  for (std::int64_t i = 0; i < count; ++i) {
    if (i > 0) waiting[depth++] = sum;
    sum = {Vec::load(partials + i * stride), Vec::load(partials + i * stride + Vec::kLanes)};
    for (std::int64_t carry = i; carry & 1; carry >>= 1) sum = waiting[--depth] + sum;
  }
  while (depth > 0) sum = waiting[--depth] + sum;
  return sum;
}

// dweight of T in the order of X from the partial sums `part`.
template <class X, class T>
void finish_pairs(const BackwardArgs& args, const float* partials, std::int64_t count, Range part) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const std::int64_t stride = partial_stride(hidden_size);
  const auto sum_at = [&](std::int64_t i) {
    return count == 0 ? both(Vec::zero()) : tree_sum(partials + i, count, stride);
  };
  const auto finish = [&](T* dweight, Pair sum) {
    if (args.accumulate) sum = RowReader<X, T>::read(dweight) + sum;
    if constexpr (__is_same(T, X)) {
      store_pair<X, Floats::kAny>(dweight, sum);
    } else {
      store_floats<kInterleaved<X>>(dweight, sum);
    }
  };
  // Of an edge only the columns that no whole Pair has: [begin, end) of dweight + first.
  T* const dweight = static_cast<T*>(args.dweight);
  const auto finish_edge = [&](std::int64_t first, std::int64_t begin, std::int64_t end, Pair sum) {
    alignas(64) T values[kPairColumns] = {};
    for (std::int64_t i = begin; i < end; ++i) values[i] = dweight[first + i];
    finish(values, sum);
    for (std::int64_t i = begin; i < end; ++i) dweight[first + i] = values[i];
  };

  if (hidden_size < kPairColumns) {
    if (part.begin == 0) finish_edge(0, 0, hidden_size, sum_at(0));
    return;
  }
  const Walk walk = walk_backward<X>(args);
  std::int64_t i = 0;
  const auto is_mine = [&] { return i >= part.begin && i < part.end; };
  if (walk.begin > 0) {
    if (is_mine()) finish_edge(0, 0, walk.begin, sum_at(i));
    i += kPairColumns;
  }
  for (std::int64_t j = walk.begin; j < walk.end; j += kPairColumns, i += kPairColumns) {
    if (is_mine()) finish(dweight + j, sum_at(i));
  }
  if (walk.end < hidden_size && is_mine()) {
    finish_edge(walk.last, walk.end - walk.last, kPairColumns, sum_at(i));
  }
}

void finish_dweight(const BackwardArgs& args, const void* partial_sums, std::int64_t count,
                    Range part) {
  if (args.dtype == DType::kFloat64) {
    const double* const partials = static_cast<const double*>(partial_sums);
    return plain::finish_dweight<double>(args, partials, count, part);
  }
  const float* const partials = static_cast<const float*>(partial_sums);
  with_dtype(args.dtype, [&](auto tag) {
    using X = typename decltype(tag)::Type;
    if (args.dweight_dtype == DType::kFloat32) {
      finish_pairs<X, float>(args, partials, count, part);
    } else {
      finish_pairs<X, X>(args, partials, count, part);
    }
  });
}
