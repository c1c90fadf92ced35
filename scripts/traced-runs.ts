// Runs calls on a simulated GPU (test/cudasim), and reads its counts for each launch.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import type { DType, GateOrder, QuantizedDType } from '../lib';
import { readTrace, type LaunchLine, type TraceLine } from '../bench/gpu/trace';
import { printedBy, simulator } from '../test/support/processes';

/** A call of the public API. */
export interface Run {
  readonly direction: 'forward' | 'backward';
  readonly rows: number;
  readonly hiddenSize: number;
  readonly dtype: DType;
  /** Default: `dtype`. */
  readonly weightDtype?: DType;
  /** Whether forward has a residual, and backward a `dsum`. */
  readonly residual?: true;
  readonly gate?: GateOrder;
  /** Default: the default of the API. */
  readonly castOrder?: 'float';
  /** In forward only: y is quantised, with a scale for each row. */
  readonly quantize?: QuantizedDType;
}

type Line = TraceLine | { readonly type: 'run'; readonly index: number };

/** A launch, and the call it belongs to. */
export type Launch = Omit<LaunchLine, 'type'> & { readonly run: Run };

/** Bytes that the threads request, over all buffers. */
export function requestedBytes({ buffers }: Launch): number {
  const bytes = buffers.map((buffer) => buffer.bytes_read + buffer.bytes_written);
  return bytes.reduce((sum, count) => sum + count, 0);
}

/**
 * A program that makes these calls on the GPU, and prints a hash of the results of each. It writes a
 * line into the trace before each call, to separate the launches of the calls.
 */
function programOf(runs: readonly Run[]): string {
  return `
    const { createHash } = require('node:crypto');
    const { appendFileSync } = require('node:fs');
    const trace = process.env.CUDASIM_TRACE;
    const array = (dtype, length, step) => {
      if (dtype === 'float32') {
        return Float32Array.from({ length }, (_, i) => ((i * step) % 2039) / 1024 - 1);
      }
      // Between 2^-7 and 2 as bfloat16, between 1 and 2 as float16, of both signs.
      const bits = (i) => 0x3c00 | (i * step) % 1021 | (i % 3 === 0 ? 0x8000 : 0);
      return Uint16Array.from({ length }, (_, i) => bits(i));
    };
    for (const [index, run] of ${JSON.stringify(runs)}.entries()) {
      const { direction, rows, hiddenSize, dtype, weightDtype = dtype } = run;
      const isForward = direction === 'forward';
      const x = array(dtype, rows * hiddenSize, 7919);
      const weight = array(weightDtype, hiddenSize, 104729);
      const options = { device: 'cuda', ...(dtype === 'float32' ? {} : { dtype }) };
      if (run.castOrder) options.castOrder = run.castOrder;
      if (run.quantize) options.quantize = run.quantize;
      if (run.residual) {
        options[isForward ? 'residual' : 'dsum'] = array(dtype, rows * hiddenSize, 15485863);
      }
      if (run.gate) {
        options.gate = array(dtype, rows * hiddenSize, 32452843);
        options.gateOrder = run.gate;
      }
      const dy = array(dtype, rows * hiddenSize, 1299709);
      const rstd = Float32Array.from({ length: rows }, (_, i) => 1 + (i % 7) / 8);
      if (trace) appendFileSync(trace, JSON.stringify({ type: 'run', index }) + '\\n');
      const results = isForward
        ? lib.rmsNorm.forward(x, weight, options)
        : lib.rmsNorm.backward(dy, x, weight, rstd, options);
      const hash = createHash('sha256');
      for (const result of Object.values(results)) {
        if (result !== null) hash.update(new Uint8Array(result.buffer));
      }
      print(hash.digest('hex'));
    }`;
}

/**
 * The same calls on uninitialised GPU memory, for a simulated GPU that executes nothing. A call may be
 * as large as the GPU's memory.
 */
function dryProgramOf(runs: readonly Run[]): string {
  return `
    const { appendFileSync } = require('node:fs');
    const trace = process.env.CUDASIM_TRACE;
    for (const [index, run] of ${JSON.stringify(runs)}.entries()) {
      const { direction, rows, hiddenSize, dtype, weightDtype = dtype } = run;
      const buffers = [];
      const buffer = (length, type) => {
        buffers.push(new lib.DeviceBuffer(length, type));
        return buffers.at(-1);
      };
      const isForward = direction === 'forward';
      const x = buffer(rows * hiddenSize, dtype);
      const weight = buffer(hiddenSize, weightDtype);
      const options = run.castOrder ? { castOrder: run.castOrder } : {};
      if (run.residual) {
        options[isForward ? 'residual' : 'dsum'] = buffer(rows * hiddenSize, dtype);
      }
      if (run.gate) {
        options.gate = buffer(rows * hiddenSize, dtype);
        options.gateOrder = run.gate;
      }
      const dy = isForward ? null : buffer(rows * hiddenSize, dtype);
      const rstd = isForward ? null : buffer(rows, 'float32');
      if (trace) appendFileSync(trace, JSON.stringify({ type: 'run', index }) + '\\n');
      const results = isForward
        ? lib.rmsNorm.forward(x, weight, options)
        : lib.rmsNorm.backward(dy, x, weight, rstd, options);
      lib.Stream.default().synchronize();
      for (const result of Object.values(results)) result?.dispose();
      for (const one of buffers) one.dispose();
      print(null);
    }`;
}

// Copies a whole matrix as one chunk, so that one launch processes it.
const environment = { RMSNORM_LIBCUDA: simulator, RMSNORM_CUDA_CHUNK_BYTES: `${2 ** 30}` };

/** Hashes of the results of calls on a simulated GPU that `variables` describe. */
export function resultsOf(
  runs: readonly Run[],
  variables: Readonly<Record<string, string>>,
): Promise<unknown[]> {
  return printedBy(programOf(runs), { ...environment, ...variables });
}

/** The launches of calls on a simulated GPU that `variables` describe, in order. */
export async function launchesOf(
  runs: readonly Run[],
  variables: Readonly<Record<string, string>>,
): Promise<Launch[]> {
  const folder = mkdtempSync(path.join(tmpdir(), 'rmsnorm-trace-'));
  try {
    const file = path.join(folder, 'trace.jsonl');
    const isDry = variables['CUDASIM_EXECUTE'] === '0';
    const program = isDry ? dryProgramOf(runs) : programOf(runs);
    await printedBy(program, { ...environment, ...variables, CUDASIM_TRACE: file });
    const launches: Launch[] = [];
    let run: Run | undefined;
    for (const line of readTrace<Line>(file)) {
      if (line.type === 'fault') throw new Error(line.message);
      if (line.type === 'run') run = runs[line.index];
      else if (run !== undefined) launches.push({ ...line, run });
    }
    return launches;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
