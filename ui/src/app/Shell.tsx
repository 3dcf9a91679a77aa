/** The frame of every page: navigation, environment, palette, range, live, copy link, theme. */
import { ActionIcon, Button, Popover, useComputedColorScheme, useMantineColorScheme } from '@mantine/core';
import { useRouterState } from '@tanstack/react-router';
import { useState, type ReactNode } from 'react';
import { useAlerts, useSlos, useStatus } from '../api/hooks';
import { Link } from '../components/Link';
import { rangeText, zoneName } from '../lib/time';
import { TickProvider, usePreferences, useRange, useSetSearch } from './context';
import { useKeys } from './keys';
import { useScrollableRegions } from './scroll';
import { Palette } from './Palette';
import { RangePicker } from './RangePicker';

const GROUPS: { title: string; items: { to: string; label: string; count?: 'alerts' | 'slos' }[] }[] = [
  { title: 'Now', items: [{ to: '/', label: 'Overview' }, { to: '/alerts', label: 'Alerts', count: 'alerts' }, { to: '/drills', label: 'Drills' }] },
  { title: 'Services', items: [{ to: '/services', label: 'Services' }, { to: '/slos', label: 'SLOs', count: 'slos' }] },
  { title: 'Explore', items: [{ to: '/logs', label: 'Logs' }, { to: '/traces', label: 'Traces' }, { to: '/explore/metrics', label: 'Metrics' }, { to: '/dashboards', label: 'Dashboards' }, { to: '/explore/sql', label: 'SQL' }] },
  { title: 'Manage', items: [{ to: '/runbooks', label: 'Runbooks' }, { to: '/status', label: 'Status' }] },
];

function Navigation({ onPick }: { onPick?: () => void }) {
  const path = useRouterState({ select: (s) => s.location.pathname });
  const alerts = useAlerts();
  const slos = useSlos();
  const counts = {
    alerts: alerts.data?.alerts.filter((a) => a.state === 'firing').length ?? 0,
    slos: slos.data?.slos.filter((s) => s.state === 'burning' || s.state === 'exhausted').length ?? 0,
  };
  return (
    <nav className="nav" aria-label="Pages" onClick={onPick}>
      {GROUPS.map((group) => (
        <div key={group.title}>
          <h2>{group.title}</h2>
          {group.items.map((item) => {
            const active = item.to === '/' ? path === '/' : path === item.to || path.startsWith(`${item.to}/`);
            const count = item.count ? counts[item.count] : 0;
            return (
              <Link key={item.to} to={item.to} className={active ? 'active' : ''}>
                {item.label}
                {count > 0 ? <span className="cnt" aria-label={`${count} need attention`}>{count}</span> : null}
              </Link>
            );
          })}
        </div>
      ))}
    </nav>
  );
}

function Brand() {
  return (
    <Link to="/" className="brand" aria-label="Skopos, overview">
      <svg width="18" height="18" viewBox="0 0 20 20" fill="none" stroke="currentColor" strokeWidth="1.8" strokeLinecap="round" strokeLinejoin="round" aria-hidden>
        <circle cx="10" cy="10" r="7.6" />
        <path d="M3.5 10h3l2-4 3 8 2-4h3" />
      </svg>
      Skopos
    </Link>
  );
}

function Environment() {
  const status = useStatus();
  const { env } = useRange();
  const set = useSetSearch();
  const [open, setOpen] = useState(false);
  const choices = status.data?.environments ?? [];
  return (
    <Popover opened={open} onChange={setOpen} position="bottom-start">
      <Popover.Target>
        <Button size="compact-sm" variant="default" className="wide" onClick={() => setOpen(!open)} aria-haspopup="listbox">env: {env ?? 'all'} ▾</Button>
      </Popover.Target>
      <Popover.Dropdown p={4}>
        <div role="listbox" aria-label="Environment" className="menu">
          {[undefined, ...choices].map((c) => (
            <button key={c ?? ''} role="option" aria-selected={c === env} type="button" onClick={() => { set({ env: c }); setOpen(false); }}>{c ?? 'all'}</button>
          ))}
        </div>
      </Popover.Dropdown>
    </Popover>
  );
}

function CopyLink() {
  const { bounds } = useRange();
  const [done, setDone] = useState(false);
  const copy = () => {
    const url = new URL(window.location.href);
    url.searchParams.set('from', new Date(bounds.from).toISOString());
    url.searchParams.set('to', new Date(bounds.to).toISOString());
    url.searchParams.delete('live');
    void navigator.clipboard?.writeText(url.toString()).then(() => {
      setDone(true);
      setTimeout(() => setDone(false), 1500);
    });
  };
  return (
    <ActionIcon variant="default" size={28} onClick={copy} aria-label={done ? 'Link copied' : 'Copy link with absolute times'} title="Copy link (C)" data-key="c">
      {done ? '✓' : (
        <svg width="14" height="14" viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="2.2" strokeLinecap="round" aria-hidden><path d="M10 14a4 4 0 0 0 6 .5l3-3a4 4 0 0 0-6-6l-1.5 1.5M14 10a4 4 0 0 0-6-.5l-3 3a4 4 0 0 0 6 6l1.5-1.5" /></svg>
      )}
    </ActionIcon>
  );
}

export function Shell({ children }: { children: ReactNode }) {
  return <TickProvider><Frame>{children}</Frame></TickProvider>;
}

function Frame({ children }: { children: ReactNode }) {
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme('dark');
  const { range, relative, bounds } = useRange();
  const { zone } = usePreferences();
  const set = useSetSearch();
  const [menu, setMenu] = useState(false);
  const [palette, setPalette] = useState(false);
  const [picker, setPicker] = useState(false);
  const [help, setHelp] = useState(false);
  const search = useRouterState({ select: (s) => s.location.search as { live?: 1 } });
  const live = search.live === 1;
  const status = useStatus();
  const toggleTheme = () => setColorScheme(scheme === 'dark' ? 'light' : 'dark');
  const setLive = (on: boolean) => set(on ? { live: 1, to: undefined, from: relative ? range.from : undefined } : { live: undefined });
  useScrollableRegions();
  useKeys({ palette: () => setPalette(true), theme: toggleTheme, live: () => setLive(!live), help: () => setHelp((h) => !h) });
  return (
    <div className="app">
      <Brand />
      <header className="top">
        <button type="button" className="menu-btn" aria-label="Pages" aria-expanded={menu} onClick={() => setMenu(!menu)}>☰</button>
        <Environment />
        <button type="button" className="search-btn" onClick={() => setPalette(true)}>
          <span>Search or jump to…</span><kbd className="wide">⌘K</kbd>
        </button>
        <span className="sp" />
        <Popover opened={picker} onChange={setPicker} position="bottom-end" trapFocus>
          <Popover.Target>
            <button type="button" className="range-btn mono" onClick={() => setPicker(!picker)} aria-haspopup="dialog">
              {relative ? <>Last {range.from.replace(/^(now)?-/, '')}<span className="wide"> · {rangeText(bounds.from, bounds.to, zone)} {zoneName(zone)}</span></> : <>{rangeText(bounds.from, bounds.to, zone)} {zoneName(zone)}</>} ▾
            </button>
          </Popover.Target>
          <Popover.Dropdown p="sm"><RangePicker onDone={() => setPicker(false)} /></Popover.Dropdown>
        </Popover>
        <div className="segmented wide" role="group" aria-label="Refresh">
          <button type="button" aria-pressed={live} onClick={() => setLive(true)}>Live</button>
          <button type="button" aria-pressed={!live} onClick={() => setLive(false)}>Paused</button>
        </div>
        <CopyLink />
        <ActionIcon variant="default" size={28} onClick={toggleTheme} aria-label={`Switch to ${scheme === 'dark' ? 'light' : 'dark'} theme`} title="Theme (Ctrl J)">{scheme === 'dark' ? '☾' : '☀'}</ActionIcon>
      </header>
      <Navigation />
      {menu ? <div className="drawer" role="dialog" aria-label="Pages"><Navigation onPick={() => setMenu(false)} /></div> : null}
      <main id="main">
        {status.isError ? <div className="strip" role="alert">▲ Connection lost: what is shown may be old. Trying again.</div> : null}
        {status.data && !status.data.wal.writable ? <div className="strip crit" role="alert">✕ The store cannot write: {status.data.wal.error}. Reading goes on.</div> : null}
        {children}
      </main>
      {palette ? <Palette onClose={() => setPalette(false)} /> : null}
      {help ? <Help onClose={() => setHelp(false)} /> : null}
    </div>
  );
}

const KEYS: [string, string][] = [
  ['⌘/Ctrl K', 'palette'], ['?', 'this help'], ['/', 'focus the query'], ['J / K', 'next / previous row'], ['↵', 'open'], ['Esc', 'close'],
  ['G then O S A I L T M D R', 'overview, services, alerts, SLOs, logs, traces, metrics, drills, runbooks'], ['[ / ]', 'shift time back / forward'],
  ['Z', 'zoom out'], ['.', 'live / paused'], ['C', 'copy link'], ['E', 'next error'], ['← / →', 'fold / unfold'], ['⌘/Ctrl J', 'theme'],
];

function Help({ onClose }: { onClose: () => void }) {
  const { zone, setZone, keys, setKeys } = usePreferences();
  return (
    <div className="overlay" onClick={onClose} role="presentation">
      <div className="panel dialog" role="dialog" aria-label="Keyboard and preferences" onClick={(e) => e.stopPropagation()}>
        <header>Keyboard and preferences<span className="sp" /><button type="button" className="link-button" onClick={onClose}>Close</button></header>
        <table className="kvt"><tbody>{KEYS.map(([k, v]) => <tr key={k}><td>{k}</td><td>{v}</td></tr>)}</tbody></table>
        <div className="prefs">
          <label><input type="checkbox" checked={keys} onChange={(e) => setKeys(e.target.checked)} /> single-key shortcuts</label>
          <label><input type="checkbox" checked={zone === 'local'} onChange={(e) => setZone(e.target.checked ? 'local' : 'utc')} /> local time instead of UTC</label>
        </div>
      </div>
    </div>
  );
}
