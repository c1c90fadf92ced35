// The operands of an operation, in the order of a native call's arguments. lib/call/operations.ts
// has the same tables, and a test compares the two. A mask of operands has bit(i) for operand i.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace rmsnorm::napi {

// The shape of an operand: (rows, hiddenSize), (hiddenSize) or (rows).
enum class Extent : std::uint8_t { kMatrix, kVector, kPerRow };

// The dtype of an operand.
// - kTensor: the dtype of the call.
// - kTensorOrFloat32: the dtype of the call, or float32 beside 16-bit tensors.
// - kRstd: float32, or float64 beside float64 tensors.
// - kTensorOrCodes: the dtype of the codes if the call quantises, else the dtype of the call.
// - kFloat32: float32.
enum class Element : std::uint8_t { kTensor, kTensorOrFloat32, kRstd, kTensorOrCodes, kFloat32 };

enum class Use : std::uint8_t { kInput, kRequiredInput, kOutput, kRequiredOutput };

static constexpr std::uint32_t bit(std::size_t index) { return std::uint32_t{1} << index; }

struct OperandRule {
  const char* name;  // as messages show it
  Extent extent;
  Element element;
  Use use;
  // Bits of the inputs that an output may equal exactly, unless it holds codes.
  std::uint32_t may_equal = 0;
  std::uint32_t needs = 0;  // bits of the operands that this one requires

  constexpr bool is_output() const { return use == Use::kOutput || use == Use::kRequiredOutput; }
  constexpr bool is_required() const {
    return use == Use::kRequiredInput || use == Use::kRequiredOutput;
  }
};

static constexpr std::size_t kMaxOperands = 9;

namespace forward_operand {
enum : std::size_t { kX, kWeight, kY, kRstd, kResidual, kSum, kScale, kGate };
}  // namespace forward_operand

inline constexpr OperandRule kForwardRules[] = {
    {"x", Extent::kMatrix, Element::kTensor, Use::kRequiredInput},
    {"weight", Extent::kVector, Element::kTensorOrFloat32, Use::kInput},
    {"out", Extent::kMatrix, Element::kTensorOrCodes, Use::kRequiredOutput,
     bit(forward_operand::kX) | bit(forward_operand::kResidual)},
    {"rstdOut", Extent::kPerRow, Element::kRstd, Use::kOutput},
    {"residual", Extent::kMatrix, Element::kTensor, Use::kInput, 0, bit(forward_operand::kSum)},
    {"sumOut", Extent::kMatrix, Element::kTensor, Use::kOutput,
     bit(forward_operand::kX) | bit(forward_operand::kResidual), bit(forward_operand::kResidual)},
    {"scaleOut", Extent::kPerRow, Element::kFloat32, Use::kOutput},
    {"gate", Extent::kMatrix, Element::kTensor, Use::kInput},
};

namespace backward_operand {
enum : std::size_t { kDy, kX, kWeight, kRstd, kDx, kDweight, kDsum, kGate, kDgate };
}  // namespace backward_operand

inline constexpr OperandRule kBackwardRules[] = {
    {"dy", Extent::kMatrix, Element::kTensor, Use::kRequiredInput},
    {"x", Extent::kMatrix, Element::kTensor, Use::kRequiredInput},
    {"weight", Extent::kVector, Element::kTensorOrFloat32, Use::kInput},
    {"rstd", Extent::kPerRow, Element::kRstd, Use::kInput},
    {"dxOut", Extent::kMatrix, Element::kTensor, Use::kOutput,
     bit(backward_operand::kDy) | bit(backward_operand::kX) | bit(backward_operand::kDsum)},
    {"dweightOut", Extent::kVector, Element::kTensorOrFloat32, Use::kOutput},
    {"dsum", Extent::kMatrix, Element::kTensor, Use::kInput, 0, bit(backward_operand::kDx)},
    {"gate", Extent::kMatrix, Element::kTensor, Use::kInput},
    {"dgateOut", Extent::kMatrix, Element::kTensor, Use::kOutput, bit(backward_operand::kGate),
     bit(backward_operand::kGate) | bit(backward_operand::kDx)},
};

// The rules of an operation, and masks of the operands that are required, are outputs or need
// others.
class Operation {
 public:
  explicit constexpr Operation(std::span<const OperandRule> rules) : rules_(rules) {
    for (std::size_t i = 0; i < rules.size(); ++i) {
      if (rules[i].is_required()) required_ |= bit(i);
      if (rules[i].is_output()) outputs_ |= bit(i);
      if (rules[i].needs != 0) dependent_ |= bit(i);
    }
  }

  constexpr std::size_t size() const { return rules_.size(); }
  constexpr const OperandRule& operator[](std::size_t index) const { return rules_[index]; }
  constexpr std::span<const OperandRule> rules() const { return rules_; }
  constexpr std::uint32_t all() const { return bit(size()) - 1; }
  constexpr std::uint32_t required() const { return required_; }
  constexpr std::uint32_t outputs() const { return outputs_; }
  constexpr std::uint32_t dependent() const { return dependent_; }

 private:
  std::span<const OperandRule> rules_;
  std::uint32_t required_ = 0;
  std::uint32_t outputs_ = 0;
  std::uint32_t dependent_ = 0;
};

inline constexpr Operation kForward{kForwardRules};
inline constexpr Operation kBackward{kBackwardRules};

// Clears the lowest set bit and returns its index.
inline std::size_t take_bit(std::uint32_t* bits) {
  const auto index = static_cast<std::size_t>(std::countr_zero(*bits));
  *bits &= *bits - 1;
  return index;
}

}  // namespace rmsnorm::napi
