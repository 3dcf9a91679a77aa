import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';

const ASSETS = join(import.meta.dirname, '..', 'dist', 'assets');
const KB = 1000;

/** The size budgets of the pages; a build has to exist (`npm run build`). */
describe('budgets', () => {
  it('are kept', () => {
    expect(existsSync(ASSETS), 'dist/ is there: run npm run build first').toBe(true);
    const files = readdirSync(ASSETS);
    const gz = (name: string) => gzipSync(readFileSync(join(ASSETS, name))).length;
    const html = readFileSync(join(ASSETS, '..', 'index.html'), 'utf8');
    const entry = [...html.matchAll(/(?:src|href)="\/assets\/([^"]+\.js)"/g)].map((m) => m[1]!);
    expect(entry.length).toBeGreaterThan(0);
    expect(entry.reduce((n, f) => n + gz(f), 0), 'entry JavaScript, gzip').toBeLessThanOrEqual(220 * KB);
    for (const file of files.filter((f) => f.endsWith('.js') && !entry.includes(f))) {
      expect(gz(file), `${file}, gzip`).toBeLessThanOrEqual((file.startsWith('Editor') ? 160 : 60) * KB);
    }
    expect(files.reduce((n, f) => n + statSync(join(ASSETS, f)).size, 0), 'all assets, raw').toBeLessThanOrEqual(3_000 * KB);
  });
  it('nothing is inlined that the content security policy forbids', () => {
    for (const file of readdirSync(ASSETS).filter((f) => f.endsWith('.css'))) expect(readFileSync(join(ASSETS, file), 'utf8')).not.toMatch(/url\(["']?data:font/);
    expect(readFileSync(join(ASSETS, '..', 'index.html'), 'utf8')).not.toMatch(/<script(?![^>]*src=)/);
  });
});
