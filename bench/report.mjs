// Medians, ratios, and a table of them.

/** One row a figure: the median of each who ran, in the unit shown. */
export function rows(runs, figures) {
  const table = figures.map(([figure, unit, key, scale = 1, sense]) => {
    const row = { figure, unit, sense: sense ?? 'lower' };
    for (const [who, results] of Object.entries(runs)) {
      const values = results.map((result) => result[key]).filter((value) => typeof value === 'number');
      if (values.length) row[who] = median(values) * scale;
    }
    if (row.walferry !== undefined && row.litestream) row.ratio = row.walferry / row.litestream;
    return row;
  });
  return { rows: table, runs };
}

export function print({ name, about, destination, rows }) {
  console.log(`\n${name}: ${about}, to a ${destination}`);
  const columns = ['walferry', 'litestream', 'alone', 'cp'].filter((who) => rows.some((row) => row[who] !== undefined));
  console.log(`${''.padEnd(34)}${[...columns, 'ratio'].map((who) => who.padStart(13)).join('')}`);
  for (const row of rows) {
    const cells = columns.map((who) => (row[who] === undefined ? '' : number(row[who])).padStart(13));
    console.log(`${`${row.figure}${row.unit && `, ${row.unit}`}`.padEnd(34)}${cells.join('')}${(row.ratio === undefined ? '' : row.ratio.toFixed(3)).padStart(13)}`);
  }
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const number = (value) => (value >= 1000 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(3));
