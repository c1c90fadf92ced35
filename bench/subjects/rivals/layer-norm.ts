// LayerNorm built like this package's RMSNorm: see native/layer_norm.h.

import { getCpuVariant, getNumThreads } from 'fused-rmsnorm';

import { eps } from '../../cases/cases';
import { packageVersion } from '../../environment/package';
import { timed } from '../../measure/measure';
import { loadNative } from '../native';
import { float32, type LoadedRival, type Rival } from './rival';

export const layerNorm: Rival = {
  name: 'layer-norm',
  computes: 'layer-norm',
  description: "LayerNorm with this package's vectors, threads and stores",
  packages: [],
  outputs: ['given'],
  supports: ({ op, dtype }) => op === 'forward' && dtype === 'float32',
  load: () => Promise.resolve(load()),
};

function load(): LoadedRival {
  const native = loadNative();
  return {
    version: packageVersion,
    prepare: (one, arrays) => {
      const x = float32(arrays.x);
      const weight = float32(arrays.weight);
      const y = float32(arrays.out);
      const bias = new Float32Array(one.hiddenSize);
      const threads = getNumThreads();
      const variant = getCpuVariant();
      const call = () => {
        native.layerNorm(x, weight, bias, y, eps, threads, variant);
      };
      return { run: (repeats) => timed(repeats, call), results: () => ({ y }) };
    },
  };
}
