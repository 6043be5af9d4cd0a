// What a user writes, checked by `tsc` and never run: what must compile does, and what must not does not.
import { WalferryError, objects, open, persist, storage, type Database, type ErrorCode, type FollowState, type Position, type Value } from 'walferry';
import { openCopy, type Copy } from 'walferry/restore';

export async function use(): Promise<void> {
  const db: Database = await open({ url: new URL('https://walferry.example.workers.dev'), database: 'app', token: async () => 'fresh', onProgress: ({ bytes }) => bytes.toFixed(), signal: AbortSignal.timeout(1000) });

  const { rows, columns, truncated, txid } = await db.query<[number, string]>('select id, name from item where id > ?', [100], { limit: 5 });
  const [[id, name]] = rows;
  console.log(id.toFixed(), name.toUpperCase(), columns.join(), truncated === true, txid.length);
  // @ts-expect-error a column is a value of SQLite
  await db.query<[Date]>('select 1');
  const untyped: Value[][] = (await db.query('select 1')).rows;

  const items = await db.objects<{ id: number; name: string | null }>('select id, name from item where name = $name', { name: 'x' });
  console.log(items[0]?.name?.length, untyped.length);
  await db.query('select ?, ?, ?, ?, ?', [null, 1, 2n, new Uint8Array([1]), new ArrayBuffer(1)]);
  // @ts-expect-error undefined is no value
  await db.query('select ?', [undefined]);

  for await (const [id, name] of db.iterate<[number, string]>('select id, name from item', [], { batch: 10 })) console.log(id.toFixed(), name.length);
  for await (const { id } of db.iterate('select id from item').objects<{ id: number }>()) console.log(id.toFixed());

  const end: () => void = db.subscribe<[number]>('select count(*) from item', undefined, ({ rows: [[count]] }) => count.toFixed(), { onError: ({ code }) => code });
  const stop = db.follow((state: FollowState) => (state.connected ? state.lag : state.error?.code));
  db.addEventListener('position', ({ detail }) => detail.txid);
  const position: Position = await db.waitFor(db.position?.txid ?? '0000000000000001', { signal: AbortSignal.timeout(10) });
  end();
  stop();
  console.log(position.size, objects<{ a: number }>({ columns: ['a'], rows: [[1]] })[0]?.a);
  console.log(await persist(), (await storage()).quota, (await db.export()).size);

  try {
    await db.refresh();
  } catch (error) {
    if (!(error instanceof WalferryError)) throw error;
    const code: ErrorCode = error.code;
    if (code === 'DIVERGED') await db.restore();
    // @ts-expect-error no such code
    if (code === 'NO_SUCH_CODE') await db.delete();
  }
  await db.close();
}

export async function restore(): Promise<void> {
  const copy: Copy = await openCopy({ url: 'https://walferry.example.workers.dev', database: 'app', signal: AbortSignal.timeout(1000) });
  const end = copy.follow(({ txid }) => txid.length, ({ status }) => status);
  console.log(copy.read(0, 100).length, copy.path.join('/'), copy.position?.txid);
  end();
  await copy.close();
}
