// Where memory of results comes from in runtimes that this machine does not have: the functions of
// Node-API that napi/output_memory.cc calls are here, and do as such a runtime's would.

#include "napi/output_memory.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <deque>
#include <string>

struct napi_value__ {
  enum class Kind { kUndefined, kNumber, kArrayBuffer, kFunction, kGlobal };
  Kind kind = Kind::kUndefined;
  void* data = nullptr;
  std::size_t length = 0;
  bool is_external = false;
};

namespace {

using Kind = napi_value__::Kind;

// What ArrayBuffer.prototype.transfer is, and does.
enum class Transfer { kMissing, kMoves, kThrows, kReturnsOther };

struct Runtime {
  napi_status external = napi_ok;
  Transfer transfer = Transfer::kMissing;
  bool has_room = true;  // for ordinary ArrayBuffers

  std::deque<napi_value__> values;
  int externals = 0;  // asked for
  napi_finalize finalize = nullptr;
  void* hint = nullptr;
  bool has_exception = false;

  napi_value make(napi_value__ value) { return &values.emplace_back(value); }

  napi_value throws() {
    has_exception = true;
    return nullptr;
  }

  ~Runtime() {
    for (const napi_value__& value : values) {
      if (value.kind == Kind::kArrayBuffer && !value.is_external) std::free(value.data);
    }
  }
};

Runtime* runtime = nullptr;

}  // namespace

napi_status napi_create_external_arraybuffer(napi_env, void* data, std::size_t length,
                                             napi_finalize finalize, void* hint,
                                             napi_value* result) {
  ++runtime->externals;
  if (runtime->external != napi_ok) return runtime->external;
  runtime->finalize = finalize;
  runtime->hint = hint;
  *result = runtime->make({Kind::kArrayBuffer, data, length, true});
  return napi_ok;
}

napi_status napi_is_arraybuffer(napi_env, napi_value value, bool* result) {
  *result = value->kind == Kind::kArrayBuffer;
  return napi_ok;
}

napi_status napi_get_arraybuffer_info(napi_env, napi_value value, void** data,
                                      std::size_t* length) {
  *data = value->data;
  *length = value->length;
  return napi_ok;
}

napi_status napi_get_and_clear_last_exception(napi_env, napi_value* exception) {
  runtime->has_exception = false;
  *exception = runtime->make({});
  return napi_ok;
}

napi_status napi_get_named_property(napi_env, napi_value object, const char* name,
                                    napi_value* result) {
  const bool is_missing =
      object->kind == Kind::kArrayBuffer && runtime->transfer == Transfer::kMissing;
  CHECK(std::string(name) == (object->kind == Kind::kGlobal ? "ArrayBuffer" : "transfer"));
  *result = runtime->make({is_missing ? Kind::kUndefined : Kind::kFunction});
  return napi_ok;
}

napi_status napi_typeof(napi_env, napi_value value, napi_valuetype* result) {
  *result = value->kind == Kind::kFunction ? napi_function : napi_undefined;
  return napi_ok;
}

napi_status napi_call_function(napi_env, napi_value self, napi_value, std::size_t,
                               const napi_value*, napi_value* result) {
  if (runtime->transfer == Transfer::kThrows) {
    runtime->throws();
    return napi_pending_exception;
  }
  *result = runtime->make(*self);
  if (runtime->transfer == Transfer::kMoves) *self = {Kind::kArrayBuffer};
  if (runtime->transfer == Transfer::kReturnsOther) (*result)->length = 8;
  return napi_ok;
}

napi_status napi_create_double(napi_env, double value, napi_value* result) {
  *result = runtime->make({Kind::kNumber, nullptr, static_cast<std::size_t>(value)});
  return napi_ok;
}

napi_status napi_get_global(napi_env, napi_value* result) {
  *result = runtime->make({Kind::kGlobal});
  return napi_ok;
}

napi_status napi_new_instance(napi_env, napi_value, std::size_t, const napi_value* arguments,
                              napi_value* result) {
  if (!runtime->has_room) {
    runtime->throws();
    return napi_pending_exception;
  }
  const std::size_t length = arguments[0]->length;
  *result = runtime->make({Kind::kArrayBuffer, std::malloc(length), length});
  return napi_ok;
}

namespace rmsnorm::napi {
namespace {

constexpr std::int64_t kBytes = 4 << 20;

// The memory of an output of so many bytes if the pool lent it, else null.
void* recycled(std::int64_t bytes = kBytes) {
  napi_value buffer = nullptr;
  void* data = nullptr;
  REQUIRE(make_output(nullptr, bytes, &buffer, &data).ok());
  CHECK(buffer->kind == Kind::kArrayBuffer);
  CHECK(buffer->data == data);
  CHECK(buffer->length == static_cast<std::size_t>(bytes));
  CHECK_FALSE(runtime->has_exception);
  static_cast<char*>(data)[0] = static_cast<char*>(data)[bytes - 1] = 1;
  return buffer->is_external ? data : nullptr;
}

struct Run : Runtime {
  Run() { runtime = this; }
};

TEST_CASE_FIXTURE(Run, "Memory of small results, and where there is none, is the runtime's") {
  CHECK(recycled(kLeastRecycledBytes - 1) == nullptr);
  CHECK(externals == 0);
  has_room = false;
  napi_value buffer = nullptr;
  void* data = nullptr;
  CHECK(make_output(nullptr, 1000, &buffer, &data).code() == Code::kOutOfMemory);
  CHECK(make_output(nullptr, std::int64_t{1} << 50, &buffer, &data).code() == Code::kOutOfMemory);
  CHECK_FALSE(has_exception);
}

#if defined(__linux__)

TEST_CASE_FIXTURE(Run, "Finalized memory is that of the next result") {
  void* const first = recycled();
  void* const second = recycled();
  REQUIRE(first != nullptr);
  REQUIRE(second != nullptr);
  CHECK(first != second);
  finalize(nullptr, second, hint);
  CHECK(recycled() == second);
  finalize(nullptr, first, hint);
  finalize(nullptr, second, hint);
}

TEST_CASE_FIXTURE(Run, "A runtime that can transfer gives a transferred buffer") {
  transfer = Transfer::kMoves;
  CHECK(recycled() != nullptr);
  CHECK(externals == 1);
}

TEST_CASE_FIXTURE(Run, "A transfer that fails, or is none, leaves memory of the runtime") {
  for (const Transfer other : {Transfer::kThrows, Transfer::kReturnsOther}) {
    transfer = other;
    CHECK(recycled() == nullptr);
  }
  CHECK(externals == 2);
}

TEST_CASE_FIXTURE(Run, "A runtime that fails to make an external buffer is asked again") {
  external = napi_generic_failure;
  CHECK(recycled() == nullptr);
  external = napi_ok;
  CHECK(recycled() != nullptr);
}

// The last: it holds for the process.
TEST_CASE_FIXTURE(Run, "A runtime without external buffers is asked once") {
  external = napi_no_external_buffers_allowed;
  CHECK(recycled() == nullptr);
  CHECK(recycled() == nullptr);
  CHECK(externals == 1);
  external = napi_ok;
  CHECK(recycled() == nullptr);
  CHECK(externals == 1);
}

#endif

}  // namespace
}  // namespace rmsnorm::napi
