// What tabs call the things that they share: locks and channels, by the same names.

/** Held by the worker that has the files open. */
export const leadership = ({ url, database }) => `walferry:${database}@${url}:leader`;

/** Where those who lead and those who want to be led find each other. */
export const meeting = ({ url, database }) => `walferry:${database}@${url}`;

/** Between one client and whoever leads; also a lock that the client holds while it lives. */
export const between = (client) => `walferry:${client}`;
