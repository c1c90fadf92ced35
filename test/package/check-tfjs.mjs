// Checks that fused-rmsnorm/tfjs works on the tensors of @tensorflow/tfjs-core.

import assert from 'node:assert/strict';

import { env, ones } from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { rmsNorm } from 'fused-rmsnorm/tfjs';

env().set('IS_TEST', true); // no advertisement
const y = rmsNorm(ones([2, 4]), ones([4]), { eps: 3 }).dataSync();
assert.deepEqual([...y], Array(8).fill(0.5));
console.log('fused-rmsnorm/tfjs computes');
