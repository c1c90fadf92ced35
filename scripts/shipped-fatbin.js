// Of a fatbin, what the package has: all machine code, and the newest PTX. Older PTX is for GPUs that
// there is machine code for, and so for simulated ones alone; it is a quarter of the file.

const { Buffer } = require('node:buffer');

/**
 * The same bytes as nvcc makes of the same sources for fewer architectures: a header of u32 magic, u16
 * version, u16 bytes of the header and u64 bytes of what follows; then entries, of u16 kind (1 PTX,
 * 2 machine code), u16 version, u32 bytes of the entry's header, u64 bytes of its payload, and at 28
 * the u32 compute capability, such as 90.
 */
function shippedFatbin(fatbin) {
  const headerBytes = fatbin.readUInt16LE(6);
  const entries = [];
  for (let offset = headerBytes; offset < fatbin.length;) {
    const size = fatbin.readUInt32LE(offset + 4) + Number(fatbin.readBigUInt64LE(offset + 8));
    const isPtx = fatbin.readUInt16LE(offset) === 1;
    const capability = fatbin.readUInt32LE(offset + 28);
    entries.push({ isPtx, capability, bytes: fatbin.subarray(offset, offset + size) });
    offset += size;
  }
  const ptx = entries.filter(({ isPtx }) => isPtx).map(({ capability }) => capability);
  const newest = Math.max(...ptx);
  const kept = entries.filter(({ isPtx, capability }) => !isPtx || capability === newest);
  const payload = Buffer.concat(kept.map(({ bytes }) => bytes));
  const header = Buffer.from(fatbin.subarray(0, headerBytes));
  header.writeBigUInt64LE(BigInt(payload.length), 8);
  return Buffer.concat([header, payload]);
}

module.exports = { shippedFatbin };
