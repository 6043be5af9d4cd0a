// Where things are.
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const inRoot = (...parts) => join(root, ...parts);

/** The folder the user is in: npm runs scripts in the project's. */
export const calledFrom = process.env.INIT_CWD ?? process.cwd();

/** The command line program: as it is released, or the one that WALFERRY names. */
export const walferry = process.env.WALFERRY ?? inRoot('target', 'release', 'walferry');
