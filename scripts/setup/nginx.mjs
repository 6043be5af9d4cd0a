// nginx, for the tests that a browser reads what it serves: folders, and a bucket behind it.
import { existsSync } from 'node:fs';
import { Failure, onPath } from '../lib/run.mjs';
import { apt, canApt } from './apt.mjs';

// Debian keeps it where only root looks.
export const findNginx = () => process.env.NGINX ?? onPath('nginx') ?? ['/usr/sbin/nginx'].find((path) => existsSync(path));

export async function nginx() {
  if (findNginx()) return;
  if (!canApt()) throw new Failure('nginx is needed for the tests in the browser. Install it (Debian: `apt-get install nginx-light`), or name it in NGINX.');
  console.error('setup: installing nginx');
  await apt('nginx-light');
}
