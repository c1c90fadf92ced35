// Device memory, page-locked memory and pointers.
#include <cstring>

#include "driver.h"

namespace cudasim {
namespace {

std::string hex(std::uint64_t address) {
  char text[20];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(address));
  return text;
}

// Each attribute has its own type. The caller provides memory for a value of that type.
template <class Value>
CUresult give(void* out, Value value) {
  std::memcpy(out, &value, sizeof value);
  return CUDA_SUCCESS;
}

// The attributes of a pointer. Host and device memory share one address space, so `start` may be
// the address of page-locked memory.
struct Pointed {
  CUmemorytype type = CU_MEMORYTYPE_DEVICE;
  ContextPtr context;  // null: unknown memory
  CUdeviceptr start = 0;
  std::size_t bytes = 0;
};

Pointed pointed(const Driver& driver, CUdeviceptr pointer, const ContextPtr& current) {
  if (const ContextPtr owner = driver.owner_of(pointer, 1, current)) {
    if (const std::optional<Context::Range> range = owner->find(pointer, 1)) {
      return {CU_MEMORYTYPE_DEVICE, owner, range->first, range->second};
    }
  }
  const PinnedPtr block = driver.pinned.find(reinterpret_cast<const void*>(pointer));
  if (block == nullptr) return {};
  return {CU_MEMORYTYPE_HOST, block->context, reinterpret_cast<CUdeviceptr>(block->data),
          block->bytes};
}

}  // namespace

CUresult cuMemAlloc_v2(CUdeviceptr* pointer, std::size_t bytes) {
  return call_context(Call::cuMemAlloc_v2, [&](Driver&, const ContextPtr& context) {
    if (pointer == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
    const CUdeviceptr address = context->allocate(bytes);
    if (address == 0) return CUDA_ERROR_OUT_OF_MEMORY;
    *pointer = address;
    return CUDA_SUCCESS;
  });
}

CUresult cuMemFree_v2(CUdeviceptr pointer) {
  return call_context(
      Call::cuMemFree_v2,
      [&](Driver& driver, const ContextPtr& current) {
        const ContextPtr owner = driver.owner_of(pointer, 1, current);
        // Wait for all work that may use the memory, as a real driver does.
        if (owner != nullptr) driver.scheduler.synchronize(owner->engine);
        if (owner == nullptr || !owner->free(pointer)) {
          driver.misuse(current->device, "invalid-free",
                        "cuMemFree of " + hex(pointer) + ", where no live allocation begins");
          return CUDA_ERROR_INVALID_VALUE;
        }
        return owner->error();
      },
      IfFailed::kTakeDown);
}

CUresult cuMemGetInfo_v2(std::size_t* available, std::size_t* total) {
  return call_context(Call::cuMemGetInfo_v2, [&](Driver&, const ContextPtr& context) {
    if (available == nullptr || total == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *available =
        context->with_memory([](const DeviceMemory& memory) { return memory.free_bytes(); });
    *total = context->model.memory_bytes;
    return CUDA_SUCCESS;
  });
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr* start, std::size_t* bytes, CUdeviceptr pointer) {
  return call_context(Call::cuMemGetAddressRange_v2,
                      [&](Driver& driver, const ContextPtr& current) {
                        const Pointed found = pointed(driver, pointer, current);
                        if (found.context == nullptr || found.type != CU_MEMORYTYPE_DEVICE) {
                          return CUDA_ERROR_NOT_FOUND;
                        }
                        if (start != nullptr) *start = found.start;
                        if (bytes != nullptr) *bytes = found.bytes;
                        return CUDA_SUCCESS;
                      });
}

CUresult cuPointerGetAttribute(void* value, CUpointer_attribute attribute, CUdeviceptr pointer) {
  return call_context(Call::cuPointerGetAttribute,
                      [&](Driver& driver, const ContextPtr& current) -> CUresult {
                        const Pointed found = pointed(driver, pointer, current);
                        if (value == nullptr || found.context == nullptr)
                          return CUDA_ERROR_INVALID_VALUE;
                        switch (static_cast<int>(attribute)) {
                          case CU_POINTER_ATTRIBUTE_CONTEXT:
                            return give(value, Driver::handle_of(found.context->device));
                          case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
                            return give(value, found.type);
                          case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
                            return give(value, found.context->device);
                          case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
                            return give(value, found.type == CU_MEMORYTYPE_DEVICE ? 1 : 0);
                          case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
                            return give(value, found.start);
                          case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
                            return give(value, found.bytes);
                        }
                        return CUDA_ERROR_INVALID_VALUE;
                      });
}

CUresult cuMemHostAlloc(void** pointer, std::size_t bytes, unsigned flags) {
  return call_context(Call::cuMemHostAlloc, [&](Driver& driver, const ContextPtr& context) {
    if (pointer == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
    if ((flags & ~CU_MEMHOSTALLOC_PORTABLE) != 0) return CUDA_ERROR_NOT_SUPPORTED;
    const PinnedPtr block = driver.pinned.allocate(bytes, context);
    if (block == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
    *pointer = block->data;
    return CUDA_SUCCESS;
  });
}

CUresult cuMemFreeHost(void* pointer) {
  return call_context(
      Call::cuMemFreeHost,
      [&](Driver& driver, const ContextPtr& current) {
        const PinnedPtr block = driver.pinned.take(pointer);
        if (block == nullptr) {
          driver.misuse(current->device, "invalid-free",
                        "cuMemFreeHost of " + hex(reinterpret_cast<std::uintptr_t>(pointer)) +
                            ", where no page-locked memory begins");
          return CUDA_ERROR_INVALID_VALUE;
        }
        // No documentation says that cuMemFreeHost waits for copies, so code must not rely on it.
        if (block.use_count() > 1) {
          current->fail(Fault("freed-in-flight",
                              "cuMemFreeHost of page-locked memory that a queued copy still uses"));
        }
        return current->error();
      },
      IfFailed::kTakeDown);
}

}  // namespace cudasim
