/** What an answer has cost; every result says so. */
import type { QueryStats } from '../api/types';
import { bytes, count, nanoseconds } from '../lib/format';

/** Prometheus' API has its own figures; ours stand under `cost` there. */
export function Cost({ stats: given }: { stats: (QueryStats & { cost?: QueryStats }) | undefined }) {
  const stats = given?.cost ?? given;
  if (!stats) return null;
  const parts = [nanoseconds(stats.elapsed_ms * 1e6)];
  if (stats.rows_scanned) parts.push(`${count(stats.rows_scanned)} rows`);
  if (stats.rollup_rows) parts.push(`${count(stats.rollup_rows)} of them by the hour`);
  if (stats.samples) parts.push(`${count(stats.samples)} samples of ${count(stats.series)} series`);
  if (stats.bytes_scanned) parts.push(`${bytes(stats.bytes_scanned)} scanned`);
  if (stats.truncated) parts.push('cut at the limit');
  return <>{parts.join(', ')}</>;
}
