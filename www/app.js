// The page: connect, choose, cross, work. What is shown when.
import { open, persist } from './walferry/walferry.js';
import * as address from './parts/address.js';
import { Crossing } from './parts/crossing.js';
import { Desk } from './parts/desk.js';
import { element, show } from './parts/dom.js';
import { Fleet } from './parts/fleet.js';
import { Moments } from './parts/moments.js';
import { hideNotice, notice, sentence } from './parts/notice.js';
import { PositionBar } from './parts/position.js';
import { Pulse } from './parts/pulse.js';
import { Rest } from './parts/rest.js';
import { Schema } from './parts/schema.js';

const form = element('connect-form');
const crossing = new Crossing();
const desk = new Desk();
const schema = new Schema({ run: (sql) => desk.run(sql), knows: (tables) => desk.knows(tables) });
const bar = new PositionBar({ moved: () => moved(), reopen: () => reopen() });
const pulse = new Pulse();
const rest = new Rest();
const moments = new Moments({ at: (past) => desk.at(past) });
const fleet = new Fleet((database) => connect({ ...place, database }));
let place;
let db;
let working;
let again = false;

form.addEventListener('submit', (event) => {
  event.preventDefault();
  connect(address.ofForm(form));
});
element('disconnect').addEventListener('click', () => leave());
element('delete-copy').addEventListener('click', () => leave({ deletes: true }));
element('all-databases').addEventListener('click', () => leave().then(() => connect({ ...place, database: '' })));
element('fleet-leave').addEventListener('click', () => leave());

const known = address.take();
address.fill(form, known);
if (known.token) connect(known);
else form.elements[known.url ? (known.database ? 'token' : 'database') : 'url'].focus();

async function connect(to) {
  hideNotice();
  const fromFleet = Boolean(to.database) && place?.listed && place.url === to.url && place.token === to.token;
  place = { ...to, listed: fromFleet || !to.database };
  address.keep(to);
  address.fill(form, to);
  fleet.stop();
  const stop = new AbortController();
  try {
    if (!to.database) {
      await fleet.start(place);
      document.title = 'Databases · walferry';
      return view('fleet');
    }
    view('crossing');
    crossing.start(to, stop);
    await opened(to, { onProgress: (progress) => crossing.report(progress), signal: stop.signal });
  } catch (error) {
    view('connect');
    if (error.code !== 'ABORTED') notice(sentence(error));
    form.elements[{ DENIED: 'token', NOT_FOUND: 'database', INVALID: 'database' }[error.code] ?? 'url'].focus();
  }
}

async function opened(to, options) {
  let unreachable;
  db = await open({ ...to, ...options }).catch(async (error) => {
    if (error.code !== 'UNREACHABLE') throw error;
    // What was brought here before can be read without the Worker.
    unreachable = error;
    const copy = await open({ ...to, ...options, offline: true }).catch(() => undefined);
    if (!copy) throw error;
    return copy;
  });
  persist().catch(() => {}); // where the browser will not, the copy may have to be fetched again
  element('connected-name').textContent = to.database;
  element('connected-host').textContent = new URL(to.url).host;
  document.title = `${to.database} · walferry`;
  view('workbench');
  if (unreachable) notice(`${sentence(unreachable)} This is the copy that was brought here before.`);
  work({ current: !unreachable });
  desk.open(db, to);
  const first = await schema.open(db).catch(absent);
  if (first !== undefined) await desk.start(first);
}

/** Which tables there are is not here, and nobody answers: it is asked again as the rest comes. */
function absent(error) {
  if (error.code !== 'UNREACHABLE') throw error;
  schema.isAbsent();
  const [of, over] = [db, new AbortController()];
  const look = async ({ detail }) => {
    if (db !== of) return over.abort();
    if (detail?.error) return;
    const first = await schema.refresh().catch(() => undefined);
    if (first === undefined || over.signal.aborted) return;
    over.abort();
    await desk.start(first);
  };
  for (const event of ['progress', 'position', 'whole']) db.addEventListener(event, look, { signal: over.signal });
}

function work({ current }) {
  bar.open(db, { ...place, current });
  rest.open(db);
  pulse.open(db);
  moments.open(db, place);
}

/** What depends on the state is asked again; states that come meanwhile are one. */
async function moved() {
  again = true;
  if (working) return;
  working = true;
  try {
    for (const of = db; again && db && db === of; ) {
      again = false;
      await schema.refresh();
      await desk.again();
    }
  } catch (error) {
    // A tab that leads has gone, or the copy: the next state brings it, or the bar tells.
    if (!['POSITION_MOVED', 'CLOSED', 'NO_COPY'].includes(error.code)) notice(sentence(error));
  } finally {
    working = false;
  }
}

/** The history on the server was replaced by another: this copy has to be, too. */
async function reopen() {
  const stop = new AbortController();
  view('crossing');
  crossing.start(place, stop);
  try {
    await db.restore({ onProgress: (progress) => crossing.report(progress), signal: stop.signal });
    view('workbench');
    work({ current: true });
    await moved();
  } catch (error) {
    await leave();
    if (error.code !== 'ABORTED') notice(sentence(error));
  }
}

async function leave({ deletes } = {}) {
  hideNotice();
  address.forget();
  for (const part of [bar, rest, pulse, moments]) part.close();
  fleet.stop();
  const leaving = db;
  db = undefined;
  document.title = 'walferry';
  view('connect');
  form.elements.token.value = '';
  await (deletes ? leaving?.delete().catch((error) => notice(sentence(error))) : leaving?.close());
}

function view(name) {
  for (const id of ['connect', 'fleet', 'crossing', 'workbench']) show(id, id === name);
  show('connected', name === 'workbench');
  show('all-databases', Boolean(place?.listed));
}
