// Rows in memory as VecPairs: how they are read, cut at aligned addresses, and written.
#pragma once

#include "simd.h"

namespace rmsnorm::cpu {
namespace {

// Prefetches the cache lines of a VecPair. An unaligned VecPair ends in one more line, which is not
// prefetched.
template <class X>
RMSNORM_INLINE void prefetch_pair(const X* source) {
  for (std::int64_t j = 0; j < kPairColumns; j += 64 / static_cast<std::int64_t>(sizeof(X))) {
    prefetch(source + j);
  }
}

// Loads a VecPair of T, which is X or float, in X's order (simd.h).
template <class X, class T>
RMSNORM_INLINE VecPair read_pair(const T* source) {
  if constexpr (__is_same(X, T)) {
    return load_pair<X>(source);
  } else {
    static_assert(__is_same(T, float));
    return load_floats<kInterleaved<X>>(source);
  }
}

// A row of at least one VecPair, cut at addresses that are aligned to VecPairs. The body [begin,
// end) is in whole VecPairs. At either end of the row, a further VecPair may overlap the body: the
// head at column 0 if begin > 0, and the tail at `tail` if end < hidden_size. Columns that lie in
// two of these parts are computed twice, with the same bits. Head and tail are loaded before
// anything is stored, because a row may be its own output.
//
// With AVX2 and AVX-512, an aligned VecPair of float32 is one or two whole cache lines of 64 bytes.
// Each line is then touched once, even if rows that are a multiple of 4096 bytes apart compete for
// the same sets of the nearest cache.
struct AlignedBody {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t tail;
};

template <class X>
RMSNORM_INLINE AlignedBody aligned_body(const X* aligned, std::int64_t hidden_size) {
  const auto element = reinterpret_cast<std::uintptr_t>(aligned) / sizeof(X);
  const std::int64_t begin = static_cast<std::int64_t>(-element % kPairColumns);
  const std::int64_t end = begin + (hidden_size - begin) / kPairColumns * kPairColumns;
  return {begin, end, hidden_size - kPairColumns};
}

// Whether loads through `from` wait for stores through `to`, if both ascend in step. They do if a
// load soon follows a store whose address has the same lowest 12 bits. A processor first compares
// loads with earlier stores by these bits alone (Zen 4; Intel calls it 4K aliasing). If both
// descend, call this function with the arguments swapped.
RMSNORM_INLINE int has_4k_aliasing(const void* to, const void* from) {
  constexpr std::uintptr_t kSoon = 512;
  const auto ahead = reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from);
  return ahead % 4096 - 1 < kSoon ? 1 : 0;
}

// Whether a row is better written from its end to its beginning, because fewer loads then wait for
// stores. Measured with AVX-512 where y begins 128 bytes after x, modulo 4096: ascending takes 1.1
// times as long at 32x4096 and 1.35 times at 20x512. Descending costs nothing if the rows are in
// the caches, but much if they are not.
template <class... From>
RMSNORM_INLINE bool prefer_descending(const void* to, const From*... from) {
  return (has_4k_aliasing(to, from) + ...) > (has_4k_aliasing(from, to) + ...);
}

// Calls step(j) for the whole VecPairs of `columns`. There are two loops, because one loop with a
// step of either sign takes up to 1.2 times as long. No cause was found.
template <class Step>
RMSNORM_INLINE void for_each_pair(Range columns, bool descending, const Step& step) {
  if (descending) {
    for (std::int64_t j = columns.end - kPairColumns; j >= columns.begin; j -= kPairColumns)
      step(j);
  } else {
    for (std::int64_t j = columns.begin; j < columns.end; j += kPairColumns) step(j);
  }
}

// Whether every row of a matrix is aligned as the first one is.
RMSNORM_INLINE bool aligned_alike(const Rows& rows) {
  return rows.row_stride % kPairColumns == 0 && rows.batch_stride % kPairColumns == 0;
}

// Writes a row: at() a whole VecPair at an aligned address, edge() the head or the tail, masked()
// some columns of a VecPair.
template <class X, Floats kWhich, Stores kStores>
struct RowWriter {
  X* data;

  RMSNORM_INLINE void at(std::int64_t column, VecPair value) const {
    if constexpr (kStores == Stores::kStreaming) {
      stream_pair<X, kWhich>(data + column, value);
    } else {
      store_pair<X, kWhich>(data + column, value);
    }
  }
  // Writes the head or tail at `column`, whose columns [begin, end) are not in the body. A cached
  // store writes all columns of the VecPair at once. With streaming stores, only the columns
  // outside the body are written, because the cache line of the body's columns is already on its
  // way to memory.
  RMSNORM_INLINE void edge(std::int64_t column, std::int64_t begin, std::int64_t end,
                           VecPair value) const {
    if constexpr (kStores == Stores::kCached) {
      store_pair<X, kWhich>(data + column, value);
    } else {
      masked(column, begin, end, value);
    }
  }
  RMSNORM_INLINE void masked(std::int64_t column, std::int64_t begin, std::int64_t end,
                             VecPair value) const {
    store_masked<X, kWhich>(data + column, begin, end, value);
  }
};

// Writes a row of at least one VecPair through `to`, which is a RowWriter or has the same data,
// at() and edge(). values_from(column) returns a function of j, a multiple of kPairColumns, that
// gives the VecPair at column + j of the row.
template <class Writer, class ValuesFrom>
RMSNORM_INLINE void write_row(const Writer& to, std::int64_t hidden_size, bool descending,
                              const ValuesFrom& values_from) {
  const AlignedBody body = aligned_body(to.data, hidden_size);
  VecPair head{};
  VecPair tail{};
  if (body.begin > 0) head = values_from(0)(0);
  if (body.end < hidden_size) tail = values_from(body.tail)(0);
  const auto values = values_from(body.begin);
  for_each_pair({body.begin, body.end}, descending,
                [&](std::int64_t j) { to.at(j, values(j - body.begin)); });
  if (body.begin > 0) to.edge(0, 0, body.begin, head);
  if (body.end < hidden_size) to.edge(body.tail, body.end - body.tail, kPairColumns, tail);
}

// Cuts a row into segments that share no column. Calls on_body(begin, end) for the body and
// on_end(column, begin, end) for the head and the tail: the columns [begin, end) of the VecPair at
// `column`. A row shorter than a VecPair is one end.
template <class OnBody, class OnEnd>
RMSNORM_INLINE void for_body_and_ends(AlignedBody body, std::int64_t hidden_size,
                                      const OnBody& on_body, const OnEnd& on_end) {
  if (hidden_size < kPairColumns) return on_end(0, 0, hidden_size);
  if (body.begin > 0) on_end(0, 0, body.begin);
  if (body.begin < body.end) on_body(body.begin, body.end);
  if (body.end < hidden_size) on_end(body.tail, body.end - body.tail, kPairColumns);
}

// Copies the elements [begin, end) of a VecPair to the same positions of another.
template <class T>
RMSNORM_INLINE void copy_columns(T* to, const T* from, std::int64_t begin, std::int64_t end) {
  __builtin_memcpy(to + begin, from + begin, static_cast<std::size_t>(end - begin) * sizeof(T));
}

}  // namespace
}  // namespace rmsnorm::cpu
