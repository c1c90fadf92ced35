import { fromBFloat16, fromFloat16 } from 'fused-rmsnorm';

import type { Arrays, CodesOf, Elements } from './arrays';
import { caseName, eps, type Case } from './cases';
import { Failure } from '../environment/failure';

/**
 * The results of an operation. A `Uint16Array` holds bits of the case's dtype. Not every subject
 * computes rstd; it is checked if it is present.
 */
export type Answer<Memory = Elements> = Readonly<
  Partial<
    Record<'y' | 'dx' | 'dweight' | 'sum' | 'rstd' | 'scales', Memory> &
      Record<'codes', CodesOf<Memory>>
  >
>;

/** The memory that a case writes to. */
type Outputs<Memory> = Record<'out' | 'sum' | 'dweight' | 'scales', Memory> &
  Record<'codes', CodesOf<Memory>>;

/** The results of a case that are written into existing memory. */
export function answerIn<Memory = Elements>(
  { op }: Case,
  { out, sum, dweight, codes, scales }: Outputs<Memory>,
): Answer<Memory> {
  if (op === 'backward') return { dx: out, dweight };
  if (op === 'quantize') return { codes, scales };
  return op === 'residual' ? { y: out, sum } : { y: out };
}

type Floats = Float32Array | Float64Array;

/** Which norm a subject computes. */
export type Norm = 'rms-norm' | 'layer-norm';

/**
 * The largest error of a result, as a fraction of the largest magnitude in its row. For 16 bits:
 * two roundings, one of xhat or g and one of the result. Rivals choose their own cast order, so it
 * covers both. Otherwise: some tens of roundings, and those of a sum over the row. A sum of one
 * addend at a time accumulates errors as a random walk does.
 */
function toleranceOf({ dtype, hiddenSize }: Case): number {
  if (dtype === 'bfloat16') return 2 ** -7;
  if (dtype === 'float16') return 2 ** -10;
  return (32 + 2 * Math.sqrt(hiddenSize)) * (dtype === 'float32' ? 2 ** -24 : 2 ** -53);
}

/** The int8 code of the largest magnitude in a row. */
const largestCode = 127;

/** The smallest normal float16, and the largest error of rounding a smaller number to float16. */
const smallestFloat16 = 2 ** -14;
const smallError = 2 ** -25;

/** Cases of at most this many elements have all rows checked; larger ones only `checkedRows`. */
const allRowsUpTo = 2 ** 18;
const checkedRows = 16;

/** Checks answers to a case against the formulas in float64. */
export class Verifier {
  readonly #one: Case;
  readonly #arrays: Arrays;
  readonly #tolerance: number;
  #dweight: { readonly values: Float64Array; readonly allowed: Float64Array } | undefined;

  constructor(one: Case, arrays: Arrays) {
    this.#one = one;
    this.#arrays = arrays;
    this.#tolerance = toleranceOf(one);
  }

  /** Throws WrongAnswer if an answer is wrong: times of a wrong answer are worthless. */
  check(subject: string, answer: Answer, norm: Norm = 'rms-norm'): void {
    const { op } = this.#one;
    const compareRow = (name: 'y' | 'dx' | 'sum', r: number, expected: Float64Array) => {
      this.#compare(subject, name, answer[name], r, expected, this.#allowedOf(expected));
    };
    for (const r of rowsToCheck(this.#one)) {
      const x = op === 'residual' ? this.#sum(r) : this.#row(this.#arrays.x, r);
      const weight = this.#row(this.#arrays.weight, 0);
      if (op === 'backward') {
        compareRow('dx', r, backwardRow(this.#row(this.#arrays.dy, r), x, weight));
      } else {
        const y = forwardRow(norm === 'layer-norm' ? centred(x) : x, weight);
        if (op === 'quantize') this.#checkCodes(subject, answer, r, y);
        else compareRow('y', r, op === 'gated' ? this.#gated(y, r) : y);
      }
      if (op === 'residual') compareRow('sum', r, this.#sum(r));
      if (answer.rstd !== undefined) this.#checkRstd(subject, answer.rstd, r, rstdOf(x));
    }
    if (op === 'backward') {
      const { values, allowed } = (this.#dweight ??= this.#expectedDweight());
      this.#compare(subject, 'dweight', answer.dweight, 0, values, allowed);
    }
  }

  /** The allowed error of each element of a row. */
  #allowedOf(row: Float64Array): Float64Array {
    const largest = row.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    // One rounding more: of x + residual, or of y before the gate.
    const { op } = this.#one;
    const roundings = op === 'residual' || op === 'gated' ? 3 : 2;
    return row.map(() => (roundings / 2) * this.#tolerance * largest);
  }

  /** Compares row `r` of a result with the expected values. */
  #compare(
    subject: string,
    name: keyof Answer,
    actual: Elements | undefined,
    r: number,
    expected: Float64Array,
    allowed: Float64Array,
  ): void {
    const { rows, hiddenSize } = this.#one;
    const length = name === 'dweight' ? hiddenSize : rows * hiddenSize;
    this.#checkLength(subject, name, actual, length);
    this.#compareValues(subject, name, this.#row(actual, r), r, expected, allowed);
  }

  #checkLength<A extends Elements | Int8Array>(
    subject: string,
    name: keyof Answer,
    actual: A | undefined,
    length: number,
  ): asserts actual is A {
    if (actual?.length === length) return;
    throw this.#wrong(subject, `${name}, its elements`, actual?.length ?? 'none', length);
  }

  #compareValues(
    subject: string,
    name: keyof Answer,
    row: Floats,
    r: number,
    expected: Float64Array,
    allowed: Float64Array,
  ): void {
    expected.forEach((value, j) => {
      if (Math.abs((row[j] as number) - value) <= (allowed[j] as number)) return;
      throw this.#wrong(subject, `${name} at row ${r}, column ${j}`, row[j] as number, value);
    });
  }

  /** Checks a row's scale and its dequantised codes, which may be off by half a step more. */
  #checkCodes(subject: string, { codes, scales }: Answer, r: number, y: Float64Array): void {
    const { rows, hiddenSize } = this.#one;
    this.#checkLength(subject, 'scales', scales, rows);
    this.#checkLength(subject, 'codes', codes, rows * hiddenSize);
    const allowed = this.#allowedOf(y);
    const largest = y.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    const scale = scales[r] as number;
    if (!(Math.abs(scale - largest / largestCode) <= (allowed[0] as number) / largestCode)) {
      throw this.#wrong(subject, `scales at row ${r}`, scale, largest / largestCode);
    }
    const row = codes.subarray(r * hiddenSize, (r + 1) * hiddenSize);
    const values = Float64Array.from(row, (code) => code * scale);
    const steps = allowed.map((distance) => distance + scale / 2);
    this.#compareValues(subject, 'codes', values, r, y, steps);
  }

  #checkRstd(subject: string, rstd: Elements, r: number, expected: number): void {
    const value = rstd[r] ?? NaN;
    if (Math.abs(value - expected) <= this.#tolerance * expected) return;
    throw this.#wrong(subject, `rstd at row ${r}`, value, expected);
  }

  /**
   * The expected dweight and its allowed error. Terms are rounded independently, so their errors
   * accumulate as a random walk does. The errors of a float32 chain of sums grow with the terms'
   * magnitudes. For float16, an xhat or result below the smallest normal number has a constant
   * error instead.
   */
  #expectedDweight(): { values: Float64Array; allowed: Float64Array } {
    const { rows, hiddenSize, dtype } = this.#one;
    const values = new Float64Array(hiddenSize);
    const squares = new Float64Array(hiddenSize);
    const sizes = new Float64Array(hiddenSize);
    const ofSmall = new Float64Array(hiddenSize).fill(dtype === 'float16' ? smallError : 0);
    for (let r = 0; r < rows; ++r) {
      const x = this.#row(this.#arrays.x, r);
      const dy = this.#row(this.#arrays.dy, r);
      const rstd = rstdOf(x);
      for (let j = 0; j < hiddenSize; ++j) {
        const xhat = (x[j] as number) * rstd;
        const term = (dy[j] as number) * xhat;
        if (dtype === 'float16' && Math.abs(xhat) < smallestFloat16) {
          ofSmall[j] = (ofSmall[j] as number) + smallError * Math.abs(dy[j] as number);
        }
        values[j] = (values[j] as number) + term;
        squares[j] = (squares[j] as number) + term * term;
        sizes[j] = (sizes[j] as number) + Math.abs(term);
      }
    }
    const ofSums = dtype === 'float64' ? 2 ** -50 : 2 ** -23;
    const allowed = values.map((value, j) => {
      const ofTerms = this.#tolerance * Math.sqrt(squares[j] as number);
      const ofCast = (this.#tolerance / 2) * Math.abs(value);
      return ofTerms + ofSums * (sizes[j] as number) + ofCast + (ofSmall[j] as number);
    });
    return { values, allowed };
  }

  #sum(r: number): Float64Array {
    const residual = this.#row(this.#arrays.residual, r);
    const x = this.#row(this.#arrays.x, r);
    return Float64Array.from(x, (value, j) => value + (residual[j] as number));
  }

  #gated(y: Float64Array, r: number): Float64Array {
    const gate = this.#row(this.#arrays.gate, r);
    return y.map((value, j) => value * silu(gate[j] as number));
  }

  #row(elements: Elements, r: number): Floats {
    const { hiddenSize, dtype } = this.#one;
    const row = elements.subarray(r * hiddenSize, (r + 1) * hiddenSize);
    if (!(row instanceof Uint16Array)) return row;
    return dtype === 'bfloat16' ? fromBFloat16(row) : fromFloat16(row);
  }

  #wrong(subject: string, what: string, actual: number | string, expected: number): WrongAnswer {
    return new WrongAnswer(
      `${subject} is wrong at ${caseName(this.#one)}: ${what}: ${actual}, expected ${expected}`,
    );
  }
}

/** A subject does not compute the operation that it is timed for. */
export class WrongAnswer extends Failure {
  override readonly name = 'WrongAnswer';
}

function rowsToCheck({ rows, hiddenSize }: Case): number[] {
  const count = rows * hiddenSize <= allRowsUpTo ? rows : Math.min(rows, checkedRows);
  if (count === 1) return [0];
  return Array.from({ length: count }, (_, i) => Math.round((i * (rows - 1)) / (count - 1)));
}

function rstdOf(x: Floats): number {
  let sum = 0;
  for (const value of x) sum += value * value;
  return 1 / Math.sqrt(sum / x.length + eps);
}

function centred(x: Floats): Float64Array {
  let sum = 0;
  for (const value of x) sum += value;
  return Float64Array.from(x, (value) => value - sum / x.length);
}

function forwardRow(x: Floats, weight: Floats): Float64Array {
  const rstd = rstdOf(x);
  return Float64Array.from(x, (value, j) => value * rstd * (weight[j] as number));
}

function silu(z: number): number {
  return z / (1 + Math.exp(-z));
}

function backwardRow(dy: Floats, x: Floats, weight: Floats): Float64Array {
  const rstd = rstdOf(x);
  const g = Float64Array.from(dy, (value, j) => value * (weight[j] as number));
  const mean = g.reduce((sum, value, j) => sum + value * (x[j] as number) * rstd, 0) / g.length;
  return g.map((value, j) => rstd * (value - (x[j] as number) * rstd * mean));
}
