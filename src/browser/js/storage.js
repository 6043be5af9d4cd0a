// What the browser gives this origin to keep.

/** Asks that copies are not thrown away when the disk is nearly full; whether they are safe from that now. */
export async function persist() {
  return (await navigator.storage.persisted()) || navigator.storage.persist();
}

/** How much is in use of what may be, in bytes, by the whole origin; and whether it is safe. */
export async function storage() {
  const [{ usage, quota }, persisted] = await Promise.all([navigator.storage.estimate(), navigator.storage.persisted()]);
  return { usage, quota, persisted };
}
