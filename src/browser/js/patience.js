// Files that somebody has open: whoever had them before us has ended, or will soon.

/** How long they may take to let go of them, in milliseconds. */
const PATIENCE = 30_000;

/** What `open()` yields, once the files are free. The browser ends a lock first, and the files of its worker a little later. */
export async function patiently(open, signal) {
  const given = performance.now() + PATIENCE;
  for (let pause = 5; ; pause = Math.min(pause * 2, 250)) {
    try {
      return await open();
    } catch (error) {
      if (error.code !== 'LOCKED' || signal?.aborted || performance.now() > given) throw error;
      await sleep(pause);
    }
  }
}

export const sleep = (pause) => new Promise((resolve) => setTimeout(resolve, pause));
