// Loads the package again in one thread: by hot reloaders, which clear the cache of `require`, and
// from copies, some of which package managers make by hard links.

import { cpSync, linkSync, mkdirSync } from 'node:fs';
import path from 'node:path';

import { filesIn, makeApplication, outputOf, removeFolders, runtimes } from './application';

afterAll(removeFolders);

const prelude = `
  const fs = require('node:fs');
  const x = new Float32Array([3, 4]);
  const works = async ({ rmsNorm }) =>
    rmsNorm(x, x)[1].toFixed(4) === '4.5255' && (await rmsNorm.async(x, x))[1].toFixed(4) === '4.5255';
  const reload = () => {
    for (const key of Object.keys(require.cache)) delete require.cache[key];
    module.children.length = 0;
    return require('fused-rmsnorm');
  };
`;

const files = {
  'cleared.cjs': `${prelude}
    const first = require('fused-rmsnorm');
    (async () => {
      for (let i = 0; i < 3; ++i) console.log(await works(reload()), await works(first));
    })();`,
  'dlopen.cjs': `${prelude}
    const file = require.resolve('fused-rmsnorm/package.json').replace(
      'package.json', 'prebuilds/linux-x64/rmsnorm.glibc.node');
    const first = require('fused-rmsnorm');
    const loaded = [0, 1].map(() => {
      const module = { exports: {} };
      process.dlopen(module, file);
      return module.exports;
    });
    console.log(loaded[0] !== loaded[1], loaded[0].package === loaded[1].package);
    works(first).then(console.log);`,
  'copies.cjs': `${prelude}
    const all = ['.', './linked', './nested'].map((folder) =>
      require(folder + '/node_modules/fused-rmsnorm'));
    console.log(new Set(all).size, new Set(all.map(({ RMSNorm }) => RMSNorm)).size);
    Promise.all([...all, ...all].map(works)).then((every) => console.log(every.join()));`,
  // The state of the process and of its heap after 300 reloads, and three times after 200 more.
  'leak.cjs': `${prelude}
    const count = (name) => fs.readdirSync('/proc/self/' + name).length;
    const state = async () => {
      for (let i = 0; i < 3; ++i) {
        gc();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      const addons = fs.readFileSync('/proc/self/maps', 'utf8').match(/rmsnorm.*[.]node/g).length;
      const { heapUsed, external, rss } = process.memoryUsage();
      return { threads: count('task'), files: count('fd'), addons, heapUsed, external, rss };
    };
    (async () => {
      const reloadOften = async (times) => {
        for (let i = 0; i < times; ++i) if (!(await works(reload()))) console.log('broken');
      };
      await reloadOften(300);
      const states = [await state()];
      for (let window = 0; window < 3; ++window) {
        await reloadOften(200);
        states.push(await state());
      }
      console.log(JSON.stringify(states));
    })();`,
} as const;

let folder = '';
beforeAll(() => {
  folder = makeApplication(files);
  const from = path.join(folder, 'node_modules');
  cpSync(from, path.join(folder, 'nested/node_modules'), { recursive: true });
  for (const name of filesIn(from)) {
    const link = path.join(folder, 'linked/node_modules', name);
    mkdirSync(path.dirname(link), { recursive: true });
    linkSync(path.join(from, name), link);
  }
});

// The young generation cannot grow, since its growth would look like a leak.
const v8Flags = ['--expose-gc', '--max-semi-space-size=1'];
const flagsOf = {
  bun: ['--expose-gc'],
  deno: ['run', '--allow-all', '--node-modules-dir=manual', `--v8-flags=${v8Flags.join()}`],
} as const;

function printedBy(runtime: keyof typeof runtimes, program: keyof typeof files): string {
  const flags = runtime === 'bun' || runtime === 'deno' ? flagsOf[runtime] : v8Flags;
  return outputOf(folder, runtimes[runtime], [...flags, program]);
}

describe.each(Object.keys(runtimes) as (keyof typeof runtimes)[])('%s', (runtime) => {
  test('reloads with a cleared cache', () => {
    expect(printedBy(runtime, 'cleared.cjs')).toBe('true true\n'.repeat(3));
  });

  test('reloads by process.dlopen', () => {
    expect(printedBy(runtime, 'dlopen.cjs')).toBe('true true\ntrue\n');
  });

  test('loads hard links and a copy, too', () => {
    expect(printedBy(runtime, 'copies.cjs')).toBe('3 3\ntrue,true,true,true,true,true\n');
  });

  test('reloads hundreds of times without a leak', () => {
    type State = Record<'threads' | 'files' | 'addons' | 'heapUsed' | 'external' | 'rss', number>;
    const states = JSON.parse(printedBy(runtime, 'leak.cjs')) as State[];
    // A leak shows in each window. A runtime that allocates or starts something once does not.
    const growth = (of: keyof State) =>
      Math.min(...states.slice(1).map((state, i) => state[of] - (states[i] as State)[of]));
    expect(growth('addons')).toBe(0);
    expect(growth('files')).toBeLessThanOrEqual(0);
    expect(growth('threads')).toBeLessThanOrEqual(0);
    // In bytes. The runtimes themselves retain about 1 KB for each load of an addon.
    expect(growth('heapUsed')).toBeLessThan(5e5);
    expect(growth('external')).toBeLessThan(5e4);
    expect(growth('rss')).toBeLessThan(4e6);
  });
});
