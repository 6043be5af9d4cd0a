import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { useDatabase, useQuery } from './database';

// Of the address: #url=https://walferry.example.workers.dev&database=app&token=…&table=item
const { url, database, token, table } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
const options = { url, database, token };

function Newest() {
  const { db, error } = useDatabase(options);
  const result = useQuery(db, `select * from "${table}" order by rowid desc limit 10`);
  if (error) return <p>{`${error.code}: ${error.message}`}</p>;
  if (!result) return <p>opening…</p>;
  return (
    <ol>
      {result.rows.map((row) => (
        <li key={row.join()}>{row.join(' | ')}</li>
      ))}
    </ol>
  );
}

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <Newest />
  </StrictMode>,
);
