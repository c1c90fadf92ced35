// Formats a verification for a terminal of 80 columns.

import type { CudaDevice } from 'fused-rmsnorm';

import { describeGpu, describeVersion, type Machine } from '../environment/machine';
import { setTable, wrap } from '../report/terminal';
import type { Finding, GroupResult, Verification } from './verify';

/** The output of `verify --json`; docs/device.md explains the names. */
export interface VerificationReport extends Verification {
  readonly date: string;
  readonly machine: Machine;
  readonly gpu: CudaDevice;
  /** The version of NVIDIA's driver; null if the system does not report it. */
  readonly driver: string | null;
  readonly isThorough: boolean;
  /** Why the exit code is 1; null if it is 0. */
  readonly failure: string | null;
}

export function textOf(report: VerificationReport): string {
  const sections = [
    header(report),
    table(report.groups),
    ...report.groups.flatMap(failuresOf),
    kernelLines(report),
  ];
  return `${sections.join('\n\n')}\n`;
}

function header({ date, machine, gpu, driver, images, isThorough }: VerificationReport): string {
  const { cpu, platform, node, variant, threads } = machine;
  return [
    `fused-rmsnorm ${describeVersion(machine)}, ${date.slice(0, 10)}${isThorough ? ', thorough' : ''}`,
    `${describeGpu(gpu)}${driver === null ? '' : `, version ${driver}`}`,
    `kernels from ${images.join(', ')}`,
    `compared with CPU variant ${variant}, ${threads} threads: ${cpu}, ${platform}, Node.js ${node}`,
  ]
    .map((line) => wrap(line, 2))
    .join('\n');
}

function table(groups: readonly GroupResult[]): string {
  const rows = groups.map((group) => {
    const { name, calls, kernels, findings, errors } = group;
    const wrong = findings.length > 0 ? `${findings.length} differ` : 'the same bits';
    return [name, calls, kernels.length, errors.length > 0 ? 'failed' : wrong];
  });
  const head = ['group', 'calls', 'kernels', 'result'];
  return setTable({ head, rows }, { isColoured: false, firstColumn: 'left' });
}

/** The first finding of a group, and its errors. */
function failuresOf({ name, calls, findings, errors }: GroupResult): string[] {
  const [first] = findings;
  const texts = [
    ...(first === undefined
      ? []
      : [`${findings.length} of ${calls} differ, first ${textOfFinding(first)}`]),
    ...errors,
  ];
  return texts.map((text) => wrap(`${name}: ${text}`, 2));
}

function textOfFinding({ call, kernels, difference }: Finding): string {
  const { result, place: position, actual, expected, elements } = difference;
  const by = kernels.length === 0 ? '' : `, by ${kernels.join(', ')}`;
  return (
    `${call}${by}: ${result} at ${position} is ${actual}, the CPU's is ${expected}. ` +
    `Elements that differ: ${elements}.`
  );
}

function kernelLines(report: VerificationReport): string {
  const { kernels, isComplete, failure } = report;
  const missing = kernels.filter(({ isReached }) => !isReached).map(({ kernel }) => kernel);
  const reached = `${kernels.length - missing.length} of ${kernels.length} kernels were reached`;
  const others = missing.length === 0 ? '' : `, but not ${missing.join(', ')}`;
  const lines = [
    isComplete
      ? `${reached}${others}.`
      : 'Some groups did not run, so some kernels were not checked.',
    ...(failure === null ? ['All checks passed.'] : []),
  ];
  return lines.map((line) => wrap(line, 2)).join('\n');
}
