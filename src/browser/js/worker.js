// The dedicated worker: passes calls on to the wasm, which holds the files and SQLite.
import init, { Session } from './engine.js';

let session;
const running = new Map();
const updates = new Set();

const methods = {
  async open([url, database, token]) {
    await init();
    session = await Session.open(url, database, token);
    return session.position();
  },
  query: ([sql, parameters, limit]) => session.query(sql, parameters, limit),
  update: ([anew], { signal, progress }) => update(session.update(anew, progress, signal)),
  export: () => whole(),
  close: () => end((session) => session.free()),
  delete: () => end((session) => session.delete()),
};

onmessage = async ({ data: { id, method, args, abort } }) => {
  if (abort) return running.get(abort)?.abort();
  const controller = new AbortController();
  running.set(id, controller);
  try {
    if (method !== 'open' && !session) throw Object.assign(new Error('the database is closed.'), { code: 'CLOSED' });
    const progress = (progress) => postMessage({ id, progress });
    const result = await methods[method](args, { signal: controller.signal, progress });
    postMessage({ id, result });
  } catch (error) {
    postMessage({ id, error: { code: error.code ?? 'INTERNAL', message: told(error) } });
  } finally {
    running.delete(id);
  }
};

// All at once: nothing is applied in between.
function whole() {
  const parts = [];
  let at = 0;
  for (let part; (part = session.read(at, 1 << 20)).length; at += part.length) parts.push(part);
  return new Blob(parts, { type: 'application/vnd.sqlite3' });
}

async function update(updating) {
  updates.add(updating);
  return updating.finally(() => updates.delete(updating));
}

// What is under way ends first: it holds the files.
async function end(how) {
  const ending = session;
  session = undefined;
  for (const controller of running.values()) controller.abort();
  ending.end_statements();
  await Promise.allSettled(updates);
  await how(ending);
}

function told(error) {
  if (error.code) return `${error.message.replace(/[.]$/, '')}.`;
  return error instanceof WebAssembly.RuntimeError ? `the database's worker has met a fault of its own (${error.message}); open the database again.` : `${error.message ?? error}.`;
}
