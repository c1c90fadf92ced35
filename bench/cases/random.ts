// Pseudo-random numbers, the same in every run.

/** Fills an array with numbers in [-2, 2), and returns it. */
export function fillRandom<A extends Float32Array | Float64Array>(array: A, seed: number): A {
  let state = seed;
  for (let i = 0; i < array.length; ++i) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    array[i] = state / 2 ** 30;
  }
  return array;
}

/** Makes a function that returns random integers from 0 to below `limit`. */
export function randomNumbers(): (limit: number) => number {
  let state = 1;
  return (limit) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % limit;
  };
}
