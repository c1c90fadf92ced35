#include "driver.h"

#include <cstdlib>
#include <stdexcept>

namespace cudasim {
namespace {

std::mutex instance_mutex;
std::atomic<Driver*> the_driver{nullptr};

// Context handles are numbers, not addresses, like all handles. As with a real driver, the next
// primary context of a device has the same handle.
constexpr std::uintptr_t kContextHandles = std::uintptr_t{0x50} << 40;

std::uint64_t mixed(std::uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

std::string counted(std::size_t count, const char* thing) {
  return std::to_string(count) + " " + thing + (count == 1 ? "" : "s");
}

}  // namespace

CUcontext& current_context() {
  thread_local CUcontext context = nullptr;
  return context;
}

Driver& Driver::instance() {
  if (Driver* driver = the_driver.load()) return *driver;
  const std::lock_guard lock(instance_mutex);
  if (the_driver.load() == nullptr) {
    the_driver = new Driver(read_options(std::getenv));
    // Stop before static objects that queued work may use are destroyed.
    std::atexit([] {
      Driver& driver = *the_driver.load();
      driver.shut_down = true;
      driver.scheduler.stop();
      driver.report_calls();
    });
  }
  return *the_driver;
}

void Driver::restart(const Options& options) {
  const std::lock_guard lock(instance_mutex);
  delete the_driver.exchange(nullptr);
  the_driver = new Driver(options);
}

Driver::Driver(const Options& options)
    : options(options),
      trace("CUDASIM_TRACE", options.trace),
      call_counts("CUDASIM_CALLS", options.calls),
      scheduler(options.seed, options.patience),
      primaries_(options.devices.size()) {}

std::optional<CUresult> Driver::injected(Call call) {
  if (options.failures.empty() && !call_counts.enabled()) return std::nullopt;
  const auto index = static_cast<std::size_t>(call);
  const std::int64_t number = ++calls_[index];
  const std::int64_t of_any = may_fail(call) ? ++calls_that_may_fail_ : 0;
  for (const Failure& failure : options.failures) {
    const bool counts_any = failure.function == "*";
    if (!counts_any && failure.function != kCallNames[index]) continue;
    if (failure.call == (counts_any ? of_any : number)) return CUresult{failure.error};
  }
  return std::nullopt;
}

void Driver::report_calls() {
  std::vector<std::pair<const char*, std::int64_t>> counts;
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    if (calls_[i] > 0) counts.emplace_back(kCallNames[i], calls_[i]);
  }
  call_counts.calls(counts);
}

bool Driver::is_device(CUdevice device) const {
  return device >= 0 && static_cast<std::size_t>(device) < options.devices.size();
}

ContextPtr Driver::retain(CUdevice device) {
  const std::lock_guard lock(primaries_mutex_);
  const auto index = static_cast<std::size_t>(device);
  Primary& primary = primaries_[index];
  if (primary.context == nullptr) {
    primary.context = std::make_shared<Context>(device, options.devices[index], scheduler, trace);
  }
  ++primary.retains;
  return primary.context;
}

bool Driver::release(CUdevice device) {
  ContextPtr context;
  {
    const std::lock_guard lock(primaries_mutex_);
    Primary& primary = primaries_[static_cast<std::size_t>(device)];
    if (primary.retains == 0) return false;
    if (--primary.retains > 0) return true;
    context = std::move(primary.context);
  }
  end(context);
  return true;
}

void Driver::end(const ContextPtr& context) {
  scheduler.synchronize(context->engine);
  const auto belongs = [&](const auto& object) { return object.context == context; };
  const auto report = [&](std::size_t count, const std::string& what) {
    if (count == 0) return;
    trace.fault(context->device, "leak",
                "device " + std::to_string(context->device) + ": " + what +
                    " still there when its context ended");
  };

  std::size_t bytes = 0;
  std::string list;
  const std::map<CUdeviceptr, std::size_t> allocations = context->allocations();
  for (const auto& [address, size] : allocations) {
    char text[64];
    std::snprintf(text, sizeof text, "%s0x%llx: %zu", list.empty() ? "" : ", ",
                  static_cast<unsigned long long>(address), size);
    bytes += size;
    if (list.size() < 400) list += text;
  }
  report(allocations.size(), counted(allocations.size(), "device allocation") + " of " +
                                 counted(bytes, "byte") + " (" + list + ")");

  const std::size_t blocks = pinned.take_all_of(*context).size();
  report(blocks, counted(blocks, "page-locked allocation"));
  const std::size_t lost_captures = captures.drop_all_of(*context);
  report(lost_captures, counted(lost_captures, "capture"));
  const std::size_t lost_graphs = graphs.take_all(belongs).size();
  report(lost_graphs, counted(lost_graphs, "graph"));
  const std::size_t lost_executables = executables.take_all(belongs).size();
  report(lost_executables, counted(lost_executables, "executable graph"));
  const auto lost_streams = streams.take_all(belongs);
  for (const auto& stream : lost_streams) captures.forget(*stream);
  report(lost_streams.size(), counted(lost_streams.size(), "stream"));
  const std::size_t lost_events = events.take_all(belongs).size();
  report(lost_events, counted(lost_events, "event"));
  functions.take_all([&](const FunctionState& function) { return belongs(*function.module); });
  const std::size_t lost_modules = modules.take_all(belongs).size();
  report(lost_modules, counted(lost_modules, "module"));
  scheduler.remove_engine(context->engine);
}

CUcontext Driver::handle_of(CUdevice device) {
  return reinterpret_cast<CUcontext>(kContextHandles +
                                     16 * (static_cast<std::uintptr_t>(device) + 1));
}

std::optional<CUdevice> Driver::device_of(CUcontext context) const {
  for (CUdevice device = 0; is_device(device); ++device) {
    if (handle_of(device) == context) return device;
  }
  return std::nullopt;
}

ContextPtr Driver::active(CUdevice device) const {
  const std::lock_guard lock(primaries_mutex_);
  return primaries_[static_cast<std::size_t>(device)].context;
}

StreamState Driver::find_stream(CUstream handle, const ContextPtr& current) const {
  // The legacy stream is 0, or 1 (CU_STREAM_LEGACY).
  if (reinterpret_cast<std::uintptr_t>(handle) <= 1) return {current, current->legacy_stream};
  const std::shared_ptr<StreamState> found = streams.find(handle);
  return found == nullptr ? StreamState{} : *found;
}

ContextPtr Driver::owner_of(CUdeviceptr address, std::size_t bytes,
                            const ContextPtr& current) const {
  if (current->find(address, bytes)) return current;
  const std::lock_guard lock(primaries_mutex_);
  for (const Primary& primary : primaries_) {
    if (primary.context != nullptr && primary.context->find(address, bytes)) {
      return primary.context;
    }
  }
  return nullptr;
}

std::uint64_t Driver::next_launch_seed() { return mixed(mixed(options.seed) + ++launches_); }

void Driver::misuse(int device, const std::string& kind, const std::string& message) {
  trace.fault(device, kind, message);
}

void Driver::unknown_handle(int device, const char* call) {
  misuse(device, "invalid-handle",
         std::string(call) + " of a handle that is unknown or was destroyed");
}

}  // namespace cudasim
