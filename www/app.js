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
const bar = new PositionBar({ moved: () => moved(), reached: () => reached(), reopen: () => reopen() });
const pulse = new Pulse();
const rest = new Rest();
const moments = new Moments({ at: (past) => desk.at(past) });
const fleet = new Fleet((database) => connect({ ...place, database }));
let place;
let db;
let working;
let again = false;
let begun = false;

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
  if (unreachable) notice(`${sentence(unreachable)} ${here(db.position)}`);
  work({ current: !unreachable });
  desk.open(db, to);
  schema.open(db);
  begun = false;
  await moved();
}

/** What of the database is in this browser. */
function here({ whole }) {
  if (whole) return 'This is the copy that was brought here before.';
  return 'Only a part of the database was brought here before: what needs the rest is answered as soon as the server is there again.';
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
  const of = db;
  try {
    while (again && db && db === of) {
      again = false;
      const first = await schema.refresh();
      if (begun) await desk.again();
      else if (db === of) await ((begun = true), desk.start(first));
    }
  } catch (error) {
    // Its pages may not be here, and the server be away.
    if (error.code === 'UNREACHABLE') schema.lacks();
    // A tab that leads has gone, or the copy: the next state brings it, or the bar tells.
    else if (!['POSITION_MOVED', 'CLOSED', 'NO_COPY'].includes(error.code)) notice(sentence(error));
  } finally {
    working = false;
  }
  // Another was opened meanwhile.
  if (again && db && db !== of) await moved();
}

/** The server is there again, or all is here: what was missing can be had. */
async function reached() {
  // A copy that was opened without the server fetches the rest only from here on.
  if (db?.position?.whole === false) db.refresh().catch(() => {});
  if (!begun) await moved();
  await desk.reached();
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
