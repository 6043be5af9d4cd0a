// A value of a row as text.
import { bytes } from './format.js';

/** Longer texts are cut; the rest is in the title. */
const MAX_TEXT = 300;
const MAX_TITLE = 3000;

export const isNumber = (value) => typeof value === 'number' || typeof value === 'bigint';

/** `{ text, kind, title }`: what a cell shows, how, and what more there is of it. */
export function shown(value) {
  if (value === null) return { text: 'null', kind: 'null' };
  if (value instanceof Uint8Array) return { text: blob(value), kind: 'blob' };
  if (isNumber(value)) return { text: String(value), kind: 'number' };
  const text = value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}…` : value;
  return { text, kind: '', title: value.length > 40 ? value.slice(0, MAX_TITLE) : undefined };
}

/** A row by its content, to tell whether it was there before. */
export const keyOf = (row) => JSON.stringify(row, (_, value) => (typeof value === 'bigint' ? `${value}n` : value instanceof Uint8Array ? hex(value.subarray(0, 64)) : value));

const hex = (value) => Array.from(value, (byte) => byte.toString(16).padStart(2, '0')).join('');

const blob = (value) => `x'${hex(value.subarray(0, 12))}${value.length > 12 ? '…' : ''}' ${bytes(value.length)}`;
