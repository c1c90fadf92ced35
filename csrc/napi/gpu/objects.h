// What the addon exports of GPUs.
#pragma once

#include <node_api.h>

#include "../method.h"

namespace rmsnorm::napi {

// A class of objects: the tag that they carry, and the functions over them.
struct ObjectClass {
  napi_type_tag tag;
  Methods methods;
};
extern const ObjectClass kDeviceBuffers;
extern const ObjectClass kHostBuffers;
extern const ObjectClass kStreams;
extern const ObjectClass kEvents;
extern const ObjectClass kGraphs;

// The functions over devices.
extern const Methods kDeviceMethods;

// Gives the exports `devices` and `cuda` of binding.d.ts.
void export_gpu(napi_env env, napi_value exports);

}  // namespace rmsnorm::napi
