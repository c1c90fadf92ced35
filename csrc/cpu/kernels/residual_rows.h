// Forward with a residual. Included by row_kernels.h.

// Sums of x and residual are made of as many rows at a time as stay in the nearest caches until
// they are normalised.
static constexpr std::int64_t kSumBytes = 16 << 10;

// The sum of a row, and a copy of it in `kept` if that is not null.
template <class X, Stores kStores>
[[gnu::noinline]] void add_residual(const ForwardArgs& args, std::int64_t row, X* kept) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const X* const x = row_of<X>(args.x, row);
  const X* const residual = row_of<X>(args.residual, row);
  const RowWriter<X, Floats::kShort, kStores> sum{row_of<X>(args.sum, row)};
  const RowWriter<X, Floats::kShort, Stores::kCached> copy{kept};

  if (hidden_size < kPairColumns) {
    const Pair value = load_part<X>(x, 0, hidden_size) + load_part<X>(residual, 0, hidden_size);
    sum.part(0, 0, hidden_size, value);
    if (kept != nullptr) copy.part(0, 0, hidden_size, value);
    return;
  }
  const auto sum_at = [&](std::int64_t j) {
    return load_pair<X>(x + j) + load_pair<X>(residual + j);
  };
  const Walk walk = walk_row(sum.data, hidden_size);
  Pair begin{};
  Pair end{};
  if (walk.begin > 0) begin = sum_at(0);
  if (walk.end < hidden_size) end = sum_at(walk.last);
  const bool down = kStores == Stores::kCached && is_better_down(sum.data, x, residual);
  for_each_pair({walk.begin, walk.end}, down, [&](std::int64_t j) {
    const Pair value = sum_at(j);
    sum.at(j, value);
    if (kept != nullptr) copy.at(j, value);
  });
  if (walk.begin > 0) {
    sum.edge(0, 0, walk.begin, begin);
    if (kept != nullptr) copy.at(0, begin);
  }
  if (walk.end < hidden_size) {
    sum.edge(walk.last, walk.end - walk.last, kPairColumns, end);
    if (kept != nullptr) copy.at(walk.last, end);
  }
}

using Forward = void (*)(const ForwardArgs& args, Range rows, const void* prepared);

// Blocks of rows: their sum, and then normalise(args, rows) with it as x. What streams to
// memory is normalised from a copy, a ring of as many rows as a block has.
template <class X, Stores kStores>
[[gnu::noinline]] void forward_sums(const ForwardArgs& args, Range rows, const void* prepared,
                                    Forward normalise) {
  constexpr std::int64_t kElements = kSumBytes / static_cast<std::int64_t>(sizeof(X));
  const std::int64_t stride = ceil_div(args.shape.hidden_size, kPairColumns) * kPairColumns;
  const std::int64_t fitting = kElements / stride;
  // A multiple of 16 rows where there are as many: short rows are folded up to 16 at once.
  const std::int64_t block = fitting < 1 ? 1 : fitting < 16 ? fitting : fitting / 16 * 16;
  const bool streaming = kStores == Stores::kStreaming && fitting >= 1;
  alignas(64) X ring[kStores == Stores::kStreaming ? kElements : 1];

  ForwardArgs sums = args;
  const Rows& out = args.sum;
  sums.x = {out.data, out.row_stride, out.batch_rows, out.batch_stride};
  if (streaming) sums.x = {ring, stride, block, 0};
  for (std::int64_t first = rows.begin; first < rows.end; first += block) {
    const std::int64_t end = rows.end - first < block ? rows.end : first + block;
    for (std::int64_t row = first; row < end; ++row) {
      if (streaming) {
        add_residual<X, kStores>(args, row, ring + row % block * stride);
      } else {
        add_residual<X, Stores::kCached>(args, row, nullptr);
      }
    }
    normalise(sums, {first, end}, prepared);
  }
}

// y and rstd of rows of x, or of x + residual. Without weights nothing is rounded twice.
template <class X, bool kLlama, Stores kStores>
void forward_rows_or_sums(const ForwardArgs& args, Range rows, const void* prepared) {
  const Forward normalise = args.weight.data != nullptr
                                ? forward_rows<Scaling<X, true, kLlama, kStores>>
                                : forward_rows<Scaling<X, false, false, kStores>>;
  if (args.residual.data == nullptr) {
    normalise(args, rows, prepared);
  } else {
    forward_sums<X, kStores>(args, rows, prepared, normalise);
  }
  if constexpr (kStores == Stores::kStreaming) stream_fence();
}

void forward(const ForwardArgs& args, Range rows, Stores stores, const void* prepared) {
  if (args.dtype == DType::kFloat64) return plain::forward<double, false>(args, rows);
  with_order(args.dtype, args.options.cast_order, [&](auto x, auto llama) {
    using X = typename decltype(x)::Type;
    if (stores == Stores::kStreaming) {
      forward_rows_or_sums<X, llama.value, kStreaming<X>>(args, rows, prepared);
    } else {
      forward_rows_or_sums<X, llama.value, Stores::kCached>(args, rows, prepared);
    }
  });
}
