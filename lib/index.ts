export { rmsNorm } from './rms-norm';
export type { BackwardResult, ForwardResult, RmsNorm } from './rms-norm-types';
export { RMSNorm } from './module';
export type {
  RMSNormCallOptions,
  RMSNormJSON,
  RMSNormOptions,
  RMSNormResult,
  RMSNormSum,
  Vjp,
  VjpBackwardOptions,
  WeightArray,
  WeightData,
  WeightGrad,
} from './module-options';
export { createPlan } from './plan';
export type {
  Plan,
  PlanData,
  PlanDWeight,
  PlanGradients,
  PlannedBackward,
  PlannedForward,
  PlanOptions,
  PlanOutput,
} from './plan-types';
export { allocate, type ArrayOf } from './allocate';
export {
  fromBFloat16,
  fromFloat16,
  fromFloat8,
  toBFloat16,
  toFloat16,
  toFloat8,
  type Float8DType,
} from './convert';
export { dequantize, type DequantizeOptions } from './dequantize';
export {
  cpuVariants,
  getCpuVariant,
  getNumThreads,
  getNumThreadsSource,
  setCpuVariant,
  setNumThreads,
  type NumThreadsSource,
} from './settings';
export { devices, type CudaDevice, type DeviceList, type DeviceName } from './gpu/devices';
export { DeviceBuffer, type CopyPartner, type DeviceBufferFromOptions } from './gpu/device-buffer';
export { HostBuffer, type HostArrayOf } from './gpu/host-buffer';
export { CudaEvent, Stream, type CudaEventOptions, type StreamOptions } from './gpu/stream';
export { Graph } from './gpu/graph';
export { emptyCache, type CudaDeviceName, type CudaDeviceOptions } from './gpu/cuda';
export { CudaError, type CudaErrorCode, type ErrorCode } from './core/errors';
export type {
  BufferDType,
  CodeArray,
  DeviceDType,
  DType,
  Float16ArrayLike,
  FloatArray,
  QuantizedDType,
  RstdArray,
} from './core/dtype';
export type {
  BackwardOptions,
  CastOrder,
  CommonOptions,
  ForwardOptions,
  GateOptions,
  GateOrder,
  RmsNormOptions,
} from './call/options';
export type {
  AnyInput,
  DeviceInput,
  ForeignTensor,
  Input,
  Output,
  QuantizedOutput,
  Rstd,
  Scale,
  TensorLike,
} from './call/tensor';
