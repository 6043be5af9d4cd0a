// The few things that are done to elements.

export const element = (id) => document.getElementById(id);

export function show(id, visible) {
  element(id).hidden = !visible;
}

export function text(id, content) {
  const node = element(id);
  // Only what changes: a screen reader reads what is written anew.
  if (node.textContent !== content) node.textContent = content;
}

/** `make('td', 'number', '12')` */
export function make(name, className, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}
