// The other browser of the tests. It is driven by WebDriver BiDi, which it speaks itself.
import { Failure, onPath } from '../lib/run.mjs';
import { apt, canApt } from './apt.mjs';

export const findFirefox = () => process.env.FIREFOX ?? ['firefox-esr', 'firefox'].map(onPath).find(Boolean);

export async function firefox() {
  if (findFirefox()) return;
  if (!canApt()) throw new Failure('Firefox is needed for the tests in the browser. Install it (Debian: `apt-get install firefox-esr`), so that it is on PATH, or name it in FIREFOX.');
  console.error('setup: installing Firefox');
  await apt('firefox-esr');
}
