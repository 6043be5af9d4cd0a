// The page: connect, cross, work. What is shown when.
import { open } from './walferry/walferry.js';
import * as address from './parts/address.js';
import { Crossing } from './parts/crossing.js';
import { element, show } from './parts/dom.js';
import { Desk } from './parts/desk.js';
import { hideNotice, notice, sentence } from './parts/notice.js';
import { PositionBar } from './parts/position.js';
import { Schema } from './parts/schema.js';

const form = element('connect-form');
const crossing = new Crossing();
const desk = new Desk();
const schema = new Schema((sql) => desk.run(sql));
const bar = new PositionBar({ moved: () => moved(), reopen: () => reopen() });
let db;

form.addEventListener('submit', (event) => {
  event.preventDefault();
  connect(address.ofForm(form));
});
element('disconnect').addEventListener('click', () => leave());

const known = address.take();
address.fill(form, known);
if (known.database && known.token) connect(known);
else form.elements[known.url ? (known.database ? 'token' : 'database') : 'url'].focus();

async function connect(to) {
  hideNotice();
  address.keep(to);
  const stop = new AbortController();
  view('crossing');
  crossing.start(to, stop);
  try {
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
  element('connected-name').textContent = to.database;
  element('connected-host').textContent = new URL(to.url).host;
  document.title = `${to.database} · walferry`;
  view('workbench');
  if (unreachable) notice(`${sentence(unreachable)} This is the copy that was brought here before.`);
  bar.open(db, { current: !unreachable });
  desk.open(db);
  const first = await schema.open(db);
  await desk.start(first);
}

async function moved() {
  await Promise.all([schema.refresh(), desk.again()]);
}

/** The history on the server was replaced by another: this copy has to be, too. */
async function reopen() {
  const stop = new AbortController();
  view('crossing');
  crossing.start(address.ofForm(form), stop);
  try {
    await db.restore({ onProgress: (progress) => crossing.report(progress), signal: stop.signal });
    view('workbench');
    bar.open(db, { current: true });
    await moved();
  } catch (error) {
    await leave();
    if (error.code !== 'ABORTED') notice(sentence(error));
  }
}

async function leave() {
  hideNotice();
  address.forget();
  bar.close();
  const leaving = db;
  db = undefined;
  document.title = 'walferry';
  view('connect');
  form.elements.token.value = '';
  await leaving?.close();
}

function view(name) {
  for (const id of ['connect', 'crossing', 'workbench']) show(id, id === name);
  show('connected', name === 'workbench');
}
