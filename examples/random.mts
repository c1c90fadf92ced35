/** Normally distributed numbers, which depend only on the seed. */
export function normals(seed: number, length: number, scale = 1): Float32Array {
  let state = seed;
  const uniform = () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
  return new Float32Array(length).map(() => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    return scale * radius * Math.cos(2 * Math.PI * uniform());
  });
}
