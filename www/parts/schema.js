// Tables and views, with their columns.
import { element, make } from './dom.js';

const SCHEMA = `
  select object.name, object.type, attribute.name, attribute.type, attribute.pk
  from sqlite_schema as object join pragma_table_xinfo(object.name) as attribute
  where object.type in ('table', 'view') and object.name not like 'sqlite\\_%' escape '\\' and attribute.hidden <> 1
  order by object.type, object.name, attribute.cid`;

export class Schema {
  #db;
  #run;
  #knows;
  #shown;

  /** `run` gets the SQL that shows a table; `knows` gets the columns by table. */
  constructor({ run, knows }) {
    this.#run = run;
    this.#knows = knows;
    // On a phone the result matters more.
    element('schema').open = matchMedia('(min-width: 52.01rem)').matches;
  }

  open(db) {
    this.#db = db;
    this.#shown = undefined;
    element('schema-list').replaceChildren();
    this.#knows({});
  }

  /** It cannot be read; what was shown before stays. */
  lacks() {
    if (!this.#shown) element('schema-list').replaceChildren(make('li', 'hint', 'The tables are not in this browser yet. They appear when the server is there again.'));
  }

  /** Shows it; returns the first table's SQL. */
  async refresh() {
    const { rows } = await this.#db.query(SCHEMA);
    const shown = JSON.stringify(rows);
    const objects = new Map();
    for (const [name, kind, ...column] of rows) {
      if (!objects.has(name)) objects.set(name, { kind, columns: [] });
      objects.get(name).columns.push(column);
    }
    if (shown !== this.#shown) {
      const opened = new Set([...element('schema-list').querySelectorAll('details[open]')].map((details) => details.dataset.name));
      element('schema-list').replaceChildren(...[...objects].map(([name, object]) => this.#entry(name, object, opened.has(name))));
      this.#shown = shown;
      this.#knows(Object.fromEntries([...objects].map(([name, { columns }]) => [name, columns.map(([column]) => column)])));
      if (!objects.size) element('schema-list').append(make('li', 'hint', 'No tables yet.'));
    }
    const [first] = objects.keys();
    return first === undefined ? 'select sqlite_version()' : rowsOf(first);
  }

  #entry(name, { kind, columns }, opened) {
    const show = make('button', 'quiet', 'Rows');
    show.type = 'button';
    show.setAttribute('aria-label', `Rows of ${name}`);
    show.addEventListener('click', () => this.#run(rowsOf(name)));
    const details = make('details', '');
    details.dataset.name = name;
    details.open = opened;
    const summary = make('summary', '', make('span', 'name', name), make('span', 'kind', kind === 'view' ? 'view' : ''));
    const list = make('ul', 'columns-of-table', ...columns.map(([column, type, key]) => make('li', '', make('span', key ? 'key' : '', column), make('span', 'type', type))));
    details.append(summary, list);
    return make('li', 'table-of-schema', details, show);
  }
}

function rowsOf(name) {
  const plain = /^[a-z_][a-z0-9_]*$/i.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
  return `select * from ${plain} limit 100`;
}
