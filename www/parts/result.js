// Rows as a table.
import { make } from './dom.js';
import { bytes } from './format.js';

/** Longer texts are cut; hovering shows more. */
const MAX_TEXT = 300;
const MAX_TITLE = 3000;

/** `isNew` says of a row, by its content, whether it was not there the last time. */
export function resultTable(columns, rows, isNew) {
  const numeric = columns.map((_, index) => rows.some((row) => isNumber(row[index])) && rows.every((row) => row[index] === null || isNumber(row[index])));
  const head = make('tr', '', ...columns.map((name, index) => heading(name, numeric[index])));
  const body = make('tbody', '');
  for (const row of rows) {
    const tr = make('tr', '', ...row.map((value, index) => cell(value, numeric[index])));
    if (isNew(keyOf(row))) tr.className = 'arrived';
    body.append(tr);
  }
  return make('table', '', make('thead', '', head), body);
}

function heading(name, numeric) {
  const th = make('th', numeric ? 'number' : '', name);
  th.scope = 'col';
  return th;
}

function cell(value, numeric) {
  if (value === null) return make('td', numeric ? 'null number' : 'null', 'null');
  if (value instanceof Uint8Array) return make('td', 'blob', blob(value));
  const text = String(value);
  const td = make('td', numeric ? 'number' : '', text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text);
  if (text.length > 40) td.title = text.slice(0, MAX_TITLE);
  return td;
}

const isNumber = (value) => typeof value === 'number' || typeof value === 'bigint';

const hex = (value) => Array.from(value, (byte) => byte.toString(16).padStart(2, '0')).join('');

const blob = (value) => `x'${hex(value.subarray(0, 12))}${value.length > 12 ? '…' : ''}' ${bytes(value.length)}`;

const keyOf = (row) => JSON.stringify(row, (_, value) => (typeof value === 'bigint' ? `${value}n` : value instanceof Uint8Array ? hex(value.subarray(0, 64)) : value));
