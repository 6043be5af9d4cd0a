// Tools that no package manager keeps for us live in .tools/<name>-<version>/. Such a folder is filled under another
// name and renamed when complete: if it exists, it is whole, whatever was killed on the way.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { inRoot } from './root.mjs';

export const toolDir = (name, version) => inRoot('.tools', `${name}-${version}`);
export const toolLog = (name) => inRoot('.tools', 'log', `${name}.log`);

/** Makes sure of one tool: `fill(dir)` puts it into an empty folder. */
export async function provide(name, version, fill) {
  const dir = toolDir(name, version);
  if (existsSync(dir)) return dir;
  clearLeftovers(name, version);
  const unfinished = `${dir}.unfinished-${process.pid}`;
  mkdirSync(unfinished, { recursive: true });
  try {
    await fill(unfinished);
    renameSync(unfinished, dir);
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
  return dir;
}

// Only ever called under the setup lock, so nobody is filling them now.
function clearLeftovers(name, version) {
  mkdirSync(inRoot('.tools'), { recursive: true });
  for (const entry of readdirSync(inRoot('.tools'))) {
    if (entry.startsWith(`${name}-${version}.unfinished-`)) rmSync(inRoot('.tools', entry), { recursive: true, force: true });
  }
}
