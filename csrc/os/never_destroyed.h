// Static objects that are not destroyed when the process ends, because threads may still use them.
#pragma once

#include <utility>

namespace rmsnorm {

// Unlike `*new T` this allocates no memory, so its first use cannot fail, even in a destructor.
template <class T>
union NeverDestroyed {
  template <class... Arguments>
  explicit constexpr NeverDestroyed(Arguments&&... arguments)
      : value{std::forward<Arguments>(arguments)...} {}
  ~NeverDestroyed() {}
  NeverDestroyed(const NeverDestroyed&) = delete;
  NeverDestroyed& operator=(const NeverDestroyed&) = delete;

  T value;
};

}  // namespace rmsnorm
