// Which database: from the address of the page, from before a reload, or from the form.
//
// `#db=…&token=…&url=…` is taken out of the address bar once it has been read, so that a token is not left in the
// history nor shared with the address.

const KEY = 'walferry';
const none = { url: '', database: '', token: '' };

export function take() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (!given.has('db') && !given.has('token') && !given.has('url')) return { ...none, url: location.origin, ...kept() };
  history.replaceState(history.state, '', location.pathname + location.search);
  return { url: given.get('url') || location.origin, database: given.get('db') ?? '', token: given.get('token') ?? '' };
}

export function ofForm(form) {
  const { url, database, token } = form.elements;
  return { url: url.value.trim(), database: database.value.trim(), token: token.value.trim() };
}

export function fill(form, { url, database, token }) {
  Object.assign(form.elements.url, { value: url });
  Object.assign(form.elements.database, { value: database });
  Object.assign(form.elements.token, { value: token });
}

/** For a reload of this tab; it ends with the tab. */
export function keep(address) {
  sessionStorage.setItem(KEY, JSON.stringify(address));
}

export function forget() {
  sessionStorage.removeItem(KEY);
}

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}
