/** Of a fatbin, all machine code and the newest PTX. */
export function shippedFatbin(fatbin: Buffer): Buffer;
