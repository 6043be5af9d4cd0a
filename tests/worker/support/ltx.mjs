// A second, independent writer of LTX segments, after the description of the format and not after the Rust code: what
// the two disagree about fails a test. Pages are written by the codec `stored`.

const POLYNOMIAL = 0xd800_0000_0000_0000n;
const MASK = (1n << 64n) - 1n;

// CRC-64/GO-ISO, in two halves of 32 bits: BigInt per byte would take seconds a megabyte.
const [HIGH, LOW] = tables();

function tables() {
  const high = new Uint32Array(256);
  const low = new Uint32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ POLYNOMIAL : crc >> 1n;
    high[byte] = Number(crc >> 32n);
    low[byte] = Number(crc & 0xffff_ffffn);
  }
  return [high, low];
}

export class Crc {
  #high = 0xffff_ffff;
  #low = 0xffff_ffff;

  update(bytes) {
    let [high, low] = [this.#high, this.#low];
    for (const byte of bytes) {
      const index = (low ^ byte) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ LOW[index];
      high = (high >>> 8) ^ HIGH[index];
    }
    [this.#high, this.#low] = [high, low];
    return this;
  }

  get value() {
    return (BigInt(~this.#high >>> 0) << 32n) | BigInt(~this.#low >>> 0);
  }
}

const u16 = (value) => sized(2, (buffer) => buffer.writeUInt16BE(value));
const u32 = (value) => sized(4, (buffer) => buffer.writeUInt32BE(value));
const u64 = (value) => sized(8, (buffer) => buffer.writeBigUInt64BE(BigInt(value) & MASK));

function sized(length, write) {
  const buffer = Buffer.alloc(length);
  write(buffer);
  return buffer;
}

function uvarint(value) {
  const bytes = [];
  for (; value >= 0x80; value = Math.floor(value / 128)) bytes.push((value % 128) | 0x80);
  return Buffer.from([...bytes, value]);
}

export const hex16 = (value) => BigInt(value).toString(16).padStart(16, '0');

/** The CRC of a page under its number. */
export const pageCrc = (pgno, page) => new Crc().update(u32(pgno)).update(page).value;

/** What a page adds to the sum of its database. */
export function part(pgno, page) {
  let z = pageCrc(pgno, page);
  z = ((z ^ (z >> 30n)) * 0xbf58_476d_1ce4_e5b9n) & MASK;
  z = ((z ^ (z >> 27n)) * 0x94d0_49bb_1331_11ebn) & MASK;
  return z ^ (z >> 31n);
}

/** The sum of a database, given as its pages from the first. */
export const databaseSum = (pages) => pages.reduce((sum, page, index) => (sum + part(index + 1, page)) & MASK, 0n);

/**
 * A segment. `pages` are [number, content] in ascending order. `sums: false` leaves walferry's part out, as Litestream
 * does. Nothing is checked: tests write wrong ones, too.
 */
export function encode({ pageSize, commit, min, max = min, timestamp, before = 0n, after = 0n, pages, sums = true, flags = 2 }) {
  const header = Buffer.concat([
    Buffer.from('LTX1'),
    u32(flags),
    u32(pageSize),
    u32(commit),
    u64(min),
    u64(max),
    u64(timestamp),
    Buffer.alloc(40), // checksum before, place in the WAL, salts, node
    sums ? Buffer.concat([Buffer.from('WFC1'), u64(before), u64(after)]) : Buffer.alloc(20),
  ]);
  const checksum = new Crc().update(header);
  const out = [header];
  const index = [];
  let offset = header.length;
  for (const [pgno, page] of pages) {
    const head = Buffer.concat([u32(pgno), u16(0x0004), u32(page.length + 8)]);
    checksum.update(head).update(page);
    out.push(head, page, u64(pageCrc(pgno, page)));
    const length = head.length + page.length + 8;
    index.push(uvarint(pgno), uvarint(offset), uvarint(length));
    offset += length;
  }
  const indexBytes = Buffer.concat([...index, Buffer.from([0])]);
  const end = Buffer.concat([Buffer.alloc(6), indexBytes, u64(indexBytes.length), u64(0)]);
  checksum.update(end);
  return Buffer.concat([...out, end, u64(checksum.value | (1n << 63n))]);
}
