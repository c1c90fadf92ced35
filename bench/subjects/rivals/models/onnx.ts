// Models of a single node for onnxruntime, made in memory: as much of ONNX's protobuf format as they
// take. Names and numbers of fields are those of onnx.proto.

import protobuf from 'protobufjs';

const field = (type: string, id: number, rule?: 'repeated') => ({
  type,
  id,
  ...(rule && { rule }),
});

const Model = protobuf.Root.fromJSON({
  nested: {
    Model: {
      fields: {
        irVersion: field('int64', 1),
        graph: field('Graph', 7),
        opsetImport: field('OperatorSet', 8, 'repeated'),
      },
    },
    OperatorSet: { fields: { domain: field('string', 1), version: field('int64', 2) } },
    Graph: {
      fields: {
        node: field('Node', 1, 'repeated'),
        name: field('string', 2),
        input: field('ValueInfo', 11, 'repeated'),
        output: field('ValueInfo', 12, 'repeated'),
      },
    },
    Node: {
      fields: {
        input: field('string', 1, 'repeated'),
        output: field('string', 2, 'repeated'),
        opType: field('string', 4),
        attribute: field('Attribute', 5, 'repeated'),
        domain: field('string', 7),
      },
    },
    Attribute: {
      fields: {
        name: field('string', 1),
        f: field('float', 2),
        i: field('int64', 3),
        type: field('int32', 20),
      },
    },
    ValueInfo: { fields: { name: field('string', 1), type: field('Type', 2) } },
    Type: { fields: { tensorType: field('TensorType', 1) } },
    TensorType: { fields: { elemType: field('int32', 1) } },
  },
}).lookupType('Model');

/** TensorProto.DataType. */
const elementTypes = { float32: 1, float16: 10, float64: 11 } as const;

export type ElementType = keyof typeof elementTypes;

/** An operator's call; a value whose name is empty is left out. All others are of one type. */
export interface OnnxNode {
  readonly opType: string;
  readonly domain: '' | 'com.microsoft';
  readonly input: readonly string[];
  readonly output: readonly string[];
  /** Outputs that are float32 whatever the type of the others. */
  readonly float32Output?: string;
  readonly type: ElementType;
  readonly axis?: number;
  readonly epsilon?: number;
}

/** A model of one node, whose values may have any shape. */
export function modelOf(node: OnnxNode): Uint8Array {
  const { opType, domain, input, output, float32Output, type, axis, epsilon } = node;
  const values = (names: readonly string[]) =>
    names
      .filter((name) => name !== '')
      .map((name) => ({
        name,
        type: { tensorType: { elemType: elementTypes[name === float32Output ? 'float32' : type] } },
      }));
  const attribute = [
    ...(epsilon === undefined ? [] : [{ name: 'epsilon', f: epsilon, type: 1 }]),
    ...(axis === undefined ? [] : [{ name: 'axis', i: axis, type: 2 }]),
  ];
  const graph = {
    node: [{ input, output, opType, domain, attribute }],
    name: 'graph',
    input: values(input),
    output: values(output),
  };
  const opsetImport = [
    { domain: '', version: 23 },
    { domain: 'com.microsoft', version: 1 },
  ];
  return Model.encode({ irVersion: 11, graph, opsetImport }).finish();
}
