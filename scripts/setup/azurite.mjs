// Microsoft's Azure Blob Storage server for a developer's machine, for the tests. It is large, so nobody but them gets it.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Failure, run } from '../lib/run.mjs';
import { provide, toolDir, toolLog } from '../lib/tools.mjs';
import { azurite as version } from '../lib/versions.mjs';

const program = (dir) => join(dir, 'node_modules', '.bin', 'azurite-blob');

export const azuriteFolder = () => toolDir('azurite', version);
export const azuriteProgram = () => program(azuriteFolder());

export async function azurite() {
  await provide('azurite', version, async (dir) => {
    console.error(`setup: fetching Azurite ${version}`);
    const args = ['install', '--prefix', dir, '--ignore-scripts', '--no-audit', '--no-fund', '--no-save', `azurite@${version}`];
    await run('npm', args, { log: toolLog('azurite'), what: `fetching Azurite ${version}` });
    if (!existsSync(program(dir))) throw new Failure(`the package azurite ${version} holds no program azurite-blob.`);
  });
}
