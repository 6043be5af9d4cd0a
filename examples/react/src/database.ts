import { useEffect, useState } from 'react';
import { open, type Database, type OpenOptions, type Parameters, type Result, type WalferryError } from 'walferry';

/** An open database, once it is; closed with the component. */
export function useDatabase(options: OpenOptions): { db?: Database; error?: WalferryError } {
  const [state, setState] = useState<{ db?: Database; error?: WalferryError }>({});
  useEffect(() => {
    const stop = new AbortController();
    let opened: Database | undefined;
    open({ ...options, follow: true, signal: stop.signal }).then(
      (db) => (stop.signal.aborted ? db.close() : setState({ db: (opened = db) })),
      (error) => stop.signal.aborted || setState({ error }),
    );
    return () => {
      stop.abort();
      opened?.close();
    };
  }, [options]);
  return state;
}

/** The answer to a query, always that of the newest state. Parameters that are made anew at each render want `useMemo`. */
export function useQuery(db: Database | undefined, sql: string, parameters?: Parameters): Result | undefined {
  const [result, setResult] = useState<Result>();
  useEffect(() => db?.subscribe(sql, parameters, setResult), [db, sql, parameters]);
  return result;
}
