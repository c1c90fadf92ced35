// Handlers of ld, st, atom and red, for the decoder. Null: the combination is not supported.
#pragma once

#include <string_view>

#include "program.h"

namespace cudasim {

// Between memory elements of `width` bytes and registers of `register_width` bytes, in any space.
Handler load_handler(int width, int register_width, bool extends_sign);
Handler store_handler(int width, int register_width);

// For example ("add", "u32"). `returns`: atom, else red. The handler reads the address from in[0],
// the operand from in[1] and, for cas, the new value from in[2].
Handler atomic_handler(std::string_view operation, std::string_view type, bool returns);

}  // namespace cudasim
