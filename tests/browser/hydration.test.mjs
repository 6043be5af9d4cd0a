// The rest of a copy that does not come: who waits for it is told, and it is tried again all the same.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hydration } from '../../src/browser/js/hydration.js';

globalThis.addEventListener ??= () => {}; // a page has it

test('who waits for the whole is told what does not pass by itself, and waits for the network', async () => {
  for (const [code, told] of [['DAMAGED', true], ['DENIED', true], ['STORAGE_FULL', true], ['UNREACHABLE', false]]) {
    let attempts = 0;
    let position = { whole: false, sum: 'ab' };
    const session = {
      position: () => position,
      authorize() {},
      async hydrate() {
        attempts += 1;
        if (attempts <= 2) throw Object.assign(new Error(code), { code });
        return true;
      },
      prove: () => (position = { ...position, whole: true }),
    };
    const hydration = new Hydration(session, { token: async () => 'token', alone: (change) => change(), tell() {} });
    hydration.start();
    const end = hydration.whole().then(() => 'whole', (error) => error.code);
    assert.equal(await end, told ? code : 'whole');
    // The attempts go on; who asks later gets it.
    await hydration.whole();
    assert.equal(attempts, 3);
  }
});

test('who waits for the whole is told when it can go on no more', async () => {
  const session = {
    position: () => ({ whole: false, sum: null }),
    authorize() {},
    hydrate: async () => Promise.reject(Object.assign(new Error('damaged'), { code: 'DAMAGED' })),
    forget() {
      throw Object.assign(new Error('no more files'), { code: 'STORAGE' });
    },
  };
  const hydration = new Hydration(session, { token: async () => 'token', alone: (change) => change(), tell() {} });
  await assert.rejects(hydration.whole(), { code: 'STORAGE' });
});
