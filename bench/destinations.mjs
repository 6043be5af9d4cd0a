// Where replicas go: a folder, or a real S3 server on this machine.
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Failure } from '../scripts/lib/run.mjs';
import { s3ServerProgram, s3Server } from '../scripts/setup/s3-server.mjs';
import { sleep, start, stop } from './processes.mjs';

export function folder(scratch) {
  const root = join(scratch, 'replicas');
  return {
    kind: 'folder',
    replica(name) {
      const files = join(root, name);
      rmSync(files, { recursive: true, force: true });
      return { url: `file://${files}`, env: {}, files, ...counted(files) };
    },
    end: async () => {},
  };
}

/** s3s-fs keeps each object in a file of that name, so lag and bytes are read from those as in a folder. */
export async function s3(scratch) {
  await s3Server();
  const root = join(scratch, 's3');
  const log = join(scratch, 's3.log');
  mkdirSync(join(root, 'bench'), { recursive: true });
  const port = await freePort();
  const keys = ['benchmark', 'benchmark-secret'];
  const server = start(s3ServerProgram(), ['--host', '127.0.0.1', '--port', String(port), '--access-key', keys[0], '--secret-key', keys[1], root], { log, env: { RUST_LOG: 's3s=debug' } });
  for (let tries = 0; !(await answers(port)); tries += 1) {
    if (tries === 100) throw new Failure(`the S3 server does not answer:\n${readFileSync(log, 'utf8').slice(-2000)}`);
    await sleep(50);
  }
  const env = { AWS_ACCESS_KEY_ID: keys[0], AWS_SECRET_ACCESS_KEY: keys[1], AWS_REGION: 'us-east-1' };
  return {
    kind: 'S3',
    replica(name) {
      const files = join(root, 'bench', name);
      rmSync(files, { recursive: true, force: true });
      const url = `s3://bench/${name}?endpoint=${encodeURIComponent(`http://127.0.0.1:${port}`)}&forcePathStyle=true`;
      return { url, env, files, ...counted(files) };
    },
    end: () => stop(server),
  };
}

/** What a replica's files amount to. */
function counted(files) {
  const all = () => {
    try {
      return readdirSync(files, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile() && !entry.name.startsWith('.'));
    } catch {
      return [];
    }
  };
  const size = (entry) => {
    try {
      return statSync(join(entry.parentPath ?? entry.path, entry.name)).size;
    } catch {
      return 0; // deleted since
    }
  };
  return { objects: () => all().length, bytes: () => all().reduce((sum, entry) => sum + size(entry), 0) };
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const answers = (port) => fetch(`http://127.0.0.1:${port}/`).then(() => true, () => false);
