// Instructions per element, and distances from loads to their use, in the machine code of the last
// build. Neither may get worse. Needs a build with nvcc and the simulated GPU, but no GPU.

import { compiledKernels, kernelNames } from '../../scripts/compiled-kernels';
import {
  counted,
  countedCode,
  markedLaunches,
  runText,
} from '../../scripts/report/instruction-counts';
import { instructionsOf } from '../../scripts/report/instructions';
import { builtCodes, loadDistance } from '../../scripts/report/launched-code';
import { spillsOf } from '../../scripts/report/machine-code';
import type { Launch } from '../../scripts/traced-runs';
import { hasSimulator } from '../support/processes';

jest.setTimeout(120_000); // processes take long to start on a busy machine

const codes = builtCodes();
const built = counted.filter((one) => codes.some(({ architecture }) => architecture === one));

/**
 * For each size: the most instructions per element on sm_80, sm_90 and sm_100, and the least number
 * of instructions from a load to its use. When kernels get better, lower the first three and raise
 * the last.
 */
const limits: Readonly<Record<string, readonly number[]>> = {
  'forward float32, 64 x 4096': [13.8, 15.3, 12.7, 23],
  'forward bfloat16, 64 x 4096': [11.1, 11.5, 10.2, 27],
  'backward float32, 64 x 4096': [19.6, 19.4, 14.6, 20],
  'backward bfloat16, 64 x 4096': [20.8, 20.6, 17.3, 20],
  'forward bfloat16, 64 x 5120': [15.4, 16, 14.2, 27],
  'forward bfloat16, 64 x 128': [14.1, 15, 13.5, 15],
  'forward bfloat16, 64 x 64': [27.9, 29.7, 26.6, 15],
};

const unless = hasSimulator
  ? '(skipped: built without nvcc)'
  : '(skipped: test/cudasim is not built)';
const isPossible = hasSimulator && built.length > 0;

(isPossible ? describe : describe.skip)(`machine code ${isPossible ? '' : unless}`, () => {
  let launches: Launch[] = [];
  beforeAll(async () => {
    launches = await markedLaunches();
  });

  test('holds the kernels of the table, and the decoder knows it', () => {
    for (const architecture of new Set(codes.map((code) => code.architecture))) {
      const there = codes.filter((code) => code.architecture === architecture);
      expect({ architecture, names: there.map(({ name }) => name).sort() }).toEqual({
        architecture,
        names: kernelNames().sort(),
      });
    }
    // Decoding throws on unknown instructions. It must find the spills that ptxas reports.
    const spilling = codes.filter((code) => spillsOf(instructionsOf(code)) > 0);
    const reported = compiledKernels().filter(
      ({ spillLoads, spillStores }) => spillLoads + spillStores > 0,
    );
    const namesOf = (list: readonly { name: string; architecture: string }[]) =>
      list.map(({ name, architecture }) => `${name} ${architecture}`).sort();
    expect(namesOf(spilling)).toEqual(namesOf(reported));
  });

  test('has a limit for every marked size', () => {
    expect(launches.map(({ run }) => runText(run))).toEqual(Object.keys(limits));
  });

  test.each(Object.entries(limits))('stays within its limits: %s', (size, [...figures]) => {
    const least = figures.pop() as number;
    const launch = launches.find(({ run }) => runText(run) === size) as Launch;
    const found = countedCode(launch, codes);
    for (const architecture of built) {
      const code = found[architecture];
      const most = figures[counted.indexOf(architecture)] as number;
      if (code === undefined) throw new Error(`${architecture}: no way through the code is found`);
      expect({ architecture, tooMany: Math.max(code.instructions - most, 0) }).toEqual({
        architecture,
        tooMany: 0,
      });
      // ptxas makes about as many machine instructions as the PTX has. Otherwise the path found
      // through the code is wrong.
      const ratio = code.instructions / code.ptxInstructions;
      expect({ architecture, ratio, isLikely: ratio > 0.5 && ratio < 1.3 }).toMatchObject({
        isLikely: true,
      });
      const distance = loadDistance(code) ?? Infinity;
      expect({ architecture, distance, isFar: distance >= least }).toMatchObject({ isFar: true });
    }
  });
});
