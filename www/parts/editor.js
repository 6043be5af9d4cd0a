// Where SQL is written: CodeMirror, which knows the tables. It lives in a shadow root, so that its styles are adopted
// there, as the page's security policy wants it.
import { autocompletion, closeBrackets, closeBracketsKeymap, closeCompletion, completionKeymap } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { SQLite, sql } from '@codemirror/lang-sql';
import { HighlightStyle, bracketMatching, syntaxHighlighting } from '@codemirror/language';
import { Compartment, EditorState, Prec } from '@codemirror/state';
import { EditorView, drawSelection, keymap, placeholder } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { element } from './dom.js';

const colours = HighlightStyle.define([
  { tag: tags.keyword, color: 'var(--link)', fontWeight: '600' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--good-ink)' },
  { tag: [tags.number, tags.bool, tags.null], color: 'var(--accent-ink)' },
  { tag: tags.comment, color: 'var(--soft)', fontStyle: 'italic' },
  { tag: tags.typeName, color: 'var(--link)' },
]);

const looks = EditorView.theme({
  '&': { color: 'var(--ink)', backgroundColor: 'transparent', fontSize: '.95rem' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { font: '.95rem/1.6 var(--mono)', minHeight: '4.9rem', maxHeight: '16rem', overflow: 'auto' },
  '.cm-content': { padding: '.8rem .6rem', caretColor: 'var(--ink)' },
  '.cm-cursor': { borderLeftColor: 'var(--ink)' },
  '.cm-placeholder': { color: 'var(--soft)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': { backgroundColor: 'color-mix(in srgb, var(--link) 26%, transparent)' },
  '.cm-tooltip': { backgroundColor: 'var(--card)', color: 'var(--ink)', border: '1px solid var(--line)', borderRadius: '8px', overflow: 'hidden' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { backgroundColor: 'var(--shallow)', color: 'var(--ink)' },
});

// What is typed over a selection is put there by us: the browser would carry the colours of what was there along, as an inline
// style, which the security policy forbids.
const overwriting = EditorView.domEventHandlers({
  beforeinput(event, view) {
    if (event.inputType !== 'insertText' || !event.data || view.composing || view.state.selection.main.empty) return false;
    view.dispatch(view.state.update(view.state.replaceSelection(event.data), { userEvent: 'input.type', scrollIntoView: true }));
    event.preventDefault();
    return true;
  },
});

export class Editor {
  #view;
  #tables = new Compartment();

  /** `run` is called by Ctrl or Cmd and Enter; `older` and `newer` yield what was asked before and after, if anything. */
  constructor({ run, older, newer }) {
    const recalled = (text) => text !== undefined && (this.write(text), true);
    const atStart = ({ state }) => state.selection.main.empty && state.doc.lineAt(state.selection.main.head).number === 1;
    const atEnd = ({ state }) => state.selection.main.empty && state.doc.lineAt(state.selection.main.head).number === state.doc.lines;
    // What could be completed is of no use then, and would lie over the button that stops it.
    const ours = [
      { key: 'Mod-Enter', run: (view) => (closeCompletion(view), run(), true) },
      { key: 'Alt-ArrowUp', run: () => recalled(older()) },
      { key: 'Alt-ArrowDown', run: () => recalled(newer()) },
    ];
    // An open list of completions has the arrows first.
    const arrows = [
      { key: 'ArrowUp', run: (view) => atStart(view) && recalled(older()) },
      { key: 'ArrowDown', run: (view) => atEnd(view) && recalled(newer()) },
    ];
    const root = element('sql-host').attachShadow({ mode: 'open' });
    this.#view = new EditorView({
      parent: root,
      root,
      state: EditorState.create({
        extensions: [
          Prec.highest(keymap.of(ours)), overwriting, history(), drawSelection(), bracketMatching(), closeBrackets(),
          // Enter is for lines: a completion is taken by Tab or Enter only once it was chosen.
          autocompletion({ activateOnTyping: true, selectOnOpen: false, icons: false }),
          keymap.of([...completionKeymap, ...arrows, ...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap]),
          this.#tables.of(sql({ dialect: SQLite })), syntaxHighlighting(colours), looks, EditorView.lineWrapping, placeholder('select …'),
          EditorView.contentAttributes.of({ id: 'sql', 'aria-label': 'SQL', spellcheck: 'false', autocapitalize: 'none', 'aria-describedby': 'sql-hint' }),
        ],
      }),
    });
  }

  get text() {
    return this.#view.state.doc.toString();
  }

  write(text) {
    if (text !== this.text) this.#view.dispatch({ changes: { from: 0, to: this.#view.state.doc.length, insert: text }, selection: { anchor: text.length } });
  }

  focus() {
    this.#view.focus();
  }

  /** `{ table: [column, …] }`, for completion. */
  knows(schema) {
    this.#view.dispatch({ effects: this.#tables.reconfigure(sql({ dialect: SQLite, schema })) });
  }
}
