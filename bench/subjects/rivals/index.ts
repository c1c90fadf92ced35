import { javascript } from './javascript';
import { layerNorm } from './layer-norm';
import { onnxruntimeRivals } from './onnxruntime';
import { pytorch } from './pytorch';
import type { Rival } from './rival';
import { inChildProcess } from './served';
import { tfjsCpu, tfjsWasm } from './tfjs';
import { unfused } from './unfused';
import { wasmSimd } from './wasm-simd';

/** All rivals of the benchmark. */
export const rivals: readonly Rival[] = [
  javascript,
  wasmSimd,
  unfused,
  ...onnxruntimeRivals.map(inChildProcess),
  layerNorm,
  tfjsWasm,
  tfjsCpu,
  pytorch,
];
