// wasm-bindgen's JavaScript, made safe to go on after a panic.
//
// Built with --experimental-reset-state-function and --force-enable-abort-handler it notices that the wasm instance died
// (a panic, a trap, a JavaScript exception that went through Rust's frames) and starts a new one at the next call. Three
// things are missing for a server with many requests in flight:
//
// * It compares an object's or a callback's instance with the current one *before* the guard that may replace the instance,
//   so that the first callback of another request after a death would run with pointers of the dead instance in the new one.
// * If the abort handler itself fails, as it does when the stack had overflown, the module stays dead for ever.
// * Nobody is told, so that requests whose futures died wait until the client gives up.
import { Failure } from '../lib/run.mjs';

const guard = '__wbg_call_guard();';

const patches = [
  // Source phase imports: plain ones mean the same to workerd, and esbuild and wrangler know them.
  [/^import source /gm, () => 'import '],
  [/if \(this\.__wbg_inst !== undefined/g, (found) => `${guard} ${found}`],
  [/if \(state\.instance !== __wbg_instance_id\)/g, (found) => `${guard} ${found}`],
  [/throw new Error\('Module terminated'\);/g, () => '__wbg_reset_state(); return;'],
  [/function __wbg_call_abort_hook\(\) \{/g, (found) => `${found} deaths++;`],
];

const additions = `
let deaths = 0;
/** How many instances have died so far. */
export const deathsSoFar = () => deaths;
/** Which instance answers now; starts a new one first if the last has died. */
export function instance() { ${guard} return __wbg_instance_id; }
`;

export function surviveDeath(glue) {
  for (const [pattern, replacement] of patches) {
    if (glue.search(pattern) < 0) {
      throw new Failure(`wasm-bindgen's JavaScript holds no ${pattern}: it has changed, and what scripts/build/worker-glue.mjs does to it must follow.`);
    }
    glue = glue.replace(pattern, replacement);
  }
  return glue + additions;
}
