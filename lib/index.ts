export { rmsNorm, type BackwardResult, type ForwardResult } from './rms-norm';
export {
  RMSNorm,
  type RMSNormBackwardOptions,
  type RMSNormCallOptions,
  type RMSNormOptions,
  type RMSNormResult,
  type RMSNormSum,
} from './module';
export {
  createPlan,
  type Plan,
  type PlanData,
  type PlannedBackward,
  type PlannedForward,
  type PlanOptions,
} from './plan';
export { fromBFloat16, fromFloat16, toBFloat16, toFloat16 } from './convert';
export { cpuVariants, getCpuVariant, getNumThreads, setCpuVariant, setNumThreads } from './cpu';
export { devices, type CudaDevice, type DeviceList, type DeviceName } from './devices';
export { DeviceBuffer, type CopyPartner, type DeviceBufferFromOptions } from './device-buffer';
export type { DeviceDType } from './device-dtype';
export { HostBuffer, type HostArrayOf } from './host-buffer';
export { Stream, type StreamOptions } from './stream';
export { CudaEvent, type CudaEventOptions } from './event';
export { Graph } from './graph';
export type { CudaDeviceName, CudaDeviceOptions } from './cuda';
export { CudaError, type CudaErrorCode, type ErrorCode } from './errors';
export type { DType, Float16ArrayLike, FloatArray, RstdArray } from './dtype';
export type {
  BackwardOptions,
  CastOrder,
  CommonOptions,
  ForwardOptions,
  RmsNormOptions,
} from './options';
export type { AnyInput, DeviceInput, Input, Output, Rstd, TensorLike } from './tensor';
