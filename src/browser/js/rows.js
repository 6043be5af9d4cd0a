// Rows as objects.

/** The rows of a result as objects; of two columns of one name the last counts. */
export function objects({ columns, rows }) {
  return rows.map((row) => object(columns, row));
}

function object(columns, row) {
  return Object.fromEntries(row.map((value, index) => [columns[index], value]));
}
