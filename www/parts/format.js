// Numbers as people read them.

const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];

export function bytes(count) {
  let unit = 0;
  while (count >= 999.5 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${unit && count < 99.95 ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}

export const number = (count) => count.toLocaleString('en');

/** A stretch of time in words, coarse. */
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} days`;
}

/** How long SQLite took: a tenth of a millisecond is worth telling. */
export const elapsed = (milliseconds) => (milliseconds < 100 ? `${milliseconds.toFixed(1)} ms` : milliseconds < 10_000 ? `${Math.round(milliseconds)} ms` : duration(milliseconds));

/** A moment: the time of day, and the date if it is not today's. */
export function moment(milliseconds) {
  const at = new Date(milliseconds);
  const time = at.toLocaleTimeString('en-GB');
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString('en-CA')} ${time}`;
}

export const plural = (count, thing) => `${number(count)} ${thing}${count === 1 ? '' : 's'}`;
