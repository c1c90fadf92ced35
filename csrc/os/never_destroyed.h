// Static objects that stay as the process ends, since threads may still be inside.
#pragma once

#include <utility>

namespace rmsnorm {

// Unlike `*new T` this takes no memory, so that no first use fails, in a destructor for one.
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
