import { open } from 'walferry';

// Of the address: #url=https://walferry.example.workers.dev&database=app&token=…&table=item
const { url, database, token, table } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
const state = document.getElementById('state');

try {
  const db = await open({ url, database, token });
  db.follow(({ status, lag }) => (state.textContent = `${status}, ${lag} ms behind`));
  db.subscribe(`select * from "${table}" order by rowid desc limit 10`, [], ({ rows }) => {
    document.getElementById('rows').replaceChildren(...rows.map((row) => Object.assign(document.createElement('li'), { textContent: row.join(' | ') })));
  });
} catch ({ code, message }) {
  state.textContent = `${code}: ${message}`;
}
