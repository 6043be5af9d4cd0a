// What Cloudflare loads: the wasm's entry points, and what happens to requests when the wasm panics. `./index.js` is
// wasm-bindgen's JavaScript as changed by worker-glue.mjs: it starts a new instance at the next call after a death.
import * as wasm from './index.js';

/**
 * Calls into the wasm; when the instance dies before the answer, `dead()` answers instead of nobody. Each request looks
 * for itself: the runtime may lose a promise that another request, or a Durable Object, resolves.
 */
async function answered(call, dead) {
  const deaths = wasm.deathsSoFar();
  let timer;
  const death = new Promise((resolve) => {
    timer = setInterval(() => wasm.deathsSoFar() !== deaths && resolve('death'), 100);
  });
  try {
    const answer = await Promise.race([call(), death]);
    return answer === 'death' ? dead() : answer;
  } catch (error) {
    if (wasm.deathsSoFar() !== deaths) return dead();
    throw error;
  } finally {
    clearInterval(timer);
  }
}

const apology = () => Response.json(
  { error: { code: 'worker_restarted', message: 'The Worker met a fault of its own and has started afresh; send the request again.' } },
  { status: 503, headers: { 'Retry-After': '1', 'Cache-Control': 'no-store', 'Access-Control-Allow-Origin': '*' } },
);

function failure() {
  throw new Error('the Worker met a fault of its own and has started afresh');
}

// The Rust side asks each request for it, and needs it nowhere: what Cloudflare knows of a connection is parsed anew each time.
const withoutCf = (request) => Object.defineProperty(request, 'cf', { value: undefined });

const entry = { fetch: (request, env, ctx) => answered(() => wasm.fetch(withoutCf(request), env, ctx), apology) };
const { scheduled } = { ...wasm }; // there only if the Rust half has one
if (scheduled) entry.scheduled = (event, env, ctx) => answered(() => scheduled(event, env, ctx), failure);
export default entry;

// A Durable Object outlives the wasm instance: its Rust half is made again in the new one, as after an eviction.
// (Used by the exports that the build adds below, one for each class bound in wrangler.toml.)
function durableObject(Class) {
  const Outer = class {
    #state;
    #env;
    #inner;
    #instance;

    constructor(state, env) {
      this.#state = state;
      this.#env = env;
      this.inner();
    }

    inner() {
      const instance = wasm.instance();
      if (this.#instance !== instance) {
        this.#inner = new Class(this.#state, this.#env);
        this.#instance = instance;
      }
      return this.#inner;
    }
  };
  for (const name of Object.getOwnPropertyNames(Class.prototype)) {
    if (name === 'constructor' || name === 'free' || name.startsWith('__')) continue;
    Outer.prototype[name] = function (...args) {
      if (name === 'fetch') withoutCf(args[0]);
      return answered(() => this.inner()[name](...args), name === 'fetch' ? apology : failure);
    };
  }
  return Outer;
}
