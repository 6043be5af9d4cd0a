// What went wrong, as a sentence at the top of the page.
import { element, show, text } from './dom.js';

let act;

element('notice-close').addEventListener('click', hideNotice);
element('notice-action').addEventListener('click', () => {
  hideNotice();
  act?.();
});

/** Shows it; with `action`, `{ label, run }`, a button to do something about it. */
export function notice(sentence, action) {
  text('notice-text', sentence);
  show('notice-action', Boolean(action));
  if (action) text('notice-action', action.label);
  act = action?.run;
  show('notice', true);
}

export function hideNotice() {
  show('notice', false);
}

/** An error's message, with a capital letter and a full stop. */
export function sentence(error) {
  const message = (error.message || String(error)).trim();
  return message.charAt(0).toUpperCase() + message.slice(1) + (/[.!?]$/.test(message) ? '' : '.');
}
