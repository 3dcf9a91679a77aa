/** PromQL with completion and lint, loaded only where it is needed. */
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { bracketMatching, HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { lintKeymap, setDiagnostics } from '@codemirror/lint';
import { EditorState, Prec } from '@codemirror/state';
import { EditorView, keymap, placeholder } from '@codemirror/view';
import { PromQLExtension } from '@prometheus-io/codemirror-promql';
import { tags } from '@lezer/highlight';
import { useEffect, useRef } from 'react';
import { charAt } from '../../lib/metrics';

/** Colours of the parts of a text; also of rule files. */
export const highlight = HighlightStyle.define([
  { tag: tags.keyword, color: 'var(--syn-kw)' },
  { tag: tags.function(tags.variableName), color: 'var(--syn-fn)' },
  { tag: tags.string, color: 'var(--syn-str)' },
  { tag: tags.number, color: 'var(--syn-num)' },
  { tag: tags.labelName, color: 'var(--syn-lab)' },
  { tag: tags.modifier, color: 'var(--syn-kw)' },
  { tag: tags.comment, color: 'var(--text-3)' },
]);

/** What the server found wrong, in bytes of the query. */
export interface Fault { start: number; end: number; message: string }

export interface EditorProps {
  value: string;
  onChange: (value: string) => void;
  onRun: () => void;
  fault: Fault | null;
  /** Enter begins a new line instead of running. */
  lines?: boolean;
  hint?: string;
}

export default function Editor({ value, onChange, onRun, fault, lines = false, hint = 'sum by (route) (rate(http_requests_total[5m]))' }: EditorProps) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const latest = useRef({ onChange, onRun });
  latest.current = { onChange, onRun };
  useEffect(() => {
    // Where the server checks while one types, its words stand alone.
    const promql = new PromQLExtension().setComplete({ remote: { url: '' } }).activateLinter(!lines);
    const run = () => { latest.current.onRun(); return true; };
    const editor = new EditorView({
      parent: host.current!,
      state: EditorState.create({
        doc: value,
        extensions: [
          history(), bracketMatching(), closeBrackets(), autocompletion(), syntaxHighlighting(highlight), promql.asExtension(), placeholder(hint),
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({ 'aria-label': 'PromQL', 'data-query': '' }),
          Prec.highest(keymap.of([{ key: 'Mod-Enter', run }, ...(lines ? [] : [{ key: 'Enter', run: (v: EditorView) => (v.dom.querySelector('.cm-tooltip-autocomplete') ? false : run()) }])])),
          keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...completionKeymap, ...lintKeymap]),
          EditorView.updateListener.of((u) => { if (u.docChanged) latest.current.onChange(u.state.doc.toString()); }),
        ],
      }),
    });
    view.current = editor;
    return () => editor.destroy();
    // The document is set below when the value changes from outside.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, []);
  useEffect(() => {
    const editor = view.current;
    if (editor && editor.state.doc.toString() !== value) editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: value } });
  }, [value]);
  useEffect(() => {
    const editor = view.current;
    if (!editor) return;
    const text = editor.state.doc.toString();
    if (!fault) {
      // What the library itself marks comes anew with the next change.
      editor.dispatch(setDiagnostics(editor.state, []));
      return;
    }
    const from = Math.min(charAt(text, fault.start), Math.max(0, text.length - 1));
    const to = Math.min(text.length, Math.max(from + 1, charAt(text, fault.end)));
    editor.dispatch(setDiagnostics(editor.state, text ? [{ from, to, severity: 'error', message: fault.message }] : []));
  }, [fault, value]);
  return <div className="cm-box" ref={host} />;
}
