// Checks a GPU against the CPU, group by group, and records which kernels the calls reach.

import type { CudaDevice } from 'fused-rmsnorm';

import { makeArrays } from '../cases/arrays';
import { makeCases } from '../cases/sets';
import { Verifier, WrongAnswer } from '../cases/verify';
import { loadedImages, type Addon } from '../environment/addon';
import type { Progress } from '../report/progress';
import { answerOfCpu } from '../subjects/ours';
import { nameOf, type CheckedCall } from './cases';
import { findDifference, type Difference } from './compare';
import { extents, makeGroups, type WayName } from './groups';
import { makeOperands } from './operands';
import { soak } from './soak';
import { onCpu, ways } from './ways';

/** A call whose result differs from the CPU's. */
export interface Finding {
  readonly call: string;
  /** The kernels that the call launched, if they are known. */
  readonly kernels: readonly string[];
  readonly difference: Difference;
}

export interface GroupResult {
  readonly name: string;
  /** Calls that were checked. */
  readonly calls: number;
  /** The kernels that these calls launched. */
  readonly kernels: readonly string[];
  readonly findings: readonly Finding[];
  /** Other errors, each as a sentence. An error ends the group. */
  readonly errors: readonly string[];
}

export interface Verification {
  readonly groups: readonly GroupResult[];
  /** Every kernel that the GPU can run, and whether a call with buffers has reached it. */
  readonly kernels: readonly { readonly kernel: string; readonly isReached: boolean }[];
  /** The images that the kernels were loaded from: `'machine code'`, or PTX such as `'compute_80'`. */
  readonly images: readonly string[];
  /** Whether all groups ran, so that every kernel must have been reached. */
  readonly isComplete: boolean;
}

/** What is checked, and on which GPU. */
export interface VerifyOptions {
  readonly device: CudaDevice;
  readonly isThorough: boolean;
  /** Selects groups by name. Without all groups the verification is incomplete. */
  readonly filter: RegExp;
}

const soakSteps = { usual: 150, thorough: 5000 };

/** Cases that check the CPU by the formula: a GPU with the same wrong bits as the CPU would pass. */
const formulaCases = makeCases(
  ['forward', 'backward', 'residual', 'quantize', 'gated'],
  ['float32', 'float16', 'bfloat16'],
  [
    [5, 100],
    [5, 4096],
  ],
  ['llama'],
);

type Checked = Omit<GroupResult, 'name' | 'kernels'>;
type Check = (launched: () => string[]) => Checked | Promise<Checked>;

/**
 * Checks a GPU. Wrong results and errors of the GPU are part of the returned verification: they are not
 * thrown. Calls `progress` before each group.
 */
export async function verify(
  { device: { device, computeCapability }, isThorough, filter }: VerifyOptions,
  addon: Addon,
  progress: Progress,
): Promise<Verification> {
  const { cuda } = addon;
  const ordinal = Number(device.slice('cuda:'.length));
  const extent = isThorough ? extents.thorough : extents.usual;
  const steps = isThorough ? soakSteps.thorough : soakSteps.usual;
  const groups: readonly (readonly [name: string, way: WayName | null, check: Check])[] = [
    ['the CPU, by the formula', null, checkFormula],
    ...makeGroups(extent).map(({ name, way, calls }) => {
      const check: Check = (launched) => checkCalls(calls(), way, device, launched);
      return [name, way, check] as const;
    }),
    [
      'allocations in random order',
      null,
      () => checkSoak(soak(device, steps, () => cuda.availableMemory(ordinal))),
    ],
  ];
  const wanted = groups.filter(([name]) => filter.test(name));
  const newlyLaunched = launchLog(cuda, ordinal);
  const reached = new Set<string>();
  const results: GroupResult[] = [];
  for (const [name, way, check] of wanted) {
    progress(name, results.length / wanted.length);
    const ofGroup = new Set<string>();
    const launched = () => {
      const names = newlyLaunched();
      for (const kernel of names) ofGroup.add(kernel);
      return names;
    };
    const result = await attempt(() => check(launched));
    launched();
    // Captures may load kernels that their work does not launch, so only buffers count.
    if (way === 'buffers') for (const kernel of ofGroup) reached.add(kernel);
    results.push({ name, ...result, kernels: [...ofGroup] });
  }
  const architecture = Number(computeCapability.replace('.', ''));
  const possible = cuda.launchCounts(ordinal).filter((one) => one.architecture <= architecture);
  return {
    groups: results,
    kernels: possible.map(({ kernel }) => ({ kernel, isReached: reached.has(kernel) })),
    images: loadedImages(addon, ordinal),
    isComplete: wanted.length === groups.length,
  };
}

/** Describes why a verification has failed; null if it has not. */
export function failureOf({ groups, kernels, isComplete }: Verification): string | null {
  const wrong = groups.filter(({ findings, errors }) => findings.length + errors.length > 0);
  if (wrong.length > 0) {
    return `${wrong.length} of ${groups.length} groups differ from the CPU, or failed: see above.`;
  }
  const missing = kernels.filter(({ isReached }) => !isReached);
  if (!isComplete || missing.length === 0) return null;
  return `${missing.length} of ${kernels.length} kernels were not reached: see above.`;
}

/** Turns an error that belongs to no single call, such as of the GPU's memory, into a result. */
async function attempt(check: () => Checked | Promise<Checked>): Promise<Checked> {
  try {
    return await check();
  } catch (error) {
    return { calls: 0, findings: [], errors: [(error as Error).message] };
  }
}

/** Makes a function that names the kernels launched since its last call. */
function launchLog(cuda: Addon['cuda'], ordinal: number): () => string[] {
  let before = cuda.launchCounts(ordinal);
  return () => {
    const now = cuda.launchCounts(ordinal);
    const names = now.filter(({ launches }, i) => launches !== before[i]?.launches);
    before = now;
    return names.map(({ kernel }) => kernel);
  };
}

async function checkCalls(
  calls: readonly CheckedCall[],
  way: WayName,
  device: CudaDevice['device'],
  launched: () => string[],
): Promise<Checked> {
  const findings: Finding[] = [];
  for (const [i, call] of calls.entries()) {
    try {
      const operands = makeOperands(call);
      const expected = onCpu(call, operands);
      const runs = await ways[way](call, operands, device);
      const kernels = launched();
      const difference = firstDifference(operands, expected, runs);
      if (difference !== null) findings.push({ call: nameOf(call), kernels, difference });
    } catch (error) {
      return { calls: i, findings, errors: [`${nameOf(call)}: ${(error as Error).message}`] };
    }
  }
  return { calls: calls.length, findings, errors: [] };
}

function firstDifference(
  { byName, results }: ReturnType<typeof makeOperands>,
  expected: ReturnType<typeof onCpu>,
  runs: readonly ReturnType<typeof onCpu>[],
): Difference | null {
  for (const actual of runs) {
    for (const [result, name] of results) {
      const [operand, right, found] = [byName.get(name), expected.get(name), actual.get(name)];
      if (operand === undefined || right === undefined || found === undefined) {
        throw new Error(`${result} is missing`);
      }
      const difference = findDifference(result, operand, found, right);
      if (difference !== null) return difference;
    }
  }
  return null;
}

function checkFormula(): Checked {
  const errors = formulaCases.flatMap((one) => {
    const arrays = makeArrays(one);
    try {
      new Verifier(one, arrays).check('the CPU', answerOfCpu(one, arrays));
      return [];
    } catch (error) {
      if (error instanceof WrongAnswer) return [error.message];
      throw error;
    }
  });
  return { calls: formulaCases.length, findings: [], errors };
}

function checkSoak(result: ReturnType<typeof soak>): Checked {
  const { calls, findings, lostBytes } = result;
  const lost = `${lostBytes} bytes of the GPU are not available any more after each round of calls`;
  return {
    calls,
    findings: findings.map((finding) => ({ ...finding, kernels: [] })),
    errors: lostBytes > 0 ? [lost] : [],
  };
}
