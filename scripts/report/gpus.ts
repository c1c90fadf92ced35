// The properties of GPUs that the model of a launch's time (model.ts) needs. They are from NVIDIA's
// data sheets and white papers of the product and its architecture, unless a comment says otherwise.
// Clocks are boost clocks.

import type { Architecture } from '../occupancy';

export interface Gpu {
  readonly name: string;
  /** The architecture whose machine code it runs. */
  readonly architecture: Architecture;
  /** Its compute capability, such as `'9.0'`. */
  readonly capability: string;
  readonly multiprocessors: number;
  readonly clockGhz: number;
  /** Bytes a second. */
  readonly dram: number;
  /** Bytes. */
  readonly l2: number;
  /** Bytes a second. */
  readonly l2Bandwidth: number;
}

const mib = 2 ** 20;
const tera = 1e12;

export const gpus: readonly Gpu[] = [
  {
    name: 'T4',
    architecture: 'sm_75',
    capability: '7.5',
    multiprocessors: 40,
    clockGhz: 1.59,
    dram: 0.32 * tera,
    l2: 4 * mib,
    l2Bandwidth: 1.27 * tera, // measured: Jia et al., Dissecting the NVIDIA Turing T4 GPU, 2019
  },
  {
    name: 'A100',
    architecture: 'sm_80',
    capability: '8.0',
    multiprocessors: 108,
    clockGhz: 1.41,
    dram: 2.039 * tera, // 80 GB, SXM
    l2: 40 * mib,
    l2Bandwidth: 7.2 * tera, // white paper of GA100: 5120 bytes a clock
  },
  {
    name: 'RTX 4090',
    architecture: 'sm_86',
    capability: '8.9',
    multiprocessors: 128,
    clockGhz: 2.52,
    dram: 1.008 * tera,
    l2: 72 * mib,
    l2Bandwidth: 5 * tera, // measured by Chips and Cheese, rounded
  },
  {
    name: 'L4',
    architecture: 'sm_86',
    capability: '8.9',
    multiprocessors: 58,
    clockGhz: 2.04,
    dram: 0.3 * tera,
    l2: 48 * mib,
    l2Bandwidth: 2.7 * tera, // the RTX 4090's, scaled by size and clock
  },
  {
    name: 'H100',
    architecture: 'sm_90',
    capability: '9.0',
    multiprocessors: 132,
    clockGhz: 1.98,
    dram: 3.35 * tera,
    l2: 50 * mib,
    l2Bandwidth: 5.6 * tera, // measured by Chips and Cheese on the PCIe version, rounded
  },
  {
    name: 'H200',
    architecture: 'sm_90',
    capability: '9.0',
    multiprocessors: 132,
    clockGhz: 1.98,
    dram: 4.8 * tera,
    l2: 50 * mib,
    l2Bandwidth: 5.6 * tera, // the H100's
  },
  {
    name: 'B200',
    architecture: 'sm_100',
    capability: '10.0',
    multiprocessors: 148,
    clockGhz: 1.965,
    dram: 7.7 * tera,
    l2: 126 * mib,
    l2Bandwidth: 11.2 * tera, // two dies, counted as two H100s
  },
  {
    name: 'RTX 5090',
    architecture: 'sm_120',
    capability: '12.0',
    multiprocessors: 170,
    clockGhz: 2.41,
    dram: 1.792 * tera,
    l2: 96 * mib,
    l2Bandwidth: 6.4 * tera, // the RTX 4090's, scaled by size and clock
  },
];

/** Warp instructions that a multiprocessor issues per clock: at most 4 on all of these GPUs. */
export const issuedPerClock = 0.75 * 4; // well-written kernels reach three quarters
