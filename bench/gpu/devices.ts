import { devices, type CudaDevice } from 'fused-rmsnorm';

import type { Case } from '../cases/cases';

export function isSimulated({ name }: CudaDevice): boolean {
  return name.startsWith('cudasim');
}

/** The GPU that `--device` names, or why there is none. */
export function findDevice(name: string): CudaDevice | string {
  const list = devices();
  const wanted = name === 'cuda' ? 'cuda:0' : name;
  const known = ['cpu', 'all', ...list.map(({ device }) => device)];
  return (
    list.find(({ device }) => device === wanted) ??
    list.reason ??
    `--device must be one of ${known.join(', ')}. Received '${name}'`
  );
}

/** Why a GPU cannot compute a case; null if it can. */
export function reasonToLeaveOut({ dtype }: Case): string | null {
  return dtype === 'float64' ? `GPUs do not compute in ${dtype}` : null;
}
