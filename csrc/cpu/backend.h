// The operator on the CPU: picks the variant, shares the rows out, owns the scratch memory.
#pragma once

#include <cstdint>
#include <string>

#include "../op/rms_norm.h"
#include "../op/status.h"
#include "variant.h"

namespace rmsnorm::cpu {

// Both work on any number of threads at once and give the same bits whatever the variant and the
// number of threads. Zero rows are legal: outputs are empty, dweight is 0. Arguments are the
// caller's to check (rms_norm.h says what they must be).
//
// Errors: kInvalidEnvironment (RMSNORM_CPU_VARIANT, RMSNORM_NUM_THREADS); kOutOfMemory, when there
// is none for the weights or the partial sums of dweight.
Status forward(const ForwardArgs& args);
Status backward(const BackwardArgs& args);

// destination[i] = source[i] in another type, rounded to nearest even; one of 8 bits is a float8,
// and the other float32 then. Same errors as forward.
Status convert(DType from, const void* source, DType to, void* destination, std::int64_t count);

// The variant in use: RMSNORM_CPU_VARIANT, else the best this processor runs, until set_variant.
// kInvalidEnvironment if the variable names none that this processor runs.
Status current_variant(const Variant** variant);

// The variant of this name, or null if this build has none or this processor does not run it.
const Variant* find_variant(const std::string& name);
void set_variant(const Variant& variant);

// Whether this processor runs it.
bool is_supported(const Variant& variant);

}  // namespace rmsnorm::cpu
