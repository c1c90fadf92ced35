// Limits of the operating system on a process's processors: commands that run another command under
// a limit.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';

/** A command that runs its arguments as a command under a limit, or why this machine has no such limit. */
export type Limit = { readonly command: readonly string[] } | { readonly missing: string };

/** The number of the machine's processors, even if this process may use fewer. */
export const processors = os.cpus().length;

const allowedList = existsSync('/proc/self/status')
  ? /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
  : undefined;

/** The processors that this process may use. */
export const allowed = (allowedList ?? '').split(',').flatMap((range) => {
  const [first = NaN, last = first] = range.split('-').map(Number);
  return Number.isNaN(first) ? [] : Array.from({ length: last - first + 1 }, (_, i) => first + i);
});

/** Pins a command to `count` of the processors that this process may use. */
export function pinTo(count: number): Limit {
  const { error } = spawnSync('taskset', ['--version']);
  if (error !== undefined) return { missing: 'there is no taskset' };
  if (allowed.length < count) return { missing: `there are fewer than ${count} processors` };
  return { command: ['taskset', '-c', allowed.slice(0, count).join(',')] };
}

/** Two nested cgroups with a CPU quota, which exist until `remove`. */
export interface QuotaGroup {
  readonly limit: Limit;
  setQuota(processors: number): void;
  remove(): Promise<void>;
}

/** Makes a cgroup with a quota, and inside it one without. Commands run in the inner one. */
export function makeQuotaGroup(): QuotaGroup {
  const period = 100_000;
  const reasons: string[] = [];
  for (const hierarchy of ['cpu', 'cpu,cpuacct', 'unified', '']) {
    const outer = `/sys/fs/cgroup/${hierarchy}/rmsnorm-test-${process.pid}`;
    const inner = `${outer}/inner`;
    const made: string[] = [];
    const setQuota = (count: number) => {
      const quota = count * period;
      if (existsSync(`${outer}/cpu.max`)) {
        writeFileSync(`${outer}/cpu.max`, `${quota} ${period}`);
      } else {
        writeFileSync(`${outer}/cpu.cfs_period_us`, String(period), { flag: 'r+' });
        writeFileSync(`${outer}/cpu.cfs_quota_us`, String(quota), { flag: 'r+' });
      }
    };
    const remove = async () => {
      for (let attempt = 0; made.length > 0; ++attempt) {
        try {
          rmdirSync(made.at(-1) ?? '');
          made.pop();
        } catch (error) {
          // A process leaves its cgroup a moment after it has ended.
          if (attempt === 100) throw error;
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
    };
    try {
      for (const folder of [outer, inner]) {
        mkdirSync(folder);
        made.push(folder);
      }
      setQuota(1);
      const enter = 'echo $$ >"$0/cgroup.procs" && exec "$@"';
      const args = ['-c', enter, inner];
      const { status } = spawnSync('sh', [...args, 'true']);
      if (status === 0) return { limit: { command: ['sh', ...args] }, setQuota, remove };
      reasons.push(`no process may enter ${inner}`);
    } catch (error) {
      reasons.push((error as Error).message);
    }
    for (const folder of made.reverse()) rmdirSync(folder);
  }
  const missing = `no cgroup can be made: ${reasons.join('; ')}`;
  return { limit: { missing }, setQuota: () => undefined, remove: () => Promise.resolve() };
}
