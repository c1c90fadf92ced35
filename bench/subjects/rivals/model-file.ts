import path from 'node:path';

import { packageRoot } from '../../environment/package';

/** The dtypes of onnxruntime's models. */
export const modelTypes = ['float32', 'float16'] as const;
export type ModelType = (typeof modelTypes)[number];

/** The file of an operator's model. */
export function modelFile(opType: string, type: ModelType): string {
  return path.join(packageRoot, 'dist/bench/rivals', `${opType}.${type}.onnx`);
}
