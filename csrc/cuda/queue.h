// Streams as the objects of JavaScript use them: a queue counts what is put into its stream, so
// that memory can wait for the work that uses it, and knows when it is being captured into a graph.
//
// A queue, and whatever refers to one, belongs to the thread of one JavaScript environment. Marks
// are for any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <set>
#include <vector>

#include "device.h"
#include "memory.h"

namespace rmsnorm::cuda {

class Allocation;
class Queue;
class RecordedEvent;

using AllocationPtr = std::shared_ptr<Allocation>;
using QueuePtr = std::shared_ptr<Queue>;

// A point in the order of a stream: passed when all that was enqueued before it has run, or never
// will because the context has failed.
class Mark {
 public:
  Mark(Device& device, CUstream stream);  // here and now, within a DeviceScope
  ~Mark();
  Mark(const Mark&) = delete;
  Mark& operator=(const Mark&) = delete;

  bool has_passed();
  void wait();

 private:
  Device& device_;
  Event event_;  // not made if it could not be recorded: then the whole device is waited for
  std::atomic<bool> has_passed_{false};
};

// What is being captured: into a graph, from all streams that take part.
struct Capture {
  std::set<AllocationPtr> kept;  // that the captured work uses
  std::vector<Queue*> queues;    // that take part; the first began
  bool is_active = true;
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
  bool is_capturing() const { return capture_ != nullptr; }
  // kInvalidState if it is: what is enqueued does not run, and nothing can be waited for.
  Status refuse_capture() const;

  // Calls enqueue(), which puts work into stream() that uses the allocations: they stay until it
  // has run, or as long as the graph does that it is captured into. Null allocations are left out.
  // Errors: kInvalidState of a stream that somebody else captures; what enqueue() returns.
  template <class Enqueue>
  Status enqueue(std::initializer_list<const AllocationPtr*> used, const Enqueue& enqueue) {
    DeviceScope scope;
    RMSNORM_TRY(scope.enter(device_));
    RMSNORM_TRY(begin(used));
    return device_.note_fault(enqueue());
  }

  // Errors: kInvalidState during a capture; kCuda, of work that failed, too.
  Status synchronize();
  Status has_passed(bool* has_passed);

  // Calls function(stream(), result, data) on a thread of the driver's when all that was enqueued
  // has run or failed; it must not call the driver. Errors: as synchronize; it is not called then.
  Status call_back(CUstreamCallback function, void* data);

  // An event that was recorded by a captured queue draws the waiting one into the capture.
  // Errors: kCuda; kInvalidState of an event of another capture, or of one that has ended.
  Status record(RecordedEvent& event);
  Status wait_for(const RecordedEvent& event);

  // Device memory for the next work that is enqueued, and in turn for the one after it. A graph has
  // its own. Errors: kCuda.
  Status workspace(std::int64_t bytes, CUdeviceptr* workspace);

  // Until end_capture nothing that is enqueued runs. Errors: kInvalidState if it is being captured
  // already; kCuda.
  Status begin_capture();
  // Null if there was nothing to capture, or an error. kept: what the graph's work uses.
  Status end_capture(CUgraph* graph, std::set<AllocationPtr>* kept);
  // Ends the capture that it takes part in, if any, and lets go of what there is of a graph.
  void abandon_capture();

  // A count of what has been enqueued, and a mark that passes when so much has run: null if it has.
  std::uint64_t enqueued() const { return enqueued_; }
  std::shared_ptr<Mark> mark(std::uint64_t enqueued);

  // Lets go of the stream, which finishes what it has. Nothing but mark() works after it.
  void close();

 private:
  Status begin(std::initializer_list<const AllocationPtr*> used);
  Status check_runs() const;
  Status refuse_foreign_capture() const;
  void mark_now();
  void note_all_passed();
  void retire_workspace();

  Device& device_;
  Stream owned_;
  CUstream stream_ = nullptr;
  bool is_open_ = false;
  bool is_foreign_ = false;
  std::uint64_t enqueued_ = 0;
  std::uint64_t marked_ = 0;         // how much last_mark_ covers
  std::shared_ptr<Mark> last_mark_;  // null if that has run
  std::shared_ptr<Capture> capture_;
  AllocationPtr workspace_;
  AllocationPtr captured_workspace_;
};

}  // namespace rmsnorm::cuda
