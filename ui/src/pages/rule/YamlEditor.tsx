/** A rule file as text: coloured, marked where lint finds something, PromQL completed where an expression stands. */
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, CompletionContext, type CompletionResult } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
import { StreamLanguage, syntaxHighlighting } from '@codemirror/language';
import { lintKeymap, setDiagnostics } from '@codemirror/lint';
import { EditorState, Prec } from '@codemirror/state';
import { EditorView, keymap, lineNumbers } from '@codemirror/view';
import { newCompleteStrategy, promQLLanguage, LanguageType } from '@prometheus-io/codemirror-promql';
import { tags } from '@lezer/highlight';
import { useEffect, useRef } from 'react';
import type { RuleFinding } from '../../api/types';
import { highlight } from '../metrics/Editor';
import { expressionAt } from './expression';

const yaml = StreamLanguage.define<{ key: boolean }>({
  startState: () => ({ key: true }),
  token(stream, state) {
    if (stream.sol()) state.key = true;
    if (stream.eatSpace()) return null;
    if (stream.match(/#.*/)) return 'comment';
    if (state.key && stream.match(/-(?=\s)/)) return 'keyword';
    if (state.key && stream.match(/("[^"]*"|'[^']*'|[\w./-]+)(?=\s*:(\s|$))/)) return 'labelName';
    if (state.key && stream.match(/:(?=\s|$)/)) { state.key = false; return null; }
    state.key = false;
    if (stream.match(/"(?:[^"\\]|\\.)*"?|'[^']*'?/)) return 'string';
    if (stream.match(/\d+(ms|[smhdwy])?\b/)) return 'number';
    stream.next();
    stream.eatWhile(/[^\s"'#\d]/);
    return null;
  },
  tokenTable: { labelName: tags.labelName },
});

export default function YamlEditor({ value, findings, onChange, onRun }: { value: string; findings: RuleFinding[]; onChange: (value: string) => void; onRun: () => void }) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const latest = useRef({ onChange, onRun });
  latest.current = { onChange, onRun };
  useEffect(() => {
    const strategy = newCompleteStrategy({ remote: { url: '' } });
    const language = promQLLanguage(LanguageType.PromQL);
    const complete = async (context: CompletionContext): Promise<CompletionResult | null> => {
      const at = expressionAt(context.state.doc, context.pos);
      if (!at) return null;
      const state = EditorState.create({ doc: context.state.sliceDoc(at.from, at.to), extensions: [language] });
      const found = await strategy.promQL(new CompletionContext(state, context.pos - at.from, context.explicit));
      return found ? { ...found, from: found.from + at.from, ...(found.to === undefined ? {} : { to: found.to + at.from }) } : null;
    };
    const run = () => { latest.current.onRun(); return true; };
    const editor = new EditorView({
      parent: host.current!,
      state: EditorState.create({
        doc: value,
        extensions: [
          history(), closeBrackets(), lineNumbers(), yaml, syntaxHighlighting(highlight), autocompletion({ override: [complete] }),
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({ 'aria-label': 'Rule file', 'data-query': '' }),
          Prec.highest(keymap.of([{ key: 'Mod-Enter', run }])),
          // Escape, then Tab leaves the editor, as the library has it.
          keymap.of([...closeBracketsKeymap, ...completionKeymap, ...defaultKeymap, ...historyKeymap, ...lintKeymap, indentWithTab]),
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
    const { doc } = editor.state;
    const marks = findings.flatMap((f) => {
      if (f.line === null || f.line > doc.lines || doc.length === 0) return [];
      const line = doc.line(f.line);
      const from = Math.min(line.from + Math.max(0, (f.column ?? 1) - 1), Math.max(line.from, line.to - 1));
      return [{ from, to: Math.max(from + 1, Math.min(line.to, doc.length)), severity: f.severity, message: f.message }].filter((m) => m.to <= doc.length);
    });
    editor.dispatch(setDiagnostics(editor.state, marks));
  }, [findings]);
  return <div className="cm-box yaml" ref={host} />;
}
