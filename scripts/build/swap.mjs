// Output folders appear whole: made beside their place under another name, then renamed into it.
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';

export async function replaceFolder(place, fill) {
  const next = `${place}.next`;
  const last = `${place}.last`;
  rmSync(next, { recursive: true, force: true });
  mkdirSync(next, { recursive: true });
  await fill(next);
  rmSync(last, { recursive: true, force: true });
  mkdirSync(dirname(place), { recursive: true });
  if (existsSync(place)) renameSync(place, last);
  renameSync(next, place);
  rmSync(last, { recursive: true, force: true });
}
