// Whether the installed package loads.

import { makeApplication, outputOf, removeFolders } from './application';

afterAll(removeFolders);

const program = `
const y = rmsNorm(new Float32Array([3, 4]), new Float32Array([1, 1]));
console.log(y[0].toFixed(4));`;

test('an application requires it', () => {
  const folder = makeApplication({
    'app.cjs': `const { rmsNorm } = require('fused-rmsnorm');${program}`,
  });
  expect(outputOf(folder, process.execPath, ['app.cjs'])).toBe('0.8485\n');
});
