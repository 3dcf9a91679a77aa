/** Relative ranges by one click, absolute ones typed in the zone that is shown. */
import { Button } from '@mantine/core';
import { useState } from 'react';
import { resolve, stamp, zoneName } from '../lib/time';
import { usePreferences, useRange } from './context';

const QUICK: [string, string][] = [['-5m', '5 minutes'], ['-15m', '15 minutes'], ['-30m', '30 minutes'], ['-1h', '1 hour'], ['-3h', '3 hours'], ['-6h', '6 hours'], ['-12h', '12 hours'], ['-24h', '24 hours'], ['-2d', '2 days'], ['-7d', '7 days'], ['-30d', '30 days']];

export function RangePicker({ onDone }: { onDone: () => void }) {
  const { range, bounds, set } = useRange();
  const { zone } = usePreferences();
  const [from, setFrom] = useState(stamp(bounds.from, zone));
  const [to, setTo] = useState(stamp(bounds.to, zone));
  const [error, setError] = useState('');
  const read = (text: string): number | null => {
    const iso = /^\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?$/.test(text.trim()) ? `${text.trim().replace(' ', 'T')}${zone === 'utc' ? 'Z' : ''}` : text.trim();
    return resolve(iso, Date.now());
  };
  const apply = () => {
    const [a, b] = [read(from), read(to)];
    if (a === null || b === null) setError(`${a === null ? from : to} is no time: 2026-11-20 03:12:40, now or -3h`);
    else if (a >= b) setError('The start is not before the end');
    else {
      set({ from: new Date(a).toISOString(), to: new Date(b).toISOString() });
      onDone();
    }
  };
  return (
    <div className="range-picker">
      <div className="quick" role="group" aria-label="Last">
        {QUICK.map(([value, name]) => (
          <button key={value} type="button" aria-pressed={range.to === 'now' && range.from === value} onClick={() => { set({ from: value, to: 'now' }); onDone(); }}>Last {name}</button>
        ))}
      </div>
      <form onSubmit={(e) => { e.preventDefault(); apply(); }}>
        <label>From ({zoneName(zone)})<input className="input mono" value={from} onChange={(e) => setFrom(e.target.value)} /></label>
        <label>To ({zoneName(zone)})<input className="input mono" value={to} onChange={(e) => setTo(e.target.value)} /></label>
        {error ? <div className="t-crit" role="alert">{error}</div> : null}
        <Button type="submit" size="compact-sm">Apply</Button>
      </form>
    </div>
  );
}
