// ld, st, atom and red: handlers for the decoder to choose from, null where there is none.
#pragma once

#include <string_view>

#include "program.h"

namespace cudasim {

// Of elements of `width` bytes to or from registers of `register_width`, for all spaces.
Handler load_handler(int width, int register_width, bool extends_sign);
Handler store_handler(int width, int register_width);

// Such as ("add", "u32"); `returns` for atom, else red. in: address, operand, and for cas the
// value.
Handler atomic_handler(std::string_view operation, std::string_view type, bool returns);

}  // namespace cudasim
