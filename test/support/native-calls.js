// Calls of the addon as lib/call makes them: the call record, then the operands in the order of the
// tables. Processes without TypeScript can use them too.

/**
 * Writes the record of a call. `operands`: tensors by name; `true` stands for an output that the
 * call allocates. `settings`: fields of the record by name, and `layouts` by the names of operands.
 */
function recordFor(binding, operation, operands, settings) {
  const rules = binding.operations[operation.replace('Async', '')];
  const { recordIntegers, recordNumbers, record } = binding;
  const integers = new Int32Array(record, 0, recordIntegers.length);
  const numbers = new Float64Array(record, 8 * Math.ceil(recordIntegers.length / 2));
  const { layouts = {}, hiddenSize } = settings;
  const bitsWhere = (holds) =>
    rules.reduce((bits, { name }, i) => (holds(operands[name], name) ? bits | (1 << i) : bits), 0);
  const fields = {
    device: -1,
    given: bitsWhere((operand) => operand !== undefined && operand !== null && operand !== true),
    made: bitsWhere((operand) => operand === true),
    float32: bitsWhere((operand) => operand instanceof Float32Array),
    strided: bitsWhere((_, name) => name in layouts),
    rows: operands.x?.length / hiddenSize,
    eps: 1e-6,
    scaleMax: Infinity,
    ...settings,
  };
  recordIntegers.forEach((name, i) => {
    integers[i] = fields[name] ?? 0;
  });
  recordNumbers.forEach((name, i) => {
    numbers[i] = fields[name] ?? 0;
  });
  rules.forEach(({ name }, i) => {
    if (name in layouts) numbers.set(layouts[name], recordNumbers.length + 4 * i);
  });
}

/** The addon's calls; they take their operands by name. */
function nativeCalls(binding) {
  const call = (operation) => (operands, settings) => {
    const rules = binding.operations[operation.replace('Async', '')];
    recordFor(binding, operation, operands, settings);
    const list = rules.map(({ name }) => (operands[name] === true ? null : operands[name]));
    if (operation.endsWith('Async')) return binding[operation](...list);
    return binding[operation](settings.stream ?? null, ...list);
  };
  return {
    forward: call('forward'),
    forwardAsync: call('forwardAsync'),
    backward: call('backward'),
    backwardAsync: call('backwardAsync'),
  };
}

module.exports = { nativeCalls, recordFor };
