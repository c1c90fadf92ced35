// npm run build:models: writes the models of rivals/onnxruntime.ts into the folder it reads them
// from. Also writes the model of an example, which is in the repository: it has the same bytes each
// time.

import { writeFileSync } from 'node:fs';
import path from 'node:path';

import { eps as epsilon } from '../../../cases/cases';
import { packageRoot } from '../../../environment/package';
import { modelFile, modelTypes } from '../model-file';
import { modelOf, type OnnxNode } from './onnx';

const nodes: readonly Omit<OnnxNode, 'type'>[] = [
  {
    ...{ opType: 'SimplifiedLayerNormalization', domain: '', axis: -1, epsilon },
    ...{ input: ['x', 'weight'], output: ['y'] },
  },
  {
    ...{ opType: 'SkipSimplifiedLayerNormalization', domain: 'com.microsoft', epsilon },
    ...{ input: ['x', 'residual', 'weight'], output: ['y', '', '', 'sum'] },
  },
  {
    ...{ opType: 'LayerNormalization', domain: '', axis: -1, epsilon },
    ...{ input: ['x', 'weight', 'bias'], output: ['y'] },
  },
];

const product: OnnxNode = {
  ...{ opType: 'MatMul', domain: '', type: 'float32', input: ['a', 'b'], output: ['y'] },
};
writeFileSync(path.join(packageRoot, 'examples/matmul.onnx'), modelOf(product));

for (const node of nodes) {
  for (const type of modelTypes) {
    writeFileSync(modelFile(node.opType, type), modelOf({ ...node, type }));
  }
}
