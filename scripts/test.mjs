// Runs all tests, or the stages named:  npm test [-- lint build native interop worker browser page]
import { command } from './test/command.mjs';
import { counts } from './test/counts.mjs';
import { stages } from './test/stages.mjs';
import { Failure, main } from './lib/run.mjs';
import { setup } from './setup.mjs';

await main(async () => {
  const names = process.argv.slice(2);
  const unknown = names.find((name) => !stages[name]);
  if (unknown) throw new Failure(`there is no stage \`${unknown}\`; the stages are ${Object.keys(stages).join(', ')}.`);
  const started = performance.now();
  await setup({ tests: true });
  const results = [{ name: 'setup', seconds: seconds(started), lines: [], passed: 0, failed: 0 }];
  const wanted = Object.keys(stages).filter((name) => !names.length || names.includes(name));
  // The build has long stretches on one core: lint, which says nothing while all is well, runs beside it.
  const lint = wanted.includes('lint') && wanted.includes('build') ? runStage('lint', []) : undefined;
  for (const name of wanted) {
    if (name === 'lint' && lint) continue;
    const result = await runStage(name, results);
    if (name === 'build' && lint) results.push(await lint);
    results.push(result);
  }
  return report(results, seconds(started));
});

async function runStage(name, before) {
  const { about, tests, commands } = stages[name];
  console.log(`\n=== ${name}: ${about}`);
  const started = performance.now();
  const result = { name, lines: [], passed: 0, failed: 0, wrong: [] };
  if (name !== 'lint' && before.some((stage) => stage.name === 'build' && stage.wrong.length)) {
    result.wrong.push('not run, because the build failed.');
  } else {
    for (const [program, args, options] of commands()) {
      const { output, wrong } = await command(program, args, options);
      if (wrong) result.wrong.push(wrong);
      if (!tests) continue;
      const { passed, failed, lines } = counts(output);
      result.passed += passed;
      result.failed += failed;
      result.lines.push(...lines);
    }
    if (tests && result.passed + result.failed === 0) result.wrong.push('no test ran.');
  }
  // A stage that fails without a test that fails (it did not compile, say) counts as one failure.
  if (result.wrong.length && result.failed === 0) result.failed = 1;
  return { ...result, seconds: seconds(started) };
}

function report(results, total) {
  console.log('\n=== summary');
  for (const { name, lines, wrong = [] } of results) {
    for (const line of [...lines, ...wrong.map((sentence) => `FAILED: ${sentence}`)]) console.log(`${name}: ${line}`);
  }
  console.log('');
  for (const { name, seconds, failed } of results) console.log(`${name.padEnd(8)} ${seconds.toFixed(1).padStart(7)} s${failed ? '  FAILED' : ''}`);
  const sum = (what) => results.reduce((total, result) => total + result[what], 0);
  console.log(`${'total'.padEnd(8)} ${total.toFixed(1).padStart(7)} s`);
  console.log(`${sum('passed')} passed, ${sum('failed')} failed`);
  return sum('failed') ? 1 : 0;
}

function seconds(since) {
  return (performance.now() - since) / 1000;
}
