// Streams as the objects of JavaScript use them: a stream counts what is enqueued on it, so
// that memory can wait for the work that uses it, and knows when it is being captured into a graph.
//
// A stream, and whatever refers to one, belongs to the thread of one JavaScript environment. Fences
// are for any thread.
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

// What is being captured: into a graph, from all streams that take part.
struct Capture {
  std::set<AllocationPtr> used;  // by the captured work
  std::vector<Stream*> streams;  // that take part; the first began
  bool is_active = true;         // false once it has ended or was abandoned
};

class Stream : public std::enable_shared_from_this<Stream> {
 public:
  // With a handle of its own, or over one of another library, which must stay until close().
  // Errors: kCuda.
  static Status make(Device& device, StreamPtr* stream);
  static Status adopt(Device& device, CUstream handle, StreamPtr* stream);
  // One for calls back alone, which come from the stream itself.
  static Status make_side(Device& device, StreamPtr* stream);

  explicit Stream(Device& device) : device_(device) {}
  ~Stream() { close(); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Device& device() const { return device_; }
  CUstream handle() const { return handle_; }
  // The handle for other libraries. From now on they may begin captures on it that nobody tells us
  // of, so that every call asks the driver.
  CUstream share();
  bool is_shared() const { return is_shared_; }
  bool is_capturing() const { return capture_ != nullptr; }
  // kInvalidState if it is: what is enqueued does not run, and nothing can be waited for. kCuda if
  // an abandoned capture does not end.
  Status refuse_capture();

  // Calls enqueue(), which enqueues work on handle() that uses the allocations: they stay until it
  // has run, or as long as the graph does that it is captured into. Null allocations are left out.
  // Errors: kInvalidState of a stream that somebody else captures; kDisposed of a closed stream;
  // what enqueue() returns.
  template <class Enqueue>
  Status enqueue(std::initializer_list<const AllocationPtr*> used, const Enqueue& enqueue) {
    DeviceScope scope;
    RMSNORM_TRY(begin(scope, used));
    return device_.note_fault(enqueue());
  }

  // Errors: kInvalidState during a capture; kDisposed; kCuda, of work that failed, too.
  Status synchronize();
  Status has_passed(bool* has_passed);

  // Calls function(stream, result, data) on a thread of the driver's when all that was enqueued has
  // run or failed; it must not call the driver. What is enqueued later does not wait for the call:
  // it comes from a stream beside this one. Errors: as synchronize; it is not called then.
  Status call_back(CUstreamCallback function, void* data);

  // An event that was recorded by a captured stream draws the waiting one into the capture.
  // Errors: kCuda; kDisposed; kInvalidState of an event of another capture, or of one that has
  // ended.
  Status record(Event& event);
  Status wait_for(const Event& event);

  // Device memory for the next work that is enqueued, and in turn for the one after it. A graph has
  // its own. Errors: as enqueue.
  Status workspace(std::int64_t bytes, CUdeviceptr* workspace);

  // Until end_capture nothing that is enqueued runs. Errors: kInvalidState if it is being captured
  // already; kDisposed; kCuda.
  Status begin_capture();
  // used: what the graph's work uses. Errors: kInvalidState if the stream began no capture; kCuda.
  // After an error the graph is null, and the capture may still be there: abandon_capture() then.
  Status end_capture(CUgraph* graph, std::set<AllocationPtr>* used);
  // Ends the capture that it takes part in, if any, and drops what there is of a graph. If the
  // driver fails to end it, the next call on any of its streams tries again.
  void abandon_capture() noexcept;

  // A count of what has been enqueued, and a fence that passes when so much has run: null if it
  // has.
  std::uint64_t enqueued() const { return enqueued_; }
  std::shared_ptr<Fence> fence(std::uint64_t enqueued) noexcept;

  // The fence of all that has been enqueued: null if it has run.
  std::shared_ptr<Fence> fence() noexcept { return fence(enqueued_); }
  // The same of the calls of call_back().
  std::shared_ptr<Fence> fence_of_calls() noexcept;

  // How far it has come, for other threads, and for what outlives it.
  const StreamOrder& order() const { return *order_; }
  const std::shared_ptr<StreamOrder>& shared_order() const { return order_; }

  // Releases the handle, whose stream finishes what it has. Nothing but fence() works after it.
  void close() noexcept;

 private:
  // Its own handle, and the fence of its last work, which is recorded at the latest when it goes.
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
  Status end_abandoned();
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
  std::shared_ptr<OwnStream> own_;  // null if the stream is somebody else's
  CUstream handle_ = nullptr;
  std::shared_ptr<StreamOrder> order_;
  StreamPtr side_;                            // of call_back(); null before the first
  std::shared_ptr<EventHandle> before_call_;  // for side_ to wait for
  bool is_side_ = false;
  bool is_open_ = false;
  bool is_shared_ = false;  // with somebody who may capture it
  std::uint64_t enqueued_ = 0;
  std::uint64_t fenced_ = 0;           // how much last_fence_ covers
  std::shared_ptr<Fence> last_fence_;  // null if that has run
  std::shared_ptr<Fence> next_fence_;  // there if not all is fenced, so that fencing cannot fail
  std::shared_ptr<Capture> capture_;
  AllocationPtr workspace_;
  AllocationPtr captured_workspace_;
};

}  // namespace rmsnorm::cuda
