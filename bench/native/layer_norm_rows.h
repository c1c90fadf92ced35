// LayerNorm of rows in vectors: included into each instruction set's unnamed namespace, after what
// csrc/cpu/simd/simd.h has.

// Rows that are taken together, so that the lanes of one Vec are the sums of each of them: as many
// as this many columns, which stay in the nearest cache, have.
constexpr std::int64_t kBlockColumns = 4096;

RMSNORM_INLINE std::int64_t block_rows(std::int64_t hidden_size) {
  const std::int64_t rows = kBlockColumns / hidden_size;
  return rows < 1 ? 1 : rows > Vec::kLanes ? Vec::kLanes : rows;
}

// The sum over a row of step(Pair, Pair acc), in the lanes of a Vec. part(Pair, begin, end, acc) is
// step for the columns [begin, end) of a Pair that is 0 in the others. With masks, rows are read
// from cache lines on, unless so short that their ends would take longer: at 4096x128 so it is 0.94
// of the time.
template <class Step, class PartStep>
RMSNORM_INLINE Vec fold_row(const float* data, std::int64_t hidden_size, const Step& step,
                            const PartStep& part) {
  const RowReader<float, float> row{data};
  Pair acc[kPairs];
  for (auto& pair : acc) pair = both(Vec::zero());
  std::int64_t j = 0;
  if (kMasks<float> && hidden_size > kTileColumns) {
    const std::int64_t begin = walk_row(data, hidden_size).begin;
    const std::int64_t first = begin < hidden_size ? begin : hidden_size;
    if (first > 0) acc[0] = part(row.part(0, 0, first), 0, first, acc[0]);
    j = first;
  }
  for (; j + kAccumulators <= hidden_size; j += kAccumulators) {
    for (std::int64_t p = 0; p < kPairs; ++p) acc[p] = step(row.at(j + p * kPairColumns), acc[p]);
  }
  for (; j + kPairColumns <= hidden_size; j += kPairColumns) acc[0] = step(row.at(j), acc[0]);
  if (const std::int64_t rest = hidden_size - j; rest > 0) {
    acc[0] = part(row.part(j, 0, rest), 0, rest, acc[0]);
  }
  for (std::int64_t s = kPairs / 2; s >= 1; s /= 2) {
    for (std::int64_t p = 0; p < s; ++p) acc[p] = acc[p] + acc[p + s];
  }
  return add(acc[0].a, acc[0].b);
}

// The sums of `count` rows, row r's in lane r, given fold(r).
template <class Fold>
RMSNORM_INLINE Vec sums_of(std::int64_t count, const Fold& fold) {
  if (count == 1) return halve_lanes(fold(0), 1);
  Vec lanes[Vec::kLanes];
  for (std::int64_t r = 0; r < Vec::kLanes; ++r) lanes[r] = r < count ? fold(r) : Vec::zero();
  return sum_lanes(lanes);
}

// y = (x * scale + shift) * weight + bias of one row.
template <Stores kStores>
RMSNORM_INLINE void scale_row(const LayerNormArgs& args, std::int64_t index, float scale,
                              float shift) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const RowReader<float, float> x{args.x + index * hidden_size};
  const RowReader<float, float> weight{args.weight};
  const RowReader<float, float> bias{args.bias};
  const RowWriter<float, Floats::kAny, kStores> y{args.y + index * hidden_size};
  const Pair scales = both(Vec::broadcast(scale));
  const Pair shifts = both(Vec::broadcast(shift));
  const auto scaled = [&](Pair value, Pair w, Pair b) {
    return fma(fma(value, scales, shifts), w, b);
  };
  const auto tail = [&](const RowReader<float, float>& row) { return row.tail(0, hidden_size); };
  if (hidden_size < kPairColumns) {
    y.tail(0, hidden_size, scaled(tail(x), tail(weight), tail(bias)));
    return;
  }
  const auto y_at = [&](std::int64_t j) { return scaled(x.at(j), weight.at(j), bias.at(j)); };
  const Walk walk = walk_row(y.data, hidden_size);
  Pair begin{};
  Pair end{};
  if (walk.begin > 0) begin = y_at(0);
  if (walk.end < hidden_size) end = y_at(walk.last);
  const float* next = index + 1 < args.shape.rows ? x.data + hidden_size : x.data;
  for (std::int64_t j = walk.begin; j < walk.end; j += kPairColumns) {
    if constexpr (kStores == Stores::kStreaming) prefetch_pair(next + j);
    y.at(j, y_at(j));
  }
  if (walk.begin > 0) y.edge(0, 0, walk.begin, begin);
  if (walk.end < hidden_size) y.edge(walk.last, walk.end - walk.last, kPairColumns, end);
}

// The rows [first, first + count), at most block_rows.
template <Stores kStores>
RMSNORM_INLINE void norm_block(const LayerNormArgs& args, std::int64_t first, std::int64_t count) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const Vec inverse_size = Vec::broadcast(inverse(hidden_size));
  const auto row = [&](std::int64_t r) { return args.x + (first + r) * hidden_size; };

  const Vec sums = sums_of(count, [&](std::int64_t r) {
    const auto step = [](Pair x, Pair acc) { return acc + x; };
    const auto part = [](Pair x, std::int64_t, std::int64_t, Pair acc) { return acc + x; };
    return fold_row(row(r), hidden_size, step, part);
  });
  const Vec minus_mean = mul(mul(sums, inverse_size), Vec::broadcast(-1.0f));
  alignas(64) float minus_means[Vec::kLanes];
  minus_mean.store(minus_means);

  const Vec squares = sums_of(count, [&](std::int64_t r) {
    const Pair shift = both(Vec::broadcast(minus_means[r]));
    const auto step = [&](Pair x, Pair acc) {
      const Pair deviation = x + shift;
      return fma(deviation, deviation, acc);
    };
    const auto part = [&](Pair x, std::int64_t begin, std::int64_t end, Pair acc) {
      const Pair deviation = keep_columns<false>(x + shift, begin, end);
      return fma(deviation, deviation, acc);
    };
    return fold_row(row(r), hidden_size, step, part);
  });
  const Vec variance = add(mul(squares, inverse_size), Vec::broadcast(args.eps));
  const Vec rstd = divide(Vec::broadcast(1.0f), sqrt(variance));
  alignas(64) float scales[Vec::kLanes];
  alignas(64) float shifts[Vec::kLanes];
  rstd.store(scales);
  mul(minus_mean, rstd).store(shifts);
  for (std::int64_t r = 0; r < count; ++r) {
    scale_row<kStores>(args, first + r, scales[r], shifts[r]);
  }
}

template <Stores kStores>
void norm_rows(const LayerNormArgs& args, Range rows) {
  const std::int64_t together = block_rows(args.shape.hidden_size);
  for (std::int64_t first = rows.begin; first < rows.end; first += together) {
    const std::int64_t left = rows.end - first;
    norm_block<kStores>(args, first, left < together ? left : together);
  }
}

void layer_norm_rows(const LayerNormArgs& args, Range rows, Stores stores) {
  if (kStreaming<float> == Stores::kStreaming && stores == Stores::kStreaming &&
      args.shape.hidden_size >= kPairColumns) {
    norm_rows<Stores::kStreaming>(args, rows);
    stream_fence();
  } else {
    norm_rows<Stores::kCached>(args, rows);
  }
}
