// The environment of tests that use onnxruntime: it checks `instanceof Float32Array` on arrays that
// its addon made outside of jest's realm, so that the realm must have the classes from there.

import { TestEnvironment } from 'jest-environment-node';

export default class SharedRealm extends TestEnvironment {
  constructor(...args: ConstructorParameters<typeof TestEnvironment>) {
    super(...args);
    Object.assign(this.global, { Float32Array, Float64Array, Uint16Array });
  }
}
