// Tabs that share a copy, and which of them leads.

/** In each tab: the package, and what the tests use of it. */
export async function prepare(page) {
  await page.evaluate(async () => {
    const module = await import('/walferry/walferry.js');
    const refusal = (promise) => promise.then((value) => ({ code: 'none', value: String(value) }), ({ name, code, message }) => ({ name, code, message }));
    const one = async (sql) => (await db.query(sql)).rows[0][0];
    window.walferry = { ...module, refusal, one };
  });
  return page;
}

/** Until the predicate, which may be async, holds in the page. */
export async function eventually(page, predicate, argument) {
  const given = performance.now() + 20_000;
  while (!(await page.evaluate(predicate, argument))) {
    if (performance.now() > given) throw new Error(`never: ${predicate}`);
    await new Promise((later) => setTimeout(later, 20));
  }
}

/** The tab whose worker leads, by the lock that it holds. Waits until there is one; fails if there are two. */
export async function leader(pages, database) {
  for (let tries = 0; tries < 400; tries++) {
    const leading = (await Promise.all(pages.map((page) => leads(page, database)))).map((leads, index) => leads && pages[index]).filter(Boolean);
    if (leading.length > 1) throw new Error(`${leading.length} tabs lead`);
    if (leading.length) return leading[0];
    await new Promise((later) => setTimeout(later, 25));
  }
  throw new Error('no tab leads');
}

async function leads(page, database) {
  for (const worker of page.workers()) {
    // A worker may end while it is asked.
    const leads = await worker
      .evaluate((database) => navigator.locks.request('whose?' + Math.random(), async (lock) => {
        const { held } = await navigator.locks.query();
        const us = held.find(({ name }) => name === lock.name).clientId;
        return held.some(({ name, clientId }) => clientId === us && name.startsWith(`walferry:${database}@`) && name.endsWith(':leader'));
      }), database)
      .catch(() => false);
    if (leads) return true;
  }
  return false;
}
