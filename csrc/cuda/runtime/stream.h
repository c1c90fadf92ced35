// Streams. A stream numbers the work enqueued on it: 1, 2, 3 …. So memory can wait for the very
// work that uses the memory. A stream also knows when it is being captured into a graph.
//
// A stream, and every object that refers to one, belongs to the thread of one JavaScript
// environment. Any thread may use fences.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <set>
#include <vector>

#include "../driver/device.h"
#include "event.h"
#include "memory.h"
#include "stream_order.h"

namespace rmsnorm::cuda {

class Allocation;
class Stream;

using AllocationPtr = std::shared_ptr<Allocation>;
using StreamPtr = std::shared_ptr<Stream>;

// A capture into a graph, from all streams that take part in it.
struct Capture {
  std::set<AllocationPtr> used;  // by the captured work
  std::vector<Stream*> streams;  // streams that take part; the first began the capture
  bool is_active = true;         // false after the capture has ended or was abandoned
};

class Stream : public std::enable_shared_from_this<Stream> {
 public:
  // make() creates a handle. adopt() uses another library's handle, which must stay valid until
  // close(). Errors: kCuda.
  static Status make(Device& device, StreamPtr* stream);
  static Status adopt(Device& device, CUstream handle, StreamPtr* stream);
  // Makes a stream that is used only for callbacks: its call_back() needs no second stream.
  static Status make_callback_stream(Device& device, StreamPtr* stream);

  explicit Stream(Device& device) : device_(device) {}
  ~Stream() { close(); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Device& device() const { return device_; }
  CUstream handle() const { return handle_; }
  // The handle, for other libraries. They may begin captures on it without our knowledge. So from
  // now on every call asks the driver whether the stream is being captured.
  CUstream share();
  bool is_shared() const { return is_shared_; }
  bool is_capturing() const { return capture_ != nullptr; }
  // kInvalidState if the stream is being captured: enqueued work does not run then and cannot be
  // waited for. kCuda if an abandoned capture does not end.
  Status refuse_capture();

  // Calls enqueue(), which enqueues work on handle() that uses the allocations. These stay until
  // the work has run or, if it is captured, as long as its graph exists. Null allocations are
  // ignored. Errors: kInvalidState if another library is capturing the stream; kDisposed if the
  // stream is closed; kCuda; what enqueue() returns.
  template <class Enqueue>
  Status enqueue(std::initializer_list<const AllocationPtr*> used, const Enqueue& enqueue) {
    DeviceScope scope;
    RMSNORM_TRY(begin(scope, used));
    return device_.note_fault(enqueue());
  }

  // Errors: kInvalidState during a capture; kDisposed; kCuda, also for work that failed.
  Status synchronize();
  Status has_passed(bool* has_passed);

  // Calls function(stream, result, data) on a driver thread when all work enqueued so far has run
  // or failed. The function must not call the driver. Later work does not wait for the function,
  // because a separate stream calls it. Errors: as synchronize; the function is then not called.
  Status call_back(CUstreamCallback function, void* data);

  // A stream that waits for an event of a captured stream joins the capture.
  // Errors: kCuda; kDisposed; kInvalidState if the event belongs to another capture, or to one that
  // has ended.
  Status record(Event& event);
  Status wait_for(const Event& event);

  // Device memory for the next work that is enqueued; later work uses the same memory in turn.
  // During a capture the memory is another block, which the graph keeps. Errors: as enqueue.
  Status workspace(std::int64_t bytes, CUdeviceptr* workspace);

  // From now on until end_capture(), enqueued work does not run but becomes part of a graph.
  // Errors: kInvalidState if the stream is already being captured; kDisposed; kCuda.
  Status begin_capture();
  // `used` receives the memory that the graph's work uses. Errors: kInvalidState if the stream
  // began no capture; kCuda. After an error the graph is null and the capture may still exist: call
  // abandon_capture() then.
  Status end_capture(CUgraph* graph, std::set<AllocationPtr>* used);
  // Ends the capture that the stream takes part in, if any, and drops the unfinished graph. If the
  // driver fails to end the capture, the next call on any stream of the capture tries again.
  void abandon_capture() noexcept;

  // The number of the last enqueued work, and a fence that passes when the work up to number
  // `enqueued` has run. The fence is null if that work has run.
  std::uint64_t enqueued() const { return enqueued_; }
  std::shared_ptr<Fence> fence(std::uint64_t enqueued) noexcept;

  // A fence that passes when all enqueued work has run; null if it has run.
  std::shared_ptr<Fence> fence() noexcept { return fence(enqueued_); }
  // A fence that passes when all functions given to call_back() so far have been called; null if
  // they have been.
  std::shared_ptr<Fence> callback_fence() noexcept;

  // The stream's progress, for other threads and for objects that outlive the stream.
  const StreamOrder& order() const { return *order_; }
  const std::shared_ptr<StreamOrder>& shared_order() const { return order_; }

  // Releases the handle; enqueued work still runs. Afterwards fence(), callback_fence() and order()
  // still work, but calls that use the handle fail with kDisposed.
  void close() noexcept;

 private:
  // A handle of our own and, once the stream is closed, the fence of its last work. The destructor
  // records the fence if it is still unrecorded.
  struct OwnStream {
    StreamHandle handle;
    std::shared_ptr<Fence> last;

    OwnStream() = default;
    OwnStream(const OwnStream&) = delete;
    OwnStream& operator=(const OwnStream&) = delete;
    ~OwnStream();
  };

  Status begin(DeviceScope& scope, std::initializer_list<const AllocationPtr*> used);
  Status enter(DeviceScope& scope);
  Status enter_running(DeviceScope& scope);
  Status check_usable();
  Status end_abandoned_capture();
  void leave_capture() noexcept;
  void reopen_order() noexcept;
  void leave_endless_capture() noexcept;
  Status count_work();
  bool is_unrecorded() const { return last_fence_ != nullptr && !last_fence_->is_recorded(); }
  Status add_callback(CUstreamCallback function, void* data);
  void fence_now() noexcept;
  void note_all_passed();
  void retire_workspace();

  Device& device_;
  std::shared_ptr<OwnStream> own_;  // null for another library's handle
  CUstream handle_ = nullptr;
  std::shared_ptr<StreamOrder> order_;
  StreamPtr callback_stream_;  // calls the functions of call_back(); null before the first
  std::shared_ptr<EventHandle> before_callback_;  // callback_stream_ waits for it before each call
  bool is_callback_stream_ = false;
  bool is_open_ = false;
  bool is_shared_ = false;  // another library has the handle and may capture it
  std::uint64_t enqueued_ = 0;
  std::uint64_t fenced_ = 0;           // number of the last work that last_fence_ covers
  std::shared_ptr<Fence> last_fence_;  // null if that work has run
  std::shared_ptr<Fence> next_fence_;  // made before the work it covers: making a fence can fail
  std::shared_ptr<Capture> capture_;
  AllocationPtr workspace_;
  AllocationPtr captured_workspace_;  // for the current capture
};

}  // namespace rmsnorm::cuda
