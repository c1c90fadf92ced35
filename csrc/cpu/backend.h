// The operator on the CPU: picks the variant, splits rows across threads, owns the scratch memory.
#pragma once

#include <cstdint>
#include <string>

#include "../op/rms_norm.h"
#include "../op/status.h"
#include "variant.h"

namespace rmsnorm::cpu {

// forward and backward may run on any number of threads at once. They give the same bits with every
// variant and every number of threads. Zero rows are legal: outputs are empty, dweight is 0. The
// caller checks the arguments (rms_norm.h says what they must be).
//
// Errors: kInvalidEnvironment (RMSNORM_CPU_VARIANT, RMSNORM_NUM_THREADS); kOutOfMemory if there is
// no memory for the weights or the partial sums of dweight.
Status forward(const ForwardArgs& args);
Status backward(const BackwardArgs& args);

// destination[i] = source[i] in another dtype, rounded to nearest even. An 8-bit dtype must be a
// float8, and the other dtype is then float32. Same errors as forward.
Status convert(DType from, const void* source, DType to, void* destination, std::int64_t count);

// The variant in use: that of set_variant(), else RMSNORM_CPU_VARIANT, else the best one that this
// processor runs. kInvalidEnvironment if the variable names none that this processor runs.
Status current_variant(const Variant** variant);

// The variant with this name; null if this build lacks it or this processor cannot run it.
const Variant* find_variant(const std::string& name);
void set_variant(const Variant& variant);

// Whether this processor can run the variant.
bool is_supported(const Variant& variant);

}  // namespace rmsnorm::cpu
