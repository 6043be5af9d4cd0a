import { Database, START } from './support/database.mjs';
import { hex16 } from './support/ltx.mjs';
import { TOKENS, worker } from './support/worker.mjs';
import { test } from 'node:test';
test('x', async () => {
const w = await worker({ from: 'worker-faults', variables: TOKENS });
const { put, get, json, send } = w;
for (const time of [0n, 2n**53n, 2n**63n-1n, 8640000000000000n, 8640000000000001n, 253402300799999n, 4102444800000n]) {
  const db = `t-${time}`;
  const database = new Database();
  const a = await put(db, database.next(undefined, { timestamp: time }));
  const b = await put(db, database.next(undefined, { timestamp: time }));
  console.log(db, a.status, JSON.stringify(a.body), b.status, JSON.stringify(b.body).slice(0,200));
  for (const path of ['', '/ltx', '/plan', '/db', '/map']) { const r = await send('GET', `/v1/${db}${path}`); const t = await r.text(); console.log('   ', path, r.status, path.length<6 && !['/db','/map'].includes(path) ? t.slice(0,250):''); }
  console.log('    rebuild', JSON.stringify(await json('POST', `/v1/${db}/rebuild`).then(({status,body})=>[status,body])));
  console.log('    alarm', JSON.stringify((await json('POST', `/v1/-/alarm/${db}`)).body));
  const c = await put(db, database.next(undefined, { timestamp: time }));
  console.log('   ', c.status, JSON.stringify(c.body));
}
console.log(w.log());
});
