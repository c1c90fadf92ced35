// Rows as the SIMD variants see them: in Pairs of vectors. Included by row_kernels.h.
//
// A variant provides, before it:
//   Vec          kLanes floats: zero(), broadcast(), load(), store(); add, mul, fma(a, b, c) =
//                a * b + c, sqrt, divide; all rounded to nearest even
//   Pair         two Vec {a, b}: 2 * kLanes consecutive columns of a row
//   kInterleaved<X>  the order of a Pair of X: false, a holds the first kLanes columns and b the
//                last; true, a holds the even columns and b the odd (what a bfloat16 load gives)
//   kStreaming<X>   what rows are written by where streaming stores are asked for
//   load_pair<X>, store_pair<X, Floats>, stream_pair<X, Floats>
//                a Pair of X, in X's order, the last where memory is aligned to a Pair
//   load_part<X>(p, begin, end)
//                of a Pair at p, of X or float, the columns [begin, end), and zeros: nothing else
//                is read
//   kMasks<X>    whether that is as fast as loading it all
//   store_part<X, Floats>(p, begin, end, pair)   of a Pair at p the columns [begin, end)
//   round_pair<X, Floats>   T(value) as floats
//   load_floats<kInterleaved>, store_floats<kInterleaved>   floats in either order
//   keep_columns<kInterleaved>(pair, begin, end)   -0 in all columns but [begin, end)
//   sum_lanes(v)     lane i of the result is the halving tree over the lanes of v[i]
//   halve_lanes(v, count)
//                the halving tree over the lanes of v, down to its first `count` (a power of two)
//   all_within(v, low, high)
//                whether every lane of v is a number in [low, high]
//   Magnitudes<X>   loads Pairs of x for the fold, at(p) and part(p, begin, end), and may note of
//                them whether a faster rounding will do for these rows:
//     kMatter    whether there is one, Floats::kNormal
//     smallest(rows, first, count, hidden_size)   the least magnitude but 0 in the rows that were
//                loaded, or less; 0 if that is not known
//   smallest_magnitude(p, count)   of floats; 0 if that is not known
//   is_normal(x, rstd, w)   whether rounding meets normal numbers alone where no x and no w but 0
//                are smaller than these
//   prefetch(p), stream_fence()

static constexpr std::int64_t kPairColumns = 2 * Vec::kLanes;
static constexpr float kLargestFloat = 0x1.fffffep127f;
static constexpr std::int64_t kPairs = kAccumulators / kPairColumns;

RMSNORM_INLINE Pair operator+(Pair x, Pair y) { return {add(x.a, y.a), add(x.b, y.b)}; }
RMSNORM_INLINE Pair operator*(Pair x, Pair y) { return {mul(x.a, y.a), mul(x.b, y.b)}; }
RMSNORM_INLINE Pair operator*(Pair x, Vec y) { return {mul(x.a, y), mul(x.b, y)}; }
RMSNORM_INLINE Pair fma(Pair x, Pair y, Pair z) { return {fma(x.a, y.a, z.a), fma(x.b, y.b, z.b)}; }
RMSNORM_INLINE Pair both(Vec v) { return {v, v}; }

// Fetches the cache lines that a Pair begins in.
template <class X>
RMSNORM_INLINE void prefetch_pair(const X* source) {
  for (std::int64_t j = 0; j < kPairColumns; j += 64 / static_cast<std::int64_t>(sizeof(X))) {
    prefetch(source + j);
  }
}

// A row of T in memory, read as Pairs in the order of X.
template <class X, class T>
struct RowReader {
  const T* data;

  RMSNORM_INLINE Pair at(std::int64_t column) const { return read(data + column); }
  RMSNORM_INLINE Pair tail(std::int64_t column, std::int64_t count) const {
    return part(column, 0, count);
  }
  // Of the Pair at `column` its columns [begin, end), and zeros.
  RMSNORM_INLINE Pair part(std::int64_t column, std::int64_t begin, std::int64_t end) const {
    return load_part<X>(data + column, begin, end);
  }
  RMSNORM_INLINE static Pair read(const T* source) {
    if constexpr (__is_same(X, T)) {
      return load_pair<X>(source);
    } else {
      static_assert(__is_same(T, float));
      return load_floats<kInterleaved<X>>(source);
    }
  }
};

// How the columns of a row of at least one Pair are walked: whole Pairs over [begin, end), where
// memory is aligned to a Pair, and at either end a Pair that overlaps them, at column 0 if begin >
// 0 and at last if end < hidden_size. What an edge shares with its neighbour is computed twice, to
// the same bits. Edges are loaded before anything is stored, since a row may be its own output.
//
// Aligned so, a Pair of float32 is a cache line of 64 bytes, which then is touched once, even where
// rows a multiple of 4096 bytes apart compete for the same lines of the nearest cache.
struct Walk {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t last;
};

template <class X>
RMSNORM_INLINE Walk walk_row(const X* aligned, std::int64_t hidden_size) {
  const auto element = reinterpret_cast<std::uintptr_t>(aligned) / sizeof(X);
  const std::int64_t begin = static_cast<std::int64_t>(-element % kPairColumns);
  const std::int64_t end = begin + (hidden_size - begin) / kPairColumns * kPairColumns;
  return {begin, end, hidden_size - kPairColumns};
}

// Whether stores through `to`, in step with loads through `from` and walking up, soon meet
// addresses whose lowest 12 bits are those of loads to come. A processor tells the two apart by
// these bits until it knows the others: such a load waits for the store (Zen 4; 4K aliasing, as
// Intel calls it). Walking down, it is the other way round.
RMSNORM_INLINE int runs_into(const void* to, const void* from) {
  constexpr std::uintptr_t kSoon = 512;
  const auto ahead = reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from);
  return ahead % 4096 - 1 < kSoon ? 1 : 0;
}

// Whether a row is better written down from its end: if fewer stores run into loads so. Measured
// with AVX-512 where y begins 128 bytes after x, but for multiples of 4096, up takes 1.1 times as
// long at 32x4096 and 1.35 times at 20x512. Down costs nothing in the caches, but much beyond them.
template <class... From>
RMSNORM_INLINE bool is_better_down(const void* to, const From*... from) {
  return (runs_into(to, from) + ...) > (runs_into(from, to) + ...);
}

// step(j) for the whole Pairs of `columns`, up or down. Two loops: one with a step that is either
// takes up to 1.2 times as long, for which no cause was found.
template <class Step>
RMSNORM_INLINE void for_each_pair(Range columns, bool down, const Step& step) {
  if (down) {
    for (std::int64_t j = columns.end - kPairColumns; j >= columns.begin; j -= kPairColumns)
      step(j);
  } else {
    for (std::int64_t j = columns.begin; j < columns.end; j += kPairColumns) step(j);
  }
}

// Whether every row of a matrix is as aligned as the first.
RMSNORM_INLINE bool aligned_alike(const Rows& rows) {
  return rows.row_stride % kPairColumns == 0 && rows.batch_stride % kPairColumns == 0;
}

// Writes whole Pairs where memory is aligned, edges, or the first `count` elements of a short row.
template <class X, Floats kWhich, Stores kStores>
struct RowWriter {
  X* data;

  RMSNORM_INLINE void at(std::int64_t column, Pair value) const {
    if constexpr (kStores == Stores::kStreaming) {
      stream_pair<X, kWhich>(data + column, value);
    } else {
      store_pair<X, kWhich>(data + column, value);
    }
  }
  // Of an edge at `column`, its columns [begin, end) matter. Cached, all are stored: that is one
  // store. Streaming, only these: the others' cache line is on its way to memory.
  RMSNORM_INLINE void edge(std::int64_t column, std::int64_t begin, std::int64_t end,
                           Pair value) const {
    if constexpr (kStores == Stores::kCached) {
      store_pair<X, kWhich>(data + column, value);
    } else {
      store_part<X, kWhich>(data + column, begin, end, value);
    }
  }
  RMSNORM_INLINE void tail(std::int64_t column, std::int64_t count, Pair value) const {
    part(column, 0, count, value);
  }
  RMSNORM_INLINE void part(std::int64_t column, std::int64_t begin, std::int64_t end,
                           Pair value) const {
    store_part<X, kWhich>(data + column, begin, end, value);
  }
};

// y before its cast: xhat * w, with T(xhat) in Llama's order. xhat has no NaN with low bits set.
template <class X, bool kLlama, Floats kWhich>
RMSNORM_INLINE Pair scaled(Pair xhat, Pair w) {
  if constexpr (kLlama) xhat = round_pair<X, kWhich>(xhat);
  return xhat * w;
}

// g = dy * w, T(dy * w) in Llama's order.
template <class X, bool kLlama>
RMSNORM_INLINE Pair weighted(Pair dy, Pair w) {
  if constexpr (kLlama) return round_pair<X, Floats::kShort>(dy * w);
  return dy * w;
}

// A NaN of a caller's, without bits that rounding to bfloat16 could carry over.
RMSNORM_INLINE float without_payload(float value) {
  return value == value ? value : __builtin_nanf("");
}
