import { javascript } from './javascript';
import { layerNorm } from './layer-norm';
import { onnxruntime, onnxruntimeLayerNorm } from './onnxruntime';
import { pytorch } from './pytorch';
import type { Rival } from './rival';
import { tfjsCpu, tfjsWasm } from './tfjs';
import { wasmSimd } from './wasm-simd';

/** All that the benchmark knows. */
export const rivals: readonly Rival[] = [
  javascript,
  wasmSimd,
  onnxruntime,
  onnxruntimeLayerNorm,
  layerNorm,
  tfjsWasm,
  tfjsCpu,
  pytorch,
];
