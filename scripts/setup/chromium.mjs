// The browser of the tests, and the driver through which wasm-bindgen's test runner talks to it.
import { Failure, onPath } from '../lib/run.mjs';
import { apt, canApt } from './apt.mjs';

export const findChromium = () => process.env.CHROMIUM ?? ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'].map(onPath).find(Boolean);
export const findDriver = () => process.env.CHROMEDRIVER ?? onPath('chromedriver');

export async function chromium() {
  if (findChromium() && findDriver()) return;
  if (!canApt()) {
    throw new Failure(
      'Chromium and its driver are needed for the tests in the browser. Install both, of one version (Debian: `apt-get install chromium ' +
        'chromium-driver`), so that `chromium` and `chromedriver` are on PATH, or name them in CHROMIUM and CHROMEDRIVER.',
    );
  }
  console.error('setup: installing Chromium and its driver');
  await apt('chromium', 'chromium-driver');
}
