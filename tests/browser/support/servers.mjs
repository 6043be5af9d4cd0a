// Replicas where nothing of ours answers: folders that nginx serves, and a bucket, which is behind it for the headers that let
// a page of another origin in.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { leash } from '../../../scripts/lib/leash.mjs';
import { findNginx } from '../../../scripts/setup/nginx.mjs';
import { s3ServerProgram } from '../../../scripts/setup/s3-server.mjs';
import { litestreamProgram } from '../../../scripts/setup/litestream.mjs';
import { program, startApplication } from './source.mjs';

const root = mkdtempSync(join(tmpdir(), 'walferry-plain-'));
const ends = [];
after(async () => {
  for (const end of ends.reverse()) await end();
  rmSync(root, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
});

/** Starts them: `html` and `json` show what is in `folder`, each in its own way; `bucket` is the bucket that is kept in `kept`. */
export async function servers() {
  const [folder, buckets] = ['files', 's3'].map((name) => join(root, name));
  const kept = join(buckets, 'backups');
  for (const path of [folder, kept, join(root, 'nginx')]) mkdirSync(path, { recursive: true });
  const [s3, html, json, bucket] = await ports(4);
  start(process.env.S3S_FS ?? s3ServerProgram(), ['--host', '127.0.0.1', '--port', s3, buckets], 'ignore');
  const server = (port, what) => `server { listen 127.0.0.1:${port}; add_header Access-Control-Allow-Origin * always; location / { ${what} } }`;
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${root}/nginx/${name};`).join(' ');
  writeFileSync(join(root, 'nginx.conf'), `
    daemon off; master_process off; error_log stderr crit; pid ${root}/nginx/pid;
    events {}
    http { access_log off; ${paths} default_type application/octet-stream;
      ${server(html, `root ${folder}; autoindex on;`)}
      ${server(json, `root ${folder}; autoindex on; autoindex_format json;`)}
      ${server(bucket, `proxy_pass http://127.0.0.1:${s3}; proxy_set_header Host 127.0.0.1:${s3};`)}
    }`);
  start(findNginx(), ['-p', join(root, 'nginx'), '-c', join(root, 'nginx.conf')]);
  for (const port of [s3, html, json, bucket]) await answers(port);
  const at = (port) => `http://127.0.0.1:${port}`;
  return { folder, kept, s3: at(s3), html: at(html), json: at(json), bucket: `${at(bucket)}/backups` };
}

/** An application whose database is shipped to `url`, which is kept in the folder `kept`, by walferry or the real `litestream`. */
export async function shipped(name, kept, url, by = 'walferry', codec = 'lz4') {
  const path = join(root, `${name.replaceAll('/', '-')}.db`);
  const application = await startApplication(path);
  ends.push(application.stop);
  await application.run(['create table t (id integer primary key, name text)']);
  await application.run(["insert into t (name) values ('one')"]);
  const env = { ...process.env, LOG_LEVEL: 'warn', AWS_SKIP_SIGNATURE: 'true', AWS_ALLOW_HTTP: 'true' };
  const ship = () => {
    if (by === 'walferry') return start(program(), ['replicate', '--sync-interval', '50ms', '--codec', codec, path, url], 'inherit', env);
    const config = `${path}.yml`;
    writeFileSync(config, `logging: { level: error }\ndbs:\n  - path: ${path}\n    replica: { url: "${url}", sync-interval: 100ms }\n`);
    return start(process.env.LITESTREAM_0_5_17 ?? litestreamProgram('0.5.17'), ['replicate', '-config', config], 'inherit', env);
  };
  let stop = ship();
  const segments = () => (existsSync(kept) ? readdirSync(kept, { recursive: true }).filter((path) => path.endsWith('.ltx')) : []);
  for (let tries = 0; !segments().length; tries++) {
    if (tries > 600) throw new Error(`nothing was shipped to ${url}`);
    await sleep(50);
  }
  return {
    path,
    segments,
    run: (...statements) => application.run(statements),
    /** What is in the database file when all is in it. */
    content: async () => {
      const [[busy]] = await application.run(['pragma wal_checkpoint(truncate)']);
      if (busy) throw new Error('the database cannot be checkpointed');
      return readFileSync(path);
    },
    stop: () => stop(),
    ship: () => (stop = ship()),
  };
}

/** Ends it when the test ends, or when what is returned is called. */
function start(command, args, stderr = 'inherit', env = process.env) {
  const child = leash(spawn(command, args.map(String), { stdio: ['ignore', 'ignore', stderr], env }));
  const ended = once(child, 'exit');
  const end = () => (child.kill('SIGTERM'), ended);
  ends.push(end);
  return end;
}

/** Free ones. */
async function ports(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const found = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => (server.close(), once(server, 'close'))));
  return found;
}

async function answers(port) {
  for (let tries = 0; tries < 400; tries++) {
    const socket = connect(port, '127.0.0.1');
    const there = await Promise.race([once(socket, 'connect').then(() => true), once(socket, 'error').then(() => false)]).catch(() => false);
    socket.destroy();
    if (there) return;
    await sleep(25);
  }
  throw new Error(`nothing answers at port ${port}`);
}
