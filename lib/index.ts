export { rmsNorm, type BackwardResult, type ForwardResult } from './rms-norm';
export { RMSNorm, type RMSNormCallOptions, type RMSNormOptions } from './module';
export { fromBFloat16, fromFloat16, toBFloat16, toFloat16 } from './convert';
export { cpuVariants, getCpuVariant, getNumThreads, setCpuVariant, setNumThreads } from './cpu';
export { devices, type CudaDevice, type DeviceList, type DeviceName } from './devices';
export { CudaError, type CudaErrorCode, type ErrorCode } from './errors';
export type { DType, Float16ArrayLike, FloatArray } from './dtype';
export type {
  BackwardOptions,
  CastOrder,
  CommonOptions,
  ForwardOptions,
  RmsNormOptions,
} from './options';
export type { Input, Output, TensorLike } from './tensor';
