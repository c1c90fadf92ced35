// npm run build:models: the models of rivals/onnxruntime.ts, into the folder it reads them from.

import { writeFileSync } from 'node:fs';

import { eps as epsilon } from '../../../cases/cases';
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

for (const node of nodes) {
  for (const type of modelTypes) {
    writeFileSync(modelFile(node.opType, type), modelOf({ ...node, type }));
  }
}
