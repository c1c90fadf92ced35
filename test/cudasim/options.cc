#include "options.h"

#include <charconv>
#include <limits>
#include <stdexcept>
#include <string_view>

#include "errors.h"

namespace cudasim {
namespace {

constexpr int kMaxDevices = 16;

// An environment variable. It knows its name for error messages.
class Variable {
 public:
  Variable(const Environment& get, const char* name) : name_(name) {
    if (const char* value = get(name)) value_ = value;
  }

  bool is_set() const { return !value_.empty(); }
  const std::string& value() const { return value_; }

  [[noreturn]] void refuse(const std::string& expected) const {
    throw std::invalid_argument(name_ + "=" + value_ + ": expected " + expected);
  }

  std::int64_t integer(std::string_view text, std::int64_t low, std::int64_t high) const {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || number < low || number > high) {
      refuse("an integer from " + std::to_string(low) + " to " + std::to_string(high));
    }
    return number;
  }

  std::int64_t integer(std::int64_t low, std::int64_t high) const {
    return integer(value_, low, high);
  }

  std::vector<std::string_view> items() const {
    std::vector<std::string_view> items;
    std::string_view rest = value_;
    while (!rest.empty()) {
      const std::size_t comma = rest.find(',');
      items.push_back(rest.substr(0, comma));
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
      if (rest.empty()) refuse("no comma at the end");
    }
    return items;
  }

  // The item for a device. The last item also serves all later devices.
  std::string_view item_for(std::size_t device) const {
    const std::vector<std::string_view> all = items();
    return all[std::min(device, all.size() - 1)];
  }

 private:
  std::string name_;
  std::string value_;
};

DeviceModel model_of(const Variable& capability, std::size_t device) {
  const std::string_view text = capability.is_set() ? capability.item_for(device) : "9.0";
  const std::size_t point = text.find('.');
  constexpr const char* kExpected = "7.0 or more, such as 8.6, or one of these for each device";
  if (point == std::string_view::npos) capability.refuse(kExpected);
  try {
    const auto number = [&](std::string_view digits, int most) {
      return static_cast<int>(capability.integer(digits, 0, most));
    };
    return DeviceModel::of(number(text.substr(0, point), 99), number(text.substr(point + 1), 9));
  } catch (const std::invalid_argument&) {
    capability.refuse(kExpected);
  }
}

std::vector<DeviceModel> read_devices(const Environment& get) {
  const Variable count(get, "CUDASIM_DEVICES");
  const Variable capability(get, "CUDASIM_CC");
  const Variable multiprocessors(get, "CUDASIM_SMS");
  const Variable memory(get, "CUDASIM_MEMORY");
  const Variable cache(get, "CUDASIM_CACHE");
  std::vector<DeviceModel> devices;
  const std::int64_t devices_wanted = count.is_set() ? count.integer(0, kMaxDevices) : 1;
  for (std::size_t i = 0; i < static_cast<std::size_t>(devices_wanted); ++i) {
    DeviceModel model = model_of(capability, i);
    if (multiprocessors.is_set()) {
      model.multiprocessors =
          static_cast<int>(multiprocessors.integer(multiprocessors.item_for(i), 1, 1024));
    }
    if (memory.is_set()) {
      model.memory_bytes =
          static_cast<std::size_t>(memory.integer(memory.item_for(i), 1, std::int64_t{1} << 42));
    }
    if (cache.is_set()) {
      model.cache_bytes = static_cast<std::size_t>(cache.integer(cache.item_for(i), 1, 1 << 30));
    }
    devices.push_back(model);
  }
  return devices;
}

// Parses a list of FUNCTION@N:ERROR, separated by commas.
std::vector<Failure> read_failures(const Variable& variable) {
  std::vector<Failure> failures;
  for (const std::string_view item : variable.items()) {
    const std::size_t at = item.find('@');
    const std::size_t colon = item.find(':');
    if (at == std::string_view::npos || colon == std::string_view::npos || colon < at) {
      variable.refuse("FUNCTION@N:ERROR such as cuMemAlloc_v2@3:CUDA_ERROR_OUT_OF_MEMORY");
    }
    Failure failure;
    failure.function = item.substr(0, at);
    if (failure.function != "*" && !is_driver_function(failure.function)) {
      variable.refuse("a driver function that is simulated, or *, not " + failure.function);
    }
    failure.call = variable.integer(item.substr(at + 1, colon - at - 1), 1,
                                    std::numeric_limits<std::int64_t>::max());
    const std::string error(item.substr(colon + 1));
    const ErrorText* text = find_error(error);
    if (text == nullptr || text->code == 0) variable.refuse("the name of an error, not " + error);
    failure.error = text->code;
    failures.push_back(failure);
  }
  return failures;
}

}  // namespace

Options read_options(const Environment& get) {
  Options options;
  options.devices = read_devices(get);
  if (const Variable version(get, "CUDASIM_DRIVER_VERSION"); version.is_set()) {
    options.driver_version = static_cast<int>(version.integer(1000, 99999));
  }
  if (const Variable seed(get, "CUDASIM_SEED"); seed.is_set()) {
    options.seed =
        static_cast<std::uint64_t>(seed.integer(0, std::numeric_limits<std::int64_t>::max()));
  }
  if (const Variable trace(get, "CUDASIM_TRACE"); trace.is_set()) options.trace = trace.value();
  if (const Variable calls(get, "CUDASIM_CALLS"); calls.is_set()) options.calls = calls.value();
  if (const Variable execute(get, "CUDASIM_EXECUTE"); execute.is_set()) {
    options.execute = execute.integer(0, 1) == 1;
  }
  if (const Variable patience(get, "CUDASIM_PATIENCE_US"); patience.is_set()) {
    if (patience.value() == "never") {
      options.patience.reset();
    } else {
      options.patience = std::chrono::microseconds(patience.integer(0, 1'000'000'000));
    }
  }
  if (const Variable fail(get, "CUDASIM_FAIL"); fail.is_set()) {
    options.failures = read_failures(fail);
  }
  return options;
}

}  // namespace cudasim
