// A WAL written by hand, after SQLite's description of the format: what no SQLite would write, tests do.

/** One from its start: frames of [number, content, size of the database if it ends a transaction]. */
export function wal(pageSize, [salt1, salt2], frames) {
  const header = Buffer.alloc(32);
  [0x377f_0682, 3_007_000, pageSize, 0, salt1, salt2].forEach((word, at) => header.writeUInt32BE(word, 4 * at));
  let sum = checksum([0, 0], header.subarray(0, 24));
  put(header, 24, sum);
  const out = [header];
  for (const [pgno, page, commit = 0] of frames) {
    const head = Buffer.alloc(24);
    [pgno, commit, salt1, salt2].forEach((word, at) => head.writeUInt32BE(word, 4 * at));
    sum = checksum(checksum(sum, head.subarray(0, 8)), page);
    put(head, 16, sum);
    out.push(head, page);
  }
  return Buffer.concat(out);
}

function checksum([one, two], bytes) {
  for (let at = 0; at < bytes.length; at += 8) {
    one = (one + bytes.readUInt32LE(at) + two) >>> 0;
    two = (two + bytes.readUInt32LE(at + 4) + one) >>> 0;
  }
  return [one, two];
}

function put(bytes, at, [one, two]) {
  bytes.writeUInt32BE(one, at);
  bytes.writeUInt32BE(two, at + 4);
}

/** An empty database file of so many pages: a header, and zeros. */
export function databaseFile(pageSize, pages) {
  const file = Buffer.alloc(pageSize * pages);
  file.set(databaseHeader(pageSize, pages));
  return file;
}

/** The first 100 bytes of one. */
export function databaseHeader(pageSize, pages) {
  const header = Buffer.alloc(100);
  header.write('SQLite format 3\0', 'latin1');
  header.writeUInt16BE(pageSize === 65_536 ? 1 : pageSize, 16);
  header.writeUInt32BE(pages, 28);
  return header;
}
