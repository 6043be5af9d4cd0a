// The S3 server of the tests, compiled from crates.io: s3s-fs keeps buckets in a folder.
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { inRoot } from '../lib/root.mjs';
import { Failure, run } from '../lib/run.mjs';
import { provide, toolDir, toolLog } from '../lib/tools.mjs';
import { s3sFs as version } from '../lib/versions.mjs';

export const s3ServerProgram = () => join(toolDir('s3s-fs', version), 'bin', 's3s-fs');

export async function s3Server() {
  await provide('s3s-fs', version, async (dir) => {
    console.error(`setup: compiling the S3 server of the tests, s3s-fs ${version} (about four minutes of one core, once)`);
    const objects = inRoot('.tools', 's3s-fs-target'); // outside the folder that is thrown away when cut off
    const args = ['install', 's3s-fs', '--version', version, '--features', 'binary', '--locked', '--root', dir];
    const env = { ...process.env, CARGO_TARGET_DIR: objects };
    await run('cargo', args, { env, log: toolLog('s3s-fs'), what: `compiling s3s-fs ${version}` });
    if (!existsSync(join(dir, 'bin', 's3s-fs'))) throw new Failure(`compiling s3s-fs ${version} left no program s3s-fs.`);
    rmSync(objects, { recursive: true, force: true });
  });
}
