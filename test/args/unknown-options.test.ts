// Suggestions in the message about an unknown option.

import { rmsNorm, RMSNorm } from '../../lib';
import { errorOf } from '../support/support';

const x = new Float32Array(4);
const messageOf = (name: string) => errorOf(() => rmsNorm(x, x, { [name]: undefined })).message;
const all =
  'The options are eps, weightOffset, castOrder, normalizedShape, dtype, device, stream, out, ' +
  'residual, sumOut, gate, gateOrder';

test.each([
  ['epsilon', 'eps'],
  ['EPS', 'eps'],
  ['epss', 'eps'],
  ['weight_offset', 'weightOffset'],
  ['offset', 'weightOffset'],
  ['castorder', 'castOrder'],
  ['normalized_shape', 'normalizedShape'],
  ['normalisedShape', 'normalizedShape'],
  ['shape', 'normalizedShape'],
  ['dytpe', 'dtype'],
  ['residualIn', 'residual'],
  ['output', 'out'],
])('the message about %s suggests %s', (name, meant) => {
  expect(messageOf(name)).toBe(`Unknown option '${name}'; did you mean '${meant}'? ${all}`);
});

test.each(['bias', 'e', '', 'inplace', '0', "it's", 'x'.repeat(64)])(
  "the message about '%s' suggests nothing",
  (name) => {
    expect(messageOf(name).endsWith(`. ${all}`)).toBe(true);
  },
);

test('the message is short for a name of any length', () => {
  expect(messageOf('e'.repeat(1e6)).length).toBeLessThan(400);
});

test('the message of a module suggests an option of the module', () => {
  const error = errorOf(() => new RMSNorm(4, { elementwise_affine: false } as object));
  expect(error.message).toContain("'elementwise_affine'; did you mean 'elementwiseAffine'?");
});
