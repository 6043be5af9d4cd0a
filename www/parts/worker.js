// Questions to the Worker itself, beside those that the module asks.

/** The answer to a GET of `path`; an error with the Worker's own sentence otherwise. */
export async function ask({ url, token }, path, { signal } = {}) {
  const { origin, pathname } = new URL(url);
  let answer;
  try {
    answer = await fetch(`${origin}${pathname.replace(/\/+$/, '')}/v1/${path}`, { signal, cache: 'no-store', headers: token ? { Authorization: `Bearer ${token}` } : {} });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw Object.assign(new Error(`${new URL(url).host} cannot be reached`), { code: 'UNREACHABLE' });
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => undefined);
  throw Object.assign(new Error(told?.error?.message ?? told?.message ?? `${new URL(url).host} answers with status ${answer.status}`), { code: answer.status === 401 || answer.status === 403 ? 'DENIED' : 'PROTOCOL' });
}

/** All that a Worker keeps, page by page of its list. */
export async function databases(place, options) {
  const all = [];
  let after = '';
  do {
    const { databases, next } = await (await ask(place, after && `?after=${after}`, options)).json();
    all.push(...databases);
    after = next;
  } while (after);
  return all;
}

/** The moments between which every state is kept: `{ first, last }` in Unix milliseconds. */
export async function window(place, options) {
  const times = { whole: [], all: [] };
  let cursor = '';
  do {
    const { segments, next } = await (await ask(place, `${place.database}/ltx${cursor && `?cursor=${encodeURIComponent(cursor)}`}`, options)).json();
    for (const { timestamp, min_txid: min } of segments) {
      if (!timestamp) continue;
      times.all.push(timestamp);
      // A segment that begins with the first transaction is a whole database: history begins with the oldest of them.
      if (BigInt(`0x${min}`) <= 1n) times.whole.push(timestamp);
    }
    cursor = next;
  } while (cursor);
  return times.whole.length ? { first: least(times.whole), last: -least(times.all.map((at) => -at)) } : undefined;
}

// Of any number of them.
const least = (numbers) => numbers.reduce((one, other) => Math.min(one, other));
