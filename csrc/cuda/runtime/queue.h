// Streams as the objects of JavaScript use them: a queue counts what is put into its stream, so
// that memory can wait for the work that uses it, and knows when it is being captured into a graph.
//
// A queue, and whatever refers to one, belongs to the thread of one JavaScript environment. Marks
// are for any thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <set>
#include <vector>

#include "../driver/device.h"
#include "mark.h"
#include "memory.h"

namespace rmsnorm::cuda {

class Allocation;
class Queue;
class RecordedEvent;

using AllocationPtr = std::shared_ptr<Allocation>;
using QueuePtr = std::shared_ptr<Queue>;

// What is being captured: into a graph, from all streams that take part.
struct Capture {
  std::set<AllocationPtr> used;  // by the captured work
  std::vector<Queue*> queues;    // that take part; the first began
  bool is_active = true;         // false once it has ended or was abandoned
};

class Queue : public std::enable_shared_from_this<Queue> {
 public:
  // Of a stream of its own, or of somebody else's, which must stay until the queue is closed.
  // Errors: kCuda.
  static Status make(Device& device, QueuePtr* queue);
  static Status adopt(Device& device, CUstream stream, QueuePtr* queue);

  explicit Queue(Device& device) : device_(device) {}
  ~Queue() { close(); }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  Device& device() const { return device_; }
  CUstream stream() const { return stream_; }
  // The stream for other libraries. From now on they may begin captures on it that nobody tells us
  // of, so that every call asks the driver.
  CUstream share() {
    is_shared_ = true;
    return stream_;
  }
  bool is_capturing() const { return capture_ != nullptr; }
  // kInvalidState if it is: what is enqueued does not run, and nothing can be waited for. kCuda if
  // an abandoned capture does not end.
  Status refuse_capture();

  // Calls enqueue(), which puts work into stream() that uses the allocations: they stay until it
  // has run, or as long as the graph does that it is captured into. Null allocations are left out.
  // Errors: kInvalidState of a stream that somebody else captures; kDisposed of a closed queue;
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

  // Calls function(stream(), result, data) on a thread of the driver's when all that was enqueued
  // has run or failed; it must not call the driver. Errors: as synchronize; it is not called then.
  Status call_back(CUstreamCallback function, void* data);

  // An event that was recorded by a captured queue draws the waiting one into the capture.
  // Errors: kCuda; kDisposed; kInvalidState of an event of another capture, or of one that has
  // ended.
  Status record(RecordedEvent& event);
  Status wait_for(const RecordedEvent& event);

  // Device memory for the next work that is enqueued, and in turn for the one after it. A graph has
  // its own. Errors: as enqueue.
  Status workspace(std::int64_t bytes, CUdeviceptr* workspace);

  // Until end_capture nothing that is enqueued runs. Errors: kInvalidState if it is being captured
  // already; kDisposed; kCuda.
  Status begin_capture();
  // used: what the graph's work uses. Errors: kInvalidState if the queue began no capture; kCuda.
  // After an error the graph is null, and the capture may still be there: abandon_capture() then.
  Status end_capture(CUgraph* graph, std::set<AllocationPtr>* used);
  // Ends the capture that it takes part in, if any, and drops what there is of a graph. If the
  // driver fails to end it, the next call on any of its queues tries again.
  void abandon_capture() noexcept;

  // A count of what has been enqueued, and a mark that passes when so much has run: null if it has.
  std::uint64_t enqueued() const { return enqueued_; }
  std::shared_ptr<Mark> mark(std::uint64_t enqueued) noexcept;

  // The mark of all that has been enqueued: null if it has run.
  std::shared_ptr<Mark> mark() noexcept { return mark(enqueued_); }

  // Releases the stream, which finishes what it has. Nothing but mark() works after it.
  void close() noexcept;

 private:
  // The stream, and the mark of its last work, which is recorded at the latest when it goes.
  struct OwnStream {
    Stream stream;
    std::shared_ptr<Mark> last;

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
  void leave_endless_capture() noexcept;
  Status prepare_mark();
  bool is_unrecorded() const { return last_mark_ != nullptr && !last_mark_->is_recorded(); }
  void mark_now() noexcept;
  void note_all_passed();
  void retire_workspace();

  Device& device_;
  std::shared_ptr<OwnStream> own_;  // null if the stream is somebody else's
  CUstream stream_ = nullptr;
  bool is_open_ = false;
  bool is_shared_ = false;  // with somebody who may capture it
  std::uint64_t enqueued_ = 0;
  std::uint64_t marked_ = 0;         // how much last_mark_ covers
  std::shared_ptr<Mark> last_mark_;  // null if that has run
  std::shared_ptr<Mark> next_mark_;  // there if not all is marked, so that marking cannot fail
  std::shared_ptr<Capture> capture_;
  AllocationPtr workspace_;
  AllocationPtr captured_workspace_;
};

}  // namespace rmsnorm::cuda
