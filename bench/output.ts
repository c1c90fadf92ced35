import type { WriteStream } from 'node:tty';

/** Whether a stream shows colours: a terminal does, unless the environment says NO_COLOR. */
export function isColoured(stream: WriteStream): boolean {
  return stream.isTTY && stream.hasColors();
}
