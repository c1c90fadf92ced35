// Tests what an editor shows of the installed package: the documentation of each function under the
// cursor, and the names of all options inside braces. Asks TypeScript's language service, as
// editors do.

import { readFileSync } from 'node:fs';
import path from 'node:path';

import ts from 'typescript';

import { makeApplication, removeFolders } from './application';

const hovers: Readonly<Record<string, string>> = {
  'rmsNorm|(x, w)': 'over each row of x',
  'rmsNorm.forward|(x, w)': 'also returns what backward needs',
  'rmsNorm.backward|(x, x, w)': 'The gradients of',
  'rmsNorm.async|(x, w)': 'off the event loop',
  'rmsNorm.forwardAsync|(x, w)': 'off the event loop',
  'rmsNorm.backwardAsync|(x, x, w)': 'off the event loop',
  'rmsNorm.forward(x, w).rstd|': '1 / sqrt(mean(x²) + eps) of each row',
  'norm.forward|(x)': 'for inference',
  'norm.async|(x)': 'off the event loop',
  'norm.vjp|(x)': 'its backward',
  'norm.vjp(x).backward|(x)': 'Adds the gradient of weight',
  'norm.weight|': 'The learned scale',
  'norm.weightGrad|': 'The gradient of weight',
  'createPlan|({ rows: 1, weight: w })': 'Checks everything except the arrays',
  'plan.forward|(x, x)': 'Writes y to `out`',
  'plan.run|(x)': 'It is valid until',
  'plan.runAsync|(x)': 'off the event loop',
  'plan.runBackward|(x, x, null)': 'dx and dweight in memory',
  'allocate|(4)': 'which nothing can detach',
  'devices|()': 'The GPUs that the option',
  'DeviceBuffer.from|(x)': 'A copy of an array',
  'buffer.toHostAsync|()': 'without blocking',
};

const common = ['castOrder', 'device', 'dtype', 'eps', 'normalizedShape', 'stream', 'weightOffset'];
const ofRmsNorm = [...common, 'gate', 'gateOrder', 'out', 'residual', 'sumOut'];
const ofForward = [...ofRmsNorm, 'quantize', 'rstdOut', 'scale', 'scaleMax', 'scaleOut'];
const ofBackward = [
  ...[...common, 'accumulate', 'dgateOut', 'dsum', 'dweightOut', 'dxOut', 'gate', 'gateOrder'],
  ...['needsDweight', 'needsDx'],
];
const completions: Readonly<Record<string, readonly string[]>> = {
  'rmsNorm(x, w, { | })': ofRmsNorm,
  'rmsNorm.async(x, w, { | })': ofRmsNorm,
  'rmsNorm.forward(x, w, { | })': ofForward,
  'rmsNorm.forwardAsync(x, w, { eps: 1, | })': ofForward.filter((name) => name !== 'eps'),
  'rmsNorm.backward(x, x, w, null, { | })': ofBackward,
  'rmsNorm.backwardAsync(x, x, w, null, { | })': ofBackward,
  'norm.forward(x, { | })': ['dtype', 'out', 'residual', 'sumOut'],
  'norm.vjp(x, { | })': ['dtype', 'out', 'residual', 'sumOut'],
  'norm.vjp(x).backward(x, { | })': ['dsum', 'dxOut', 'needsDx'],
  'new RMSNorm(4, { | })': [
    ...['castOrder', 'device', 'dtype', 'elementwiseAffine', 'eps', 'stream', 'weight'],
    'weightOffset',
  ],
  'createPlan({ | })': [
    ...['accumulate', 'castOrder', 'device', 'dtype', 'eps', 'hiddenSize', 'outputs', 'rows'],
    ...['stream', 'weight', 'weightOffset'],
  ],
};

const head = `
import { allocate, createPlan, DeviceBuffer, devices, rmsNorm, RMSNorm } from 'fused-rmsnorm';
const x = new Float32Array(4);
const w = new Float32Array(4);
const norm = new RMSNorm(4);
const plan = createPlan({ rows: 1, weight: w });
const buffer = DeviceBuffer.from(x);
`;
const lines = [...Object.keys(hovers), ...Object.keys(completions)];
const positions = new Map<string, number>();
let file = '';
let service: ts.LanguageService;

beforeAll(() => {
  let text = head;
  for (const line of lines) {
    positions.set(line, text.length + line.indexOf('|'));
    text += `${line.replace('|', '')};\n`;
  }
  file = path.join(makeApplication({ 'app.ts': text }), 'app.ts');
  const options: ts.CompilerOptions = {
    ...{ strict: true, noEmit: true, types: [], lib: ['lib.esnext.d.ts'] },
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
  };
  service = ts.createLanguageService({
    getCompilationSettings: () => options,
    getScriptFileNames: () => [file],
    getScriptVersion: () => '0',
    getScriptSnapshot: (name) =>
      ts.sys.fileExists(name)
        ? ts.ScriptSnapshot.fromString(readFileSync(name, 'utf8'))
        : undefined,
    getCurrentDirectory: () => path.dirname(file),
    getDefaultLibFileName: ts.getDefaultLibFilePath,
    fileExists: (name) => ts.sys.fileExists(name),
    readFile: (name) => ts.sys.readFile(name),
    directoryExists: (name) => ts.sys.directoryExists(name),
    getDirectories: (name) => ts.sys.getDirectories(name),
  });
});
afterAll(removeFolders);

test.each(Object.entries(hovers))('hovering shows the documentation: %s', (line, text) => {
  const info = service.getQuickInfoAtPosition(file, (positions.get(line) as number) - 1);
  expect(ts.displayPartsToString(info?.documentation)).toContain(text);
});

test.each(Object.entries(completions))(
  'completion lists all options with their documentation: %s',
  (line, names) => {
    const position = positions.get(line) as number;
    const found = service.getCompletionsAtPosition(file, position, {})?.entries ?? [];
    expect(found.map(({ name }) => name).sort()).toEqual([...names].sort());
    for (const { name } of found) {
      const entry = service.getCompletionEntryDetails(
        file,
        position,
        name,
        {},
        undefined,
        {},
        undefined,
      );
      expect(ts.displayPartsToString(entry?.documentation)).not.toBe('');
    }
  },
);
