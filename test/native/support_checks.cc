#include <algorithm>
#include <cstring>
#include <sstream>

#include "cpu/backend.h"
#include "support.h"

namespace rmsnorm::test {
namespace {

constexpr Layout kRowByRow{.rows_per_call = 1};

// True if results may be NaN. The sign and payload of a NaN differ between processors.
bool may_be_nan(Values values) { return values == Values::kSpecial || values == Values::kExtreme; }

const char* name_of(DType dtype) {
  static constexpr const char* kNames[] = {"float32", "float16", "bfloat16", "float64"};
  return kNames[static_cast<int>(dtype)];
}

std::string labelled(const char* label, const std::string& text) {
  return text.empty() ? "" : std::string(label) + ": " + text + "; ";
}

std::string padding_complaint(const char* label, const Matrix& matrix) {
  return labelled(label, matrix.padding_is_intact() ? "" : "written outside of its rows");
}

// Calls function(rows) for consecutive ranges of [0, rows).
template <class Function>
void for_each_range(std::int64_t rows, std::int64_t rows_per_call, const Function& function) {
  if (rows_per_call == 0) return function(cpu::Range{0, rows});
  for (std::int64_t begin = 0; begin < rows; begin += rows_per_call) {
    function(cpu::Range{begin, std::min(begin + rows_per_call, rows)});
  }
}

// The weights of a call, converted as the variant's kernels read them. Null if the kernels read the
// weights as they are. The scratch memory is uninitialised (NaN) before the conversion.
class PreparedWeights {
 public:
  template <class Args>
  PreparedWeights(const cpu::Variant& variant, const Args& args, const void* aligned) {
    if (variant.prepare == nullptr || aligned == nullptr) return;
    if (!cpu::wants_preparing(args.dtype, args.weight, args.options)) return;
    const std::int64_t hidden_size = args.shape.hidden_size;
    memory_ = Matrix(DType::kFloat32, 1, cpu::prepared_bytes(hidden_size) / 4);
    variant.prepare(args.dtype, args.weight, args.options, hidden_size, aligned, memory_.row(0));
    data_ = memory_.row(0);
  }
  const void* data() const { return data_; }

 private:
  Matrix memory_{DType::kFloat32, 0, 1};
  const void* data_ = nullptr;
};

}  // namespace

void forward_with(const cpu::Variant& variant, const ForwardArgs& args, const Layout& layout) {
  const bool prepares = layout.prepares || args.gate.data != nullptr;
  const PreparedWeights weights(variant, args, prepares ? args.y.data : nullptr);
  for_each_range(args.shape.rows, layout.rows_per_call, [&](cpu::Range rows) {
    variant.forward(args, rows, layout.stores, weights.data());
  });
}

void backward_with(const cpu::Variant& variant, const BackwardArgs& args, const Layout& layout) {
  const PreparedWeights weights(variant, args, args.dx.data);
  if (args.dweight == nullptr) {
    if (args.dx.data == nullptr) return;
    return for_each_range(args.shape.rows, layout.rows_per_call, [&](cpu::Range rows) {
      variant.backward(args, rows, layout.stores, weights.data(), nullptr);
    });
  }
  const std::int64_t stride = cpu::partial_stride(args.shape.hidden_size);
  Matrix partials(computed_in(args.dtype), row_group_count(args.shape.rows), stride);
  for_each_range(args.shape.rows, row_group_rows(args.shape.rows), [&](cpu::Range rows) {
    const std::int64_t group = rows.begin / row_group_rows(args.shape.rows);
    variant.backward(args, rows, layout.stores, weights.data(), partials.row(group));
  });
  // In two column ranges, as two threads would share the columns.
  const std::int64_t middle = stride / cpu::kPartialColumns / 2 * cpu::kPartialColumns;
  for (const cpu::Range part : {cpu::Range{0, middle}, cpu::Range{middle, stride}}) {
    variant.finish_dweight(args, partials.row(0), partials.rows(), part);
  }
}

ForwardBuffers expected_forward(const Problem& problem) {
  ForwardBuffers buffers(problem, kRowByRow);
  forward_with(cpu::kScalar, buffers.args, kRowByRow);
  return buffers;
}

BackwardBuffers expected_backward(const Problem& problem) {
  BackwardBuffers buffers(problem, kRowByRow);
  backward_with(cpu::kScalar, buffers.args, kRowByRow);
  return buffers;
}

std::string difference(const Matrix& expected, const Matrix& actual, Values values) {
  for (std::int64_t r = 0; r < expected.rows(); ++r) {
    if (std::memcmp(expected.row(r), actual.row(r), expected.row_bytes()) == 0) continue;
    for (std::int64_t j = 0; j < expected.columns(); ++j) {
      const std::uint64_t wanted = expected.bits(r, j);
      const std::uint64_t found = actual.bits(r, j);
      if (wanted == found) continue;
      if (may_be_nan(values) && expected.is_nan(r, j) && actual.is_nan(r, j)) continue;
      std::ostringstream text;
      text << "row " << r << ", column " << j << " is 0x" << std::hex << found << ", not 0x"
           << wanted;
      return text.str();
    }
  }
  return "";
}

std::string complaint(const Problem& problem, const Layout& layout, const ForwardBuffers& expected,
                      const ForwardBuffers& actual) {
  std::string text =
      labelled("y", difference(expected.y, actual.result(), problem.values)) +
      labelled("rstd", difference(expected.rstd, actual.rstd, problem.values)) +
      labelled("sum_out", difference(expected.sum_out, actual.sum(), problem.values)) +
      labelled("gate was written", difference(expected.gate, actual.gate, Values::kFinite)) +
      padding_complaint("residual", actual.residual) + padding_complaint("gate", actual.gate) +
      padding_complaint("sum_out", actual.sum_out) + padding_complaint("x", actual.x) +
      padding_complaint("y", actual.y) + padding_complaint("rstd", actual.rstd);
  const auto written = [&](InPlace input) {
    return layout.in_place == input || (problem.residual && layout.sum_in_place == input);
  };
  if (!written(InPlace::kX)) {
    text += labelled("x was written", difference(expected.x, actual.x, Values::kFinite));
  }
  if (!written(InPlace::kResidual)) {
    text += labelled("residual was written",
                     difference(expected.residual, actual.residual, Values::kFinite));
  }
  return text;
}

std::string complaint(const Problem& problem, const Layout& layout, const BackwardBuffers& expected,
                      const BackwardBuffers& actual) {
  std::string text = padding_complaint("x", actual.x) + padding_complaint("dy", actual.dy) +
                     padding_complaint("dsum", actual.dsum) + padding_complaint("dx", actual.dx) +
                     padding_complaint("gate", actual.gate) +
                     padding_complaint("dgate", actual.dgate) +
                     padding_complaint("dweight", actual.dweight);
  if (layout.dx) {
    text += labelled("dx", difference(expected.dx, actual.result(), problem.values));
    text += labelled("dgate", difference(expected.dgate, actual.dgate_result(), problem.values));
  }
  if (!layout.dx || !layout.dgate_in_place) {
    text += labelled("gate was written", difference(expected.gate, actual.gate, Values::kFinite));
  }
  if (layout.dweight) {
    text += labelled("dweight", difference(expected.dweight, actual.dweight, problem.values));
  }
  if (!layout.dx || layout.in_place != InPlace::kX) {
    text += labelled("x was written", difference(expected.x, actual.x, Values::kFinite));
  }
  if (!layout.dx || layout.in_place != InPlace::kDy) {
    text += labelled("dy was written", difference(expected.dy, actual.dy, Values::kFinite));
  }
  if (!layout.dx || layout.in_place != InPlace::kResidual) {
    text += labelled("dsum was written", difference(expected.dsum, actual.dsum, Values::kFinite));
  }
  return text;
}

std::string describe(const cpu::Variant& variant) { return variant.name; }

std::string describe(const Problem& problem) {
  static constexpr const char* kWeights[] = {"no weight", "weight of the same type",
                                             "float32 weight"};
  static constexpr const char* kValues[] = {"", ", vanishing", ", about the smallest normal number",
                                            ", extreme", ", with NaN and Inf"};
  const char* gate = !problem.gate                                         ? ""
                     : problem.options.gate_order == GateOrder::kAfterNorm ? ", gate after"
                                                                           : ", gate before";
  std::ostringstream text;
  text << problem.shape.rows << "x" << problem.shape.hidden_size << " " << name_of(problem.dtype)
       << ", " << kWeights[static_cast<int>(problem.weight)] << ", cast order "
       << (problem.options.cast_order == CastOrder::kLlama ? "llama" : "float") << ", offset "
       << problem.options.weight_offset << ", eps " << problem.options.eps << ", dweight "
       << name_of(problem.dweight_dtype) << (problem.accumulate ? " accumulated" : "")
       << kValues[static_cast<int>(problem.values)] << (problem.residual ? ", residual" : "")
       << gate << ", seed " << problem.seed;
  return text.str();
}

std::string describe(const Layout& layout) {
  static constexpr const char* kInPlace[] = {"", ", in place of x", ", in place of dy",
                                             ", in place of the residual"};
  std::ostringstream text;
  text << "padding " << layout.padding << ", misaligned by " << layout.misaligned << " and "
       << layout.misaligned_out << kInPlace[static_cast<int>(layout.in_place)] << ", the sum"
       << kInPlace[static_cast<int>(layout.sum_in_place)]
       << (layout.rstd_given ? ", rstd given" : ", rstd recomputed") << (layout.dx ? ", dx" : "")
       << (layout.dweight ? ", dweight" : "")
       << (layout.stores == cpu::Stores::kStreaming ? ", streaming" : "") << ", rows a call "
       << layout.rows_per_call << (layout.prepares ? "" : ", weights converted for every row")
       << (layout.dgate_in_place ? ", dgate in place" : "");
  if (layout.batch_rows != kOneBatch) {
    text << ", batches of " << layout.batch_rows << " rows and " << layout.batch_padding;
  }
  return text.str();
}

std::vector<const cpu::Variant*> supported_variants() {
  std::vector<const cpu::Variant*> variants;
  for (const cpu::Variant* const* known = cpu::kVariants; *known != nullptr; ++known) {
    if (cpu::is_supported(**known)) variants.push_back(*known);
  }
  return variants;
}

}  // namespace rmsnorm::test
