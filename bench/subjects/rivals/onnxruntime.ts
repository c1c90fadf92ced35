// onnxruntime's operators, each as a model of one node (models/). Its float16 arrays are bits. Its
// threads spin after a call, so served.ts runs it in a separate process.

import { fromFloat16, getNumThreads } from 'fused-rmsnorm';
import type { InferenceSession, Tensor, TypedTensor } from 'onnxruntime-node';

import { zeros, type Arrays, type Elements } from '../../cases/arrays';
import type { Case } from '../../cases/cases';
import type { Answer } from '../../cases/verify';
import type { OutputMode } from '../subject';
import { modelFile, modelTypes, type ModelType } from './model-file';
import { importInstalled, type LoadedRival, type PreparedRival, type Rival } from './rival';

type Ort = Pick<typeof import('onnxruntime-node'), 'InferenceSession' | 'Tensor' | 'env'>;
type Package = 'onnxruntime-node' | 'onnxruntime-web';
type Typed = TypedTensor<ModelType>;

function modelType({ dtype }: Case): ModelType | undefined {
  return modelTypes.find((type) => type === dtype);
}

/** onnxruntime-web has at most 4 GiB, which must hold its copies of a call's arrays. */
const maxElementsOfWeb = 2 ** 27;

export const onnxruntimeRivals: readonly Rival[] = [
  {
    ...rmsNormBy('onnxruntime-node'),
    description: "onnxruntime's SimplifiedLayerNormalization, with as many threads as ours",
    outputs: ['given', 'fresh'],
  },
  {
    name: 'onnxruntime-node layer-norm',
    computes: 'layer-norm',
    description: "onnxruntime's LayerNormalization, with as many threads as ours",
    packages: ['onnxruntime-node'],
    outputs: ['given', 'fresh'],
    supports: (one) => one.op === 'forward' && modelType(one) !== undefined,
    load: () => load('onnxruntime-node layer-norm', 'onnxruntime-node', () => 'LayerNormalization'),
  },
  {
    ...rmsNormBy('onnxruntime-web', maxElementsOfWeb),
    description:
      "onnxruntime's SimplifiedLayerNormalization in WebAssembly, with as many threads as ours; the time " +
      'includes copies into its memory and back',
    outputs: ['fresh'], // it cannot write into an existing output
  },
];

function rmsNormBy(name: Package, maxElements = Infinity): Omit<Rival, 'description' | 'outputs'> {
  return {
    name,
    computes: 'rms-norm',
    packages: [name],
    supports: (one) => {
      if (one.rows * one.hiddenSize > maxElements) return false;
      // onnxruntime does not round a float16 sum before it normalises it.
      return one.op === 'forward'
        ? modelType(one) !== undefined
        : one.op === 'residual' && one.dtype === 'float32';
    },
    load: () =>
      load(name, name, ({ op }) =>
        op === 'residual' ? 'SkipSimplifiedLayerNormalization' : 'SimplifiedLayerNormalization',
      ),
  };
}

async function load(
  name: string,
  from: Package,
  opType: (one: Case) => string,
): Promise<LoadedRival> {
  const ort = await importInstalled<Ort>(name, [from], () =>
    from === 'onnxruntime-web' ? importWeb() : import('onnxruntime-node'),
  );
  return {
    version: ort.env.versions.common,
    prepare: (one, arrays, outputs) => prepare(ort, opType(one), one, arrays, outputs),
  };
}

/** Sets the thread count of the whole process, since it is not an option of a session. */
async function importWeb(): Promise<Ort> {
  const ort = await import('onnxruntime-web');
  ort.env.wasm.numThreads = getNumThreads();
  return ort;
}

async function prepare(
  ort: Ort,
  opType: string,
  one: Case,
  arrays: Arrays,
  outputs: OutputMode,
): Promise<PreparedRival> {
  const { rows, hiddenSize } = one;
  const type = modelType(one);
  if (type === undefined) throw new TypeError(`No model of ${opType} for ${one.dtype}`);
  const bias = zeros(type, hiddenSize);
  const elements: Readonly<Record<string, Elements | Int8Array>> = {
    ...arrays,
    y: arrays.out,
    bias,
  };
  const tensor = (name: string): Tensor => {
    const dims = name === 'weight' || name === 'bias' ? [hiddenSize] : [rows, hiddenSize];
    // onnxruntime's own type of a float16 array depends on the version of Node.js.
    return new ort.Tensor(type, elements[name] as Float32Array, dims);
  };
  const named = (names: readonly string[]): Record<string, Tensor> =>
    Object.fromEntries(names.map((name) => [name, tensor(name)]));

  const session = await ort.InferenceSession.create(modelFile(opType, type), {
    intraOpNumThreads: getNumThreads(),
  });
  const inputs = named(session.inputNames);
  const existing = outputs === 'given' ? named(session.outputNames) : undefined;
  let results: InferenceSession.ReturnType = {};
  return {
    run: async (repeats) => {
      const start = process.hrtime.bigint();
      for (let i = 0; i < repeats; ++i) {
        results = await (existing ? session.run(inputs, existing) : session.run(inputs));
      }
      return Number(process.hrtime.bigint() - start);
    },
    results: (): Answer =>
      Object.fromEntries(
        Object.entries(results).map(([name, value]) => [name, floats(value as Typed)]),
      ),
    dispose: () => session.release(),
  };
}

function floats({ type, data }: Typed): Float32Array {
  if (type === 'float32') return data as Float32Array;
  const { buffer, byteOffset, length } = data;
  return fromFloat16(new Uint16Array(buffer, byteOffset, length));
}
