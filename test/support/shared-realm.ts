// The environment of tests that use onnxruntime. onnxruntime checks `instanceof Float32Array` on
// arrays that its addon made outside jest's realm, so the realm needs the classes from outside.

import { TestEnvironment } from 'jest-environment-node';

export default class SharedRealm extends TestEnvironment {
  constructor(...args: ConstructorParameters<typeof TestEnvironment>) {
    super(...args);
    Object.assign(this.global, { Float32Array, Float64Array, Uint16Array });
  }
}
