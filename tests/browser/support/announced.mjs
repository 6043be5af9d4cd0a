// Where a browser that we have started can be reached.

/** The address after `what` in what a process says on its standard error; fails if it ends before. */
export function announced(child, what) {
  return new Promise((resolve, reject) => {
    let said = '';
    child.stderr.on('data', (text) => {
      said += text;
      const found = new RegExp(`${what} listening on (ws:\\S+)`).exec(said);
      if (found) resolve(found[1]);
    });
    child.once('exit', () => reject(new Error(`the browser has ended: ${said}`)));
  });
}
