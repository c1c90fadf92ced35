import path from 'node:path';

import { packageRoot } from '../../environment/package';

/** What onnxruntime's operators are asked to compute. */
export const modelTypes = ['float32', 'float16'] as const;
export type ModelType = (typeof modelTypes)[number];

/** Where the model of an operator is. */
export function modelFile(opType: string, type: ModelType): string {
  return path.join(packageRoot, 'dist/bench/rivals', `${opType}.${type}.onnx`);
}
