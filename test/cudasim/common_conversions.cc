// The conversions that kernels use most, as fast versions. Their rows replace those of
// convert_operations.cc.
#include "lanewise.h"

namespace cudasim {
namespace {

template <class T>
void add_format(OperationTable& table) {
  const std::string one = kTypeName<T>, two = kTypeName<Pair<T>>;
  table.add("cvt.rn." + one + ".f32", lanewise<T, float>([](float a) { return narrow<T>(a); }));
  table.add("cvt.rn." + two + ".f32", lanewise<Pair<T>, float, float>([](float high, float low) {
              return Pair<T>{narrow<T>(low), narrow<T>(high)};
            }));
  table.add("cvt.f32." + one, lanewise<float, T>([](T a) { return canonical(to_float(a)); }));
}

template <class D, class S>
void add_integers(OperationTable& table) {
  Operation operation = lanewise<D, S>([](S a) { return static_cast<D>(a); });
  operation.relaxed = true;
  operation.extends_sign = std::is_signed_v<D>;
  table.add(std::string("cvt.") + kTypeName<D> + "." + kTypeName<S>, operation);
}

}  // namespace

void add_common_conversions(OperationTable& table) {
  add_format<Half>(table);
  add_format<BFloat>(table);
  for_types<u16, u32, s32, u64, s64>([&]<class D>() {
    for_types<u16, s16, u32, s32, u64, s64>([&]<class S>() { add_integers<D, S>(table); });
  });
}

}  // namespace cudasim
