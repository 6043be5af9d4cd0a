// How many tests passed and failed, from what the runners themselves printed last.

const colours = /\x1b\[[0-9;]*m/g;

// cargo's and wasm-bindgen's runner, one line a test binary: "test result: ok. 12 passed; 0 failed; 1 ignored; …"
const rust = /^\s*test result: .*?(\d+) passed; (\d+) failed;.*$/;
// Node's, one line each: "# pass 12" in TAP, "ℹ pass 12" for people
const node = /^\s*(?:#|ℹ) (pass|fail|cancelled|skipped) (\d+)$/;

export function counts(output) {
  const total = { passed: 0, failed: 0, lines: [] };
  for (const raw of output.split('\n')) {
    const line = raw.replace(colours, '').trimEnd();
    const [, passed, failed] = rust.exec(line) ?? [];
    const [, kind, number] = node.exec(line) ?? [];
    total.passed += Number(passed ?? (kind === 'pass' ? number : 0));
    total.failed += Number(failed ?? (['fail', 'cancelled'].includes(kind) ? number : 0));
    // A binary without a test says nothing worth repeating.
    if ((kind && (kind === 'pass' || number !== '0')) || (passed && (passed !== '0' || failed !== '0'))) total.lines.push(line.trim());
  }
  return total;
}
