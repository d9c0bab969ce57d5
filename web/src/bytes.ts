// Bytes to columns of numbers: base64, deflate, and shuffled planes.

export type Numbers = Uint32Array | Float64Array;

export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

export async function inflate(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  if (bytes.length === 0) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * A column of `count` little-endian numbers of `width` bytes, stored plane by plane: all lowest
 * bytes first, then the next. Eight bytes give doubles, exact up to 2^53.
 */
export function unshuffled(bytes: Uint8Array, offset: number, width: number, count: number): Numbers {
  if (offset + width * count > bytes.length) throw new Error("the events end before their last column");
  const numbers = width > 4 ? new Float64Array(count) : new Uint32Array(count);
  for (let plane = 0; plane < width; plane++) {
    const from = offset + plane * count;
    const scale = 2 ** (8 * plane);
    for (let i = 0; i < count; i++) numbers[i] += bytes[from + i] * scale;
  }
  return numbers;
}

/** Sums of what came before and this: absolute values out of differences. */
export function summed(differences: Numbers): Float64Array {
  const sums = new Float64Array(differences.length);
  let sum = 0;
  for (let i = 0; i < sums.length; i++) sums[i] = sum += differences[i];
  return sums;
}

/** The signed number that zigzag wrote: 0, -1, 1, -2, 2, … */
export const unzigzag = (n: number): number => (n % 2 === 0 ? n / 2 : -(n + 1) / 2);
