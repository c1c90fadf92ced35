import { newCall, type Call } from './call/call';
import { isDeviceBuffer, type DataKind } from './call/data';
import { readStoredWeight } from './call/stored-weight';
import {
  addOperand,
  checkDType,
  checkLength,
  isFloat32,
  isMatchingArray,
  readOperand,
  readOptional,
} from './call/operands';
import {
  checkCastOrder,
  checkEps,
  checkWeightOffset,
  defaultEps,
  readDeviceFor,
} from './call/options';
import {
  backwardOperation,
  backwardRules,
  forwardOperation,
  forwardRules,
  type OperandRule,
  type Operation,
} from './call/operations';
import { allocateOwned, OutputRing, type OwnedOutput } from './call/owned-outputs';
import { runCallAsync, runCall } from './call/run';
import { dataOf, readArgument, type Argument } from './call/tensor';
import { dtypes, type DType } from './core/dtype';
import { argumentError } from './core/errors';
import { knownOptions, readCount, readFlag } from './core/validate';
import { DeviceBuffer, ordinalOfBuffer } from './gpu/device-buffer';
import { cpuOrdinal } from './gpu/devices';
import { readStream, type Stream } from './gpu/stream';
import type {
  Plan,
  PlanData,
  PlanDWeight,
  PlanGradients,
  PlanOptions,
  PlanOutput,
} from './plan-types';

const planNames: ReadonlySet<string> = new Set([
  ...['rows', 'hiddenSize', 'weight', 'dtype', 'device', 'stream'],
  ...['eps', 'weightOffset', 'castOrder', 'accumulate', 'outputs'],
]);

/**
 * Checks everything except the arrays of later calls, once, and returns functions that make these calls. So
 * each call costs as little as possible:
 *
 * ```ts
 * const plan = createPlan({ rows: 1, weight });
 * plan.forward(x, y);
 * const z = plan.run(x); // in memory that the plan owns
 * ```
 *
 * On the CPU the functions take arrays of `dtype`: a `Float32Array`, a `Float64Array`, a `Uint16Array`
 * of 16-bit elements, or a `Float16Array`. On a GPU they take DeviceBuffers, and enqueue the calls on
 * the plan's stream. Tensors are (rows, hiddenSize), except rstd, which is (rows), and dweight, which is
 * (hiddenSize). The results have the same bits as those of `rmsNorm`.
 *
 * `forward` and `backward` allocate nothing and return nothing. `run`, `runAsync` and `runBackward`
 * return outputs that the plan allocates, and reuses after some calls: see {@link PlanOptions.outputs}.
 *
 * @throws TypeError and RangeError for invalid options; CudaError `ERR_CUDA_UNAVAILABLE` without a GPU. The
 * functions of the plan throw TypeError and RangeError for invalid arrays
 */
export function createPlan<const O extends PlanOptions>(
  options: O,
): Plan<PlanData<O>, PlanOutput<O>, PlanDWeight<O>> {
  const plan: unknown = Object.freeze(makePlan(options));
  return plan as Plan<PlanData<O>, PlanOutput<O>, PlanDWeight<O>>;
}

/** A copy of the options, each of which is read once. */
function readOptions(options: PlanOptions) {
  const { rows, hiddenSize, weight = null, dtype, device, stream, accumulate } = options;
  const { eps = defaultEps, weightOffset = 0, castOrder = 'llama', outputs = 2 } = options;
  return {
    ...{ rows, hiddenSize, weight, dtype, device, stream, accumulate },
    ...{ eps, weightOffset, castOrder, outputs },
  };
}

function makePlan(options: PlanOptions) {
  const own = readOptions(knownOptions(options, planNames));
  const { eps, weightOffset, castOrder } = own;
  const { weight, dtype } = readStoredWeight(own.weight, own.dtype);
  const { hiddenSize: size = weight?.length } = own;
  checkEps(eps, dtype);
  checkWeightOffset(weightOffset, dtype);
  checkCastOrder(castOrder);
  const optionDevice = readDeviceFor(own.device, dtype);
  const rows = readCount('rows', own.rows, 0);
  const hiddenSize = readCount('hiddenSize', size, 1);
  if (rows * hiddenSize > Number.MAX_SAFE_INTEGER) {
    const expected = 'small enough that rows * hiddenSize is at most 2^53 - 1';
    throw argumentError('ERR_OUT_OF_RANGE', 'rows', expected, rows);
  }
  const accumulate = readFlag('accumulate', own.accumulate, false);
  const outputs = readCount('outputs', own.outputs, 1);
  const buffer = weight && dataOf(weight);
  const isOnGpu = own.device === undefined && isDeviceBuffer(buffer);
  const device = isOnGpu ? ordinalOfBuffer(buffer) : optionDevice;
  if (weight !== undefined) {
    checkDevice('weight', weight, device);
    checkDType(forwardRules.weight, weight, dtype, 'the dtype');
  }
  const stream = readPlanStream(own.stream, device);
  const kind: DataKind = device === cpuOrdinal ? dtypes[dtype].bits : 'DeviceBuffer';
  /** Returns a function that makes calls whose only operand is the weight, which is checked here, once. */
  const callFactory = (operation: Operation) => {
    const shape = { dtype, kind, device, stream, rows, hiddenSize };
    const properties = { operation, ...shape, eps, weightOffset, castOrder };
    const first = newCall(properties);
    if (weight !== undefined) {
      checkLength(first, operation.weight, weight);
      addOperand(first, operation.weight, weight);
    }
    const { presentBits, float32Bits, tensorBits } = first;
    return () => {
      const call = newCall(properties);
      call.weight = weight;
      call.accumulate = accumulate;
      call.presentBits = presentBits;
      call.float32Bits = float32Bits;
      call.tensorBits = tensorBits;
      return call;
    };
  };
  const newForward = callFactory(forwardOperation);
  const newBackward = callFactory(backwardOperation);
  const allocate = (name: 'out' | 'dweightOut', outputDType: DType, length: number) =>
    allocateOwned(name, outputDType, length, device, weight);
  const allocateMatrix = () => allocate('out', dtype, rows * hiddenSize);
  const allocateDWeight = () =>
    weight && allocate('dweightOut', isFloat32(weight) ? 'float32' : dtype, hiddenSize);
  // With `accumulate`, all calls of `runBackward` add to one dweight.
  let accumulated: OwnedOutput | undefined;
  const nextDWeight = () =>
    accumulate ? (accumulated ??= zeroed(allocateDWeight(), own.stream)) : allocateDWeight();
  const allocateGradients = () => new Gradients(allocateMatrix(), nextDWeight());
  return {
    ...{ rows, hiddenSize, dtype },
    ...planCalls(newForward, newBackward),
    ...planRuns(newForward, new OutputRing(outputs, allocateMatrix)),
    ...planBackwardRuns(newBackward, new OutputRing(outputs, allocateGradients)),
  };
}

/** Fills an output with zeros. Only GPU memory needs that: a new array holds zeros already. */
function zeroed(output: OwnedOutput | undefined, stream: Stream | undefined) {
  if (output?.result instanceof DeviceBuffer) {
    output.result.fill(0, stream === undefined ? {} : { stream });
  }
  return output;
}

/** `forward` and `backward`, which write to arrays or buffers of the caller. */
function planCalls(newForward: () => Call, newBackward: () => Call) {
  return {
    forward(x: unknown, out: unknown, rstdOut: unknown, residual: unknown, sumOut: unknown) {
      const call = newForward();
      call.x = readX(call, x);
      call.out = readOperand(call, forwardRules.out, out);
      call.rstdOut = readOptional(call, forwardRules.rstdOut, rstdOut);
      call.residual = readOptional(call, forwardRules.residual, residual);
      call.sumOut = readOptional(call, forwardRules.sumOut, sumOut);
      runCall(call);
    },
    backward(
      dy: unknown,
      x: unknown,
      rstd: unknown,
      dxOut: unknown,
      dweightOut: unknown,
      dsum: unknown,
    ) {
      const call = newBackward();
      call.x = readX(call, x);
      call.dy = readOperand(call, backwardRules.dy, dy);
      call.rstd = readOptional(call, backwardRules.rstd, rstd);
      call.dxOut = readOptional(call, backwardRules.dxOut, dxOut);
      call.dweightOut = readOptional(call, backwardRules.dweightOut, dweightOut);
      call.dsum = readOptional(call, backwardRules.dsum, dsum);
      runCall(call);
    },
  };
}

/** `run` and `runAsync`, which write to outputs that the plan owns. */
function planRuns(newForward: () => Call, outputs: OutputRing<OwnedOutput>) {
  return {
    run(x: unknown) {
      const call = newForward();
      call.x = readX(call, x);
      const output = outputs.nextIdle();
      call.out = addOperand(call, forwardRules.out, output.argument);
      runCall(call);
      return output.result;
    },
    async runAsync(x: unknown) {
      const call = newForward();
      call.x = readX(call, x);
      const slot = outputs.advance();
      call.out = addOperand(call, forwardRules.out, slot.output.argument);
      await slot.use((hasWaited) => runCallAsync(call, hasWaited));
      return slot.output.result;
    },
  };
}

/** `runBackward`, which writes to outputs that the plan owns. */
function planBackwardRuns(newBackward: () => Call, outputs: OutputRing<Gradients>) {
  return {
    runBackward(dy: unknown, x: unknown, rstd: unknown) {
      const call = newBackward();
      call.x = readX(call, x);
      call.dy = readOperand(call, backwardRules.dy, dy);
      call.rstd = readOptional(call, backwardRules.rstd, rstd);
      const gradients = outputs.nextIdle();
      const { dx, dweight } = gradients;
      call.dxOut = addOperand(call, backwardRules.dxOut, dx.argument);
      if (dweight !== undefined) {
        call.dweightOut = addOperand(call, backwardRules.dweightOut, dweight.argument);
      }
      runCall(call);
      return gradients.result;
    },
  };
}

/** The outputs of one call of `runBackward`, and the object of both that the caller gets. */
class Gradients {
  readonly dx: OwnedOutput;
  readonly dweight: OwnedOutput | undefined;
  #last: PlanGradients<unknown, unknown> | undefined;

  constructor(dx: OwnedOutput, dweight: OwnedOutput | undefined) {
    this.dx = dx;
    this.dweight = dweight;
  }

  get result(): PlanGradients<unknown, unknown> {
    const dx = this.dx.result;
    const dweight = this.dweight?.result ?? null;
    const isOther = this.#last?.dx !== dx || this.#last?.dweight !== dweight;
    if (this.#last === undefined || isOther) this.#last = Object.freeze({ dx, dweight });
    return this.#last;
  }
}

/** Reads x, as {@link readOperand} reads other operands. */
function readX(call: Call, value: unknown): Argument {
  const rule = call.operation.x;
  if (!isMatchingArray(call, rule, value)) return readOtherX(call, rule, value);
  call.presentBits |= rule.bit;
  return value;
}

function readOtherX(call: Call, rule: OperandRule, value: unknown): Argument {
  const x = readArgument('x', value);
  checkDevice('x', x, call.device);
  checkDType(rule, x, call.dtype, 'the dtype');
  checkLength(call, rule, x);
  return addOperand(call, rule, x);
}

/** Refuses a weight or an x that is not on the plan's device. */
function checkDevice(name: 'weight' | 'x', argument: Argument, device: number): void {
  const data = dataOf(argument);
  const isArray = ArrayBuffer.isView(data);
  if (isArray ? device === cpuOrdinal : ordinalOfBuffer(data) === device) return;
  const expected =
    device === cpuOrdinal ? 'an array on the CPU' : `a DeviceBuffer on 'cuda:${device}'`;
  const isOtherKind = name === 'x' && isArray !== (device === cpuOrdinal);
  const code = isOtherKind ? 'ERR_INVALID_ARG_TYPE' : 'ERR_INVALID_ARG_VALUE';
  throw argumentError(code, name, `${expected}, where the plan runs`, data);
}

function readPlanStream(stream: unknown, device: number) {
  if (device !== cpuOrdinal) return readStream(stream, device);
  if (stream === undefined) return null;
  const expected = 'omitted for a plan that runs on the CPU';
  throw argumentError('ERR_INVALID_ARG_VALUE', 'stream', expected, stream);
}
