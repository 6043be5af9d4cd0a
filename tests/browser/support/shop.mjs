// A table of a shop: numbers, an index, and text of words and digits, so that there is something to compress.

/** The statements that make one of so many rows; a thousand take some 180 kB. */
export const shop = (rows) => [
  'create table item (id integer primary key, code text, price integer, sold integer, note text)',
  `with recursive n(i) as (select 1 union all select i + 1 from n where i < ${rows})
   insert into item select i, printf('%08x', i * 2654435761 % 4294967296), abs(random()) % 100000, i % 365,
     'item ' || hex(randomblob(24)) || ' of warehouse ' || (i % 17) || ', to be sent ' || (i % 365) || ' days after the order, ' || hex(randomblob(16)) from n`,
  'create index item_code on item (code)',
];
