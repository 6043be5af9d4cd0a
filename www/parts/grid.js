// Rows as a grid of which only what is seen is in the document, however many there are.
//
// Rows are of one height, so where a row lies is a multiplication. Browsers refuse elements higher than some 17 to 33
// million pixels: beyond MAX_HEIGHT the way that the scroll bar goes stands for a longer one.
import { isNumber, shown } from './cells.js';
import { element, make } from './dom.js';

const ROW = 30;
const MAX_HEIGHT = 15_000_000;
/** Rows above and below what is seen. */
const MARGIN = 12;
/** Rows by which the width of columns and what stands in them is judged. */
const SAMPLE = 200;
const WIDTH = { least: 5, most: 42 };
/** Of a letter, and of the space around a cell, in rem: the same in the head, whose letters are bold, as below it. */
const LETTER = 0.55;
const PADDING = 2;

export class Grid {
  #box = element('result');
  #rows = [];
  #columns = [];
  #numeric = [];
  #isNew;
  #at = { row: 0, column: 0 };
  #drawn = new Map();
  #body;
  #frame;

  constructor() {
    this.#box.addEventListener('scroll', () => this.#soon(), { passive: true });
    this.#box.addEventListener('keydown', (event) => this.#key(event));
    this.#box.addEventListener('pointerdown', ({ target }) => this.#pointed(target.closest('[role=gridcell]')));
    new ResizeObserver(() => this.#soon()).observe(this.#box);
  }

  /** Other columns and rows. `isNew(row)` says which are to be pointed out; with `stay`, it is the same question again. */
  show(columns, rows, { isNew = () => false, stay = false } = {}) {
    this.#rows = rows;
    this.#isNew = isNew;
    const same = stay && String(columns) === String(this.#columns);
    this.#columns = columns;
    if (!same) this.#frameOf(columns, rows);
    this.#drawn.forEach((node) => node.remove());
    this.#drawn.clear();
    this.grown();
    this.#box.hidden = !columns.length;
    if (!same) this.#box.scrollTo(0, 0);
    this.#draw();
  }

  /** More rows were added to those that it shows. */
  grown() {
    this.#box.setAttribute('aria-rowcount', this.#rows.length + 1);
    if (this.#body) this.#body.style.height = `${Math.min(this.#rows.length * ROW, MAX_HEIGHT)}px`;
    this.#soon();
  }

  clear() {
    this.show([], []);
  }

  #frameOf(columns, rows) {
    const sample = rows.slice(0, SAMPLE);
    this.#numeric = columns.map((_, at) => sample.some((row) => isNumber(row[at])) && sample.every((row) => row[at] === null || isNumber(row[at])));
    const widths = columns.map((name, at) => {
      const longest = Math.max(name.length + 1, ...sample.map((row) => shown(row[at]).text.length));
      return Math.min(Math.max(longest, WIDTH.least), WIDTH.most);
    });
    const head = make('div', 'row head', ...columns.map((name, at) => role(make('div', this.#numeric[at] ? 'number' : '', name), 'columnheader', { colindex: at + 1 })));
    this.#body = role(make('div', 'rows'), 'rowgroup');
    this.#box.replaceChildren(role(make('div', ''  , role(head, 'row', { rowindex: 1 })), 'rowgroup'), this.#body);
    this.#box.firstChild.className = 'head-group';
    this.#box.style.setProperty('--columns', widths.map((width, at) => (at < widths.length - 1 ? rem(width) : `minmax(${rem(width)}, 1fr)`)).join(' '));
    this.#box.setAttribute('aria-colcount', columns.length);
    this.#at = { row: 0, column: 0 };
  }

  #soon() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = undefined;
      this.#draw();
    });
  }

  #draw() {
    if (!this.#body || !this.#columns.length) return;
    const { top, height, offset } = this.#view();
    const first = Math.max(0, Math.floor(offset / ROW) - MARGIN);
    const last = Math.min(this.#rows.length, Math.ceil((offset + height) / ROW) + MARGIN);
    for (const [index, node] of this.#drawn) {
      if (index >= first && index < last) continue;
      node.remove();
      this.#drawn.delete(index);
    }
    const arrived = document.createDocumentFragment();
    for (let index = first; index < last; index++) {
      let node = this.#drawn.get(index);
      if (!node) {
        node = this.#row(index);
        this.#drawn.set(index, node);
        arrived.append(node);
      }
      node.style.transform = `translateY(${index * ROW - offset + top}px)`;
    }
    this.#body.append(arrived);
    this.#mark();
  }

  /** What is seen: `top` by the scroll bar, `offset` by rows. */
  #view() {
    const height = this.#box.clientHeight - ROW;
    const whole = this.#rows.length * ROW;
    const most = Math.min(whole, MAX_HEIGHT) - height;
    const top = Math.min(this.#box.scrollTop, Math.max(0, most));
    const offset = whole > MAX_HEIGHT ? (top / most) * (whole - height) : top;
    return { top, height, offset, most, whole };
  }

  #row(index) {
    const row = this.#rows[index];
    const cells = row.map((value, at) => {
      const { text, kind, title } = shown(value);
      const cell = role(make('div', this.#numeric[at] ? `${kind} number` : kind === 'number' ? '' : kind, text), 'gridcell', { colindex: at + 1 });
      cell.id = `cell-${index}-${at}`;
      if (title) cell.title = title;
      return cell;
    });
    return role(make('div', this.#isNew(row) ? 'row arrived' : 'row', ...cells), 'row', { rowindex: index + 2 });
  }

  #key(event) {
    if (!this.#rows.length || event.altKey) return;
    const page = Math.max(1, Math.floor(this.#view().height / ROW) - 1);
    const end = event.ctrlKey || event.metaKey;
    const { row, column } = this.#at;
    const to = {
      ArrowDown: [row + 1, column],
      ArrowUp: [row - 1, column],
      ArrowRight: [row, column + 1],
      ArrowLeft: [row, column - 1],
      PageDown: [row + page, column],
      PageUp: [row - page, column],
      Home: [end ? 0 : row, 0],
      End: [end ? this.#rows.length - 1 : row, this.#columns.length - 1],
    }[event.key];
    if (event.key.toLowerCase() === 'c' && end && !String(getSelection())) return void navigator.clipboard?.writeText(shown(this.#rows[row][column]).text);
    if (!to) return;
    event.preventDefault();
    this.#go(...to);
  }

  #pointed(cell) {
    if (!cell) return;
    const [, row, column] = cell.id.split('-').map(Number);
    this.#at = { row, column };
    this.#mark();
  }

  #go(row, column) {
    this.#at = { row: Math.min(Math.max(row, 0), this.#rows.length - 1), column: Math.min(Math.max(column, 0), this.#columns.length - 1) };
    const { height, offset, most, whole } = this.#view();
    const start = this.#at.row * ROW;
    const wanted = start < offset ? start : start + ROW > offset + height ? start + ROW - height : undefined;
    if (wanted !== undefined) this.#box.scrollTop = whole > MAX_HEIGHT ? (wanted / (whole - height)) * most : wanted;
    this.#draw();
    const cell = document.getElementById(`cell-${this.#at.row}-${this.#at.column}`);
    cell?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }

  #mark() {
    this.#body.querySelector('.current')?.classList.remove('current');
    const cell = document.getElementById(`cell-${this.#at.row}-${this.#at.column}`);
    cell?.classList.add('current');
    if (cell) this.#box.setAttribute('aria-activedescendant', cell.id);
    else this.#box.removeAttribute('aria-activedescendant');
  }
}

const rem = (letters) => `${(letters * LETTER + PADDING).toFixed(2)}rem`;

function role(node, name, aria = {}) {
  node.setAttribute('role', name);
  for (const [key, value] of Object.entries(aria)) node.setAttribute(`aria-${key}`, value);
  return node;
}
