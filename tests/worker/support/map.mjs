// A second, independent reader of page maps and plans, after the descriptions and not after the Rust code: it puts a
// database together from the pages that they lead to. Pages are of the codec `stored`.
import assert from 'node:assert/strict';
import { inflateSync } from 'node:zlib';
import { hex16 } from './ltx.mjs';

/** A window of a page map: its state, and for each page the object, the offset and the length. */
export function decodeMap(bytes) {
  const body = inflateSync(bytes);
  assert.equal(body.subarray(0, 8).toString('latin1'), 'WFPMAP1\n');
  let at = 8;
  const number = (length) => body.subarray(at, (at += length));
  const u32 = () => number(4).readUInt32BE();
  const u64 = () => number(8).readBigUInt64BE();
  const uvarint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = body[at++];
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  const zigzag = (value) => (value % 2 ? -(value + 1) / 2 : value / 2);
  const [txid, hasSum, sum] = [u64(), number(1)[0], u64()];
  const state = { position: `${hex16(txid)}/${hasSum ? hex16(sum) : '-'}`, pageSize: u32(), commit: u32(), timestamp: Number(u64()) };
  const [first, count] = [u32(), u32()];
  const objects = Array.from({ length: uvarint() }, () => {
    const [level, min, more] = [number(1)[0], uvarint(), uvarint()];
    return { level, min, max: min + more };
  });
  const lengths = Array.from({ length: count }, uvarint);
  const ends = objects.map(() => 0);
  const places = [];
  while (places.length < count) {
    const [pages, object] = [uvarint(), uvarint()];
    ends[object] += zigzag(uvarint());
    for (let page = 0; page < pages; page++) {
      const length = lengths[places.length];
      places.push({ pgno: first + places.length, object: objects[object], offset: ends[object], length });
      ends[object] += length;
    }
  }
  assert.equal(at, body.length);
  return { ...state, objects, places };
}

const extension = (level) => (level === 10 ? 'bundle' : 'ltx');

async function range(send, db, { level, min, max }, offset, length) {
  const name = `${level}/${typeof min === 'string' ? min : hex16(min)}-${typeof max === 'string' ? max : hex16(max)}.${extension(level)}`;
  const answer = await send('GET', `/v1/${db}/ltx/${name}`, { headers: { Range: `bytes=${offset}-${offset + length - 1}` } });
  assert.equal(answer.status, 206, name);
  return Buffer.from(await answer.arrayBuffer());
}

/** A state as its page map tells it, asked for `step` pages at a time. `query` names the state. */
export async function mapped(send, db, query = '', step = 5) {
  const pages = [];
  for (let next = '1'; next !== null; ) {
    const answer = await send('GET', `/v1/${db}/map?from=${next}&to=${Number(next) + step - 1}&${query}`);
    assert.equal(answer.status, 200, `${db} ${query}`);
    const map = decodeMap(Buffer.from(await answer.arrayBuffer()));
    assert.equal(answer.headers.get('Walferry-Position'), map.position);
    for (const { pgno, object, offset, length } of map.places) {
      const frame = await range(send, db, object, offset, length);
      assert.equal(frame.readUInt32BE(0), pgno);
      assert.equal(frame.readUInt16BE(4), 4, 'stored');
      pages.push(frame.subarray(10, 10 + map.pageSize));
    }
    next = answer.headers.get('Walferry-Next');
    if (next === null) {
      assert.equal(pages.length, map.commit);
      return { bytes: Buffer.concat(pages), position: map.position, time: map.timestamp };
    }
    assert.equal(Number(next), pages.length + 1);
  }
}

/** A state as its plan tells it. */
export async function planned(send, db, query = '') {
  const answer = await send('GET', `/v1/${db}/plan?${query}`);
  assert.equal(answer.status, 200, `${db} ${query}`);
  let [pages, last] = [[], null];
  for (const { level, min_txid: min, max_txid: max, size, bundle, offset } of (await answer.json()).segments) {
    const place = bundle ? { level: bundle.level, min: bundle.min_txid, max: bundle.max_txid } : { level, min, max };
    const bytes = await range(send, db, place, offset ?? 0, size);
    const pageSize = bytes.readUInt32BE(8);
    pages.length = Math.min(pages.length, bytes.readUInt32BE(12));
    for (let at = 100; bytes.readUInt32BE(at) !== 0; at += 10 + bytes.readUInt32BE(at + 6)) {
      pages[bytes.readUInt32BE(at) - 1] = bytes.subarray(at + 10, at + 10 + pageSize);
    }
    last = { max, time: Number(bytes.readBigInt64BE(32)), sum: hex16(bytes.readBigUInt64BE(92)) };
  }
  return { bytes: Buffer.concat(pages), position: `${last.max}/${last.sum}`, time: last.time };
}
