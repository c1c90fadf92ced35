// Promises that settle when a stream has passed. The driver calls back on a thread of its own, and
// a threadsafe function of Node.js's brings the news to the thread of JavaScript: nobody is
// blocked. Pending promises keep the event loop alive.
#pragma once

#include <node_api.h>

#include <memory>
#include <set>

#include "../cuda/queue.h"
#include "../status.h"

namespace rmsnorm::napi {

// What is left to be done on JavaScript's thread, and what must stay until then.
class Completion {
 public:
  virtual ~Completion() = default;
  // Called once the stream has passed without an error; its error rejects the promise.
  virtual Status finish(napi_env env) = 0;
};

class Promises {
 public:
  explicit Promises(napi_env env);
  ~Promises();
  Promises(const Promises&) = delete;
  Promises& operator=(const Promises&) = delete;

  // Errors: kInvalidState if the environment has no room for it; none of the others work then.
  Status open();
  bool is_open() const { return mailbox_ != nullptr; }

  // A promise of undefined. It settles when what the queue holds now has run, or with the error
  // that keeps it from doing so. `completion` may be null.
  Status when_passed(cuda::Queue& queue, std::unique_ptr<Completion> completion,
                     napi_value* promise);

  // For the end of the environment: what is pending stays so.
  void close();

 private:
  struct Pending;
  class Mailbox;

  static void called_back(cuda::CUstream stream, cuda::CUresult result, void* data);
  static void settle(napi_env env, napi_value callback, void* context, void* data);

  napi_env env_;
  std::shared_ptr<Mailbox> mailbox_;
  napi_threadsafe_function function_ = nullptr;
  std::set<Pending*> pending_;
};

}  // namespace rmsnorm::napi
