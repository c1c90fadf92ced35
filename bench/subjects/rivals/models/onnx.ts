// Makes models of a single node for onnxruntime, with the fields of ONNX's protobuf format that
// they need. Names and numbers of fields are those of onnx.proto.

import protobuf from 'protobufjs';

const Model = protobuf
  .parse(
    `syntax = "proto3";
    message Model { int64 irVersion = 1; Graph graph = 7; repeated OperatorSet opsetImport = 8; }
    message OperatorSet { string domain = 1; int64 version = 2; }
    message Graph {
      repeated Node node = 1; string name = 2;
      repeated ValueInfo input = 11; repeated ValueInfo output = 12;
    }
    message Node {
      repeated string input = 1; repeated string output = 2; string opType = 4;
      repeated Attribute attribute = 5; string domain = 7;
    }
    message Attribute { string name = 1; float f = 2; int64 i = 3; int32 type = 20; }
    message ValueInfo { string name = 1; Type type = 2; }
    message Type { TensorType tensorType = 1; }
    message TensorType { int32 elemType = 1; }`,
  )
  .root.lookupType('Model');

/** The numbers of TensorProto.DataType. */
const elementTypes = { float32: 1, float16: 10, float64: 11 } as const;

export type ElementType = keyof typeof elementTypes;

/** An operator with its values. An empty name leaves a value out. All others have the same type. */
export interface OnnxNode {
  readonly opType: string;
  readonly domain: '' | 'com.microsoft';
  /** The version of the standard's operators; default 21, the newest that onnxruntime 1.20 knows. */
  readonly opset?: number;
  readonly input: readonly string[];
  readonly output: readonly string[];
  /** The output that is float32, whatever the type of the others. */
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
    { domain: '', version: node.opset ?? 21 },
    { domain: 'com.microsoft', version: 1 },
  ];
  return Model.encode({ irVersion: 10, graph, opsetImport }).finish();
}
