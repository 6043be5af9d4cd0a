// The CLI. Cargo knows best whether there is anything to do.
import { run } from '../lib/run.mjs';
import { cargoEnv } from '../setup.mjs';

export async function native() {
  const env = { ...process.env, ...cargoEnv() };
  await run('cargo', ['build', '--release', '--bin', 'walferry'], { env, what: 'compiling the command line program' });
  return ['target/release/walferry'];
}
