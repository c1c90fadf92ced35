// Tests the package after it was traced, bundled or built into a single executable. The result runs
// in another folder, or its error says what to do there.

import { chmodSync, copyFileSync, cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import {
  addPrebuilds,
  developmentTool,
  failureOf,
  filesIn,
  installedPackage,
  makeApplication,
  makeFolder,
  outputOf,
  printed,
  programNames,
  removeFolders,
  runtimes,
  tools,
} from './application';

afterAll(removeFolders);

const external = "Make 'fused-rmsnorm' external to the bundle";

/** The addons and kernels of the package, by their paths in it. */
const prebuilt = filesIn(installedPackage).filter((name) => name.startsWith('prebuilds'));

let folder = '';
beforeAll(() => {
  folder = makeApplication();
});

/** Copies files of one folder to a new one. */
function moved(from: string, files: readonly string[]): string {
  const to = makeFolder();
  for (const file of files) {
    cpSync(path.join(from, file), path.join(to, file), { recursive: true });
  }
  return to;
}

/** Bundles a program of the folder into its file `out`. */
function esbuild(name: string, out: string, ...options: readonly string[]): void {
  const args = [name, '--bundle', '--platform=node', `--outfile=${out}`, ...options];
  outputOf(folder, developmentTool('esbuild'), args);
}

test('the package contains addons and kernels', () => {
  expect(prebuilt.filter((name) => name.endsWith('.fatbin')).length).toBeGreaterThan(4);
  expect(prebuilt.filter((name) => name.endsWith('.node')).length).toBeGreaterThan(2);
});

describe('@vercel/nft', () => {
  test.each(programNames)('finds the addons and kernels of %s', (name) => {
    const printedList = outputOf(folder, developmentTool('nft'), ['print', name]);
    const files = printedList.split('\n').filter((line) => /^(app|node_modules)/.test(line));
    const ours = files.flatMap((file) => file.split('node_modules/fused-rmsnorm/')[1] ?? []);
    expect(ours.filter((file) => file.startsWith('prebuilds')).sort()).toEqual(prebuilt);
    expect(ours.filter((file) => !/^(dist|prebuilds)\/|^package.json$/.test(file))).toEqual([]);
    expect(outputOf(moved(folder, files), process.execPath, [name])).toBe(printed);
  });

  test('finds an addon that was built here', () => {
    const application = makeApplication();
    const built = path.join(application, 'node_modules/fused-rmsnorm/build/Release/rmsnorm.node');
    mkdirSync(path.dirname(built), { recursive: true });
    copyFileSync(path.join(installedPackage, 'prebuilds/linux-x64/rmsnorm.glibc.node'), built);
    rmSync(path.join(application, 'node_modules/fused-rmsnorm/prebuilds'), { recursive: true });
    const printedList = outputOf(application, developmentTool('nft'), ['print', 'app.cjs']);
    expect(printedList).toContain('node_modules/fused-rmsnorm/build/Release/rmsnorm.node\n');
  });
});

describe('@vercel/ncc', () => {
  test.each(programNames)('copies the addons and kernels of %s', (name) => {
    outputOf(folder, developmentTool('ncc'), ['build', name, '-o', `ncc/${name}`]);
    const output = path.join(folder, 'ncc', name);
    const entry = `index${path.extname(name)}`;
    expect(filesIn(output)).toEqual([entry, ...prebuilt]);
    expect(outputOf(moved(output, ['.']), process.execPath, [entry])).toBe(printed);
  });
});

describe('esbuild', () => {
  test.each(programNames)('bundles %s as CommonJS, which runs beside prebuilds', (name) => {
    esbuild(name, 'esbuild/dist/app.cjs', '--format=cjs');
    const output = moved(path.join(folder, 'esbuild'), ['dist']);
    expect(failureOf(output, process.execPath, ['dist/app.cjs'])).toContain(external);
    addPrebuilds(output);
    expect(outputOf(output, process.execPath, ['dist/app.cjs'])).toBe(printed);
  });

  test.each([
    ['cjs', 'external.cjs'],
    ['esm', 'external.mjs'],
  ])('leaves the package external, as %s', (format, entry) => {
    esbuild('app.mjs', entry, `--format=${format}`, '--external:fused-rmsnorm');
    expect(outputOf(folder, process.execPath, [entry])).toBe(printed);
  });

  test('does not load the addon of another package from the same folder', () => {
    esbuild('app.cjs', 'esbuild/dist/app.cjs', '--format=cjs');
    const output = moved(path.join(folder, 'esbuild'), ['dist']);
    const foreign = path.join(output, 'build/Release/another.node');
    mkdirSync(path.dirname(foreign), { recursive: true });
    // A copy of our addon: it can be loaded and has the same version. Only its name differs.
    copyFileSync(path.join(installedPackage, 'prebuilds/linux-x64/rmsnorm.glibc.node'), foreign);
    const text = failureOf(output, process.execPath, ['dist/app.cjs']);
    expect(text).toContain(`- ${foreign}: it is the addon of another package`);
    addPrebuilds(output);
    expect(outputOf(output, process.execPath, ['dist/app.cjs'])).toBe(printed);
  });
});

describe('a bundle of ES modules', () => {
  const bundlers: Readonly<Record<string, (out: string) => void>> = {
    esbuild: (out) => {
      esbuild('app.mjs', out, '--format=esm');
    },
    rollup: (out) => {
      outputOf(folder, path.join(tools, '.bin/rollup'), [
        ...['app.mjs', '--format', 'es', '--file', out, '--silent'],
        ...['--plugin', path.join(tools, '@rollup/plugin-node-resolve/dist/cjs/index.js')],
        ...['--plugin', path.join(tools, '@rollup/plugin-commonjs/dist/cjs/index.js')],
      ]);
    },
  };

  test.each(Object.entries(bundlers))(
    'by %s loads the package that is installed where it runs',
    (name, bundle) => {
      bundle(`${name}/app.mjs`);
      expect(outputOf(folder, process.execPath, [`${name}/app.mjs`])).toBe(printed);
      const output = moved(path.join(folder, name), ['app.mjs']);
      expect(failureOf(output, process.execPath, ['app.mjs'])).toContain(external);
    },
  );
});

describe('webpack', () => {
  const webpack = (name: string, options: string) => {
    const program = `
      const webpack = require(${JSON.stringify(path.join(tools, 'webpack'))});
      webpack({
        ${options}
        mode: 'production',
        target: 'node',
        entry: './${name}',
        output: { path: __dirname + '/webpack', filename: 'app.cjs' },
      }, (error, stats) => {
        if (error || stats.hasErrors()) throw error ?? new Error(stats.toString());
      });`;
    writeFileSync(path.join(folder, 'webpack.cjs'), program);
    outputOf(folder, process.execPath, ['webpack.cjs']);
  };

  test.each(programNames)(
    'makes of %s a bundle that asks for the package to be external',
    (name) => {
      webpack(name, '');
      const output = moved(path.join(folder, 'webpack'), ['app.cjs']);
      expect(failureOf(output, process.execPath, ['app.cjs'])).toContain(external);
    },
  );

  test.each(programNames)('leaves the package external for %s', (name) => {
    webpack(name, "externals: { 'fused-rmsnorm': 'commonjs fused-rmsnorm' },");
    expect(outputOf(folder, process.execPath, ['webpack/app.cjs'])).toBe(printed);
  });
});

describe('a single executable', () => {
  /** Each makes an executable of app.cjs, whose bundle is bundle.cjs in the folder. */
  const makers: Readonly<Record<string, (from: string, program: string) => void>> = {
    'node 20': (from, program) => {
      injectBlob(from, program, runtimes.node);
    },
    'node 24': (from, program) => {
      injectBlob(from, program, runtimes['node-24']);
    },
    bun: (from, program) => {
      outputOf(from, runtimes.bun, ['build', '--compile', 'bundle.cjs', '--outfile', program]);
    },
  };

  function injectBlob(from: string, program: string, node: string): void {
    const config = { main: 'bundle.cjs', output: 'blob', disableExperimentalSEAWarning: true };
    writeFileSync(path.join(from, 'sea.json'), JSON.stringify(config));
    outputOf(from, node, ['--experimental-sea-config', 'sea.json']);
    copyFileSync(node, program);
    chmodSync(program, 0o755);
    outputOf(from, path.join(tools, '.bin/postject'), [
      ...[program, 'NODE_SEA_BLOB', 'blob'],
      ...['--sentinel-fuse', 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2'],
    ]);
  }

  test.each(Object.entries(makers))('by %s runs beside prebuilds', (_, make) => {
    esbuild('app.cjs', 'bundle.cjs', '--format=cjs');
    const output = makeFolder();
    make(folder, path.join(output, 'app'));
    const message = failureOf(output, './app', []);
    expect(message).toContain('This program is a single executable.');
    expect(message).toContain(`cp -r node_modules/fused-rmsnorm/prebuilds ${output}`);
    addPrebuilds(output);
    expect(outputOf(output, './app', [])).toBe(printed);
  });
});
