/** A dashboard: how does my system look overall? */
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useNavigate, useParams, useSearch } from '@tanstack/react-router';
import { useEffect, useState } from 'react';
import { get } from '../../api/client';
import { useRanged } from '../../api/hooks';
import type { DashboardDetail, DashboardView } from '../../api/types';
import { useRange, useSetSearch, useTick } from '../../app/context';
import { Async, ErrorBox } from '../../components/Async';
import { Link } from '../../components/Link';
import { join, variableQuery } from '../../lib/dashboards';
import { useSurroundings } from '../metrics/context';
import { GAP, Panel, ROW } from './Panel';
import { Source } from './Source';
import { Variables } from './Variables';
import { Versions } from './Versions';

type Search = Record<string, string | undefined> & { tab?: string };
const TABS: [string | undefined, string][] = [[undefined, 'Dashboard'], ['source', 'Source'], ['versions', 'Versions']];

export default function DashboardPage() {
  const { name } = useParams({ strict: false }) as { name: string };
  const search = useSearch({ strict: false }) as Search;
  const set = useSetSearch();
  const navigate = useNavigate();
  const detail = useRanged<DashboardDetail>(`/v1/dashboards/${encodeURIComponent(name)}`);
  const title = detail.data?.title ?? name;
  useEffect(() => { document.title = `${title} · Skopos`; }, [title]);
  // The document says which range it opens with; an address that names one wins.
  const opens = detail.data?.document.spec.duration;
  const ranged = search.from !== undefined || search.to !== undefined;
  useEffect(() => { if (opens && !ranged) set({ from: `-${opens}`, to: 'now' }, true); }, [opens, ranged]); // eslint-disable-line react-hooks/exhaustive-deps
  return (
    <>
      <div className="page-h">
        <h1>{title}</h1>
        {detail.data ? <span className="chip static">{detail.data.source}</span> : null}
        <div className="tabs" role="tablist">{TABS.map(([tab, label]) => <button key={label} type="button" role="tab" aria-selected={search.tab === tab} onClick={() => set({ tab })}>{label}</button>)}</div>
        <span className="sub">{detail.data?.document.spec.display?.description ?? ''}</span>
      </div>
      <Async query={detail} skeleton={6}>
        {(data) => (search.tab === 'source' ? <Source detail={data} onStored={(stored) => { if (stored !== name) void navigate({ to: (stored ? `/dashboards/${stored}` : '/dashboards') as never, search: {} as never }); }} />
          : search.tab === 'versions' ? <Versions name={name} /> : <View detail={data} search={search} />)}
      </Async>
    </>
  );
}

function View({ detail, search }: { detail: DashboardDetail; search: Search }) {
  const set = useSetSearch();
  const tick = useTick();
  const { params } = useRange();
  const variables = variableQuery(search);
  const url = `/v1/dashboards/${encodeURIComponent(detail.name)}/view?${new URLSearchParams({ from: params.from, to: params.to }).toString()}${variables ? `&${variables}` : ''}`;
  const view = useQuery<DashboardView>({ queryKey: [url, tick], queryFn: ({ signal }) => get(url, signal), placeholderData: keepPreviousData });
  const service = view.data?.variables.find((v) => v.name === 'service' || v.name === 'job');
  const { markers, bands } = useSurroundings(service?.selected.length === 1 && service.selected[0] !== '$__all' ? service.selected[0] : undefined);
  const [closed, setClosed] = useState<Record<number, boolean>>({});
  if (view.isError && view.data === undefined) return <ErrorBox error={view.error} onRetry={() => void view.refetch()} />;
  if (!view.data) return <div aria-busy="true" className="skeletons"><div className="skeleton" /></div>;
  const choose = (name: string, values: string[]) => set({ [`var.${name}`]: join(values) });
  return (
    <div className={view.isFetching && view.isPlaceholderData ? 'stale' : undefined}>
      {view.isFetching ? <div className="progress" aria-hidden /> : null}
      <div className="dash-bar">
        <Variables variables={view.data.variables} onChange={choose} />
        {view.data.links.map((l) => (l.url.startsWith('/') ? <Link key={l.url} to={l.url.split('?')[0]!} search={Object.fromEntries(new URLSearchParams(l.url.split('?')[1]))}>{l.name || l.url}</Link> : <a key={l.url} href={l.url} rel="noreferrer" target={l.targetBlank ? '_blank' : undefined}>{l.name || l.url}</a>))}
      </div>
      {view.data.sections.length === 0 ? <div className="empty-page"><p>This dashboard shows nothing yet: its document has no layout, or its rows repeat for a variable without values.</p></div> : null}
      {view.data.sections.map((section, i) => {
        const isOpen = section.open === null ? true : !(closed[i] ?? !section.open);
        return (
          <section key={`${i}${Object.values(section.values).join()}`} className="dash-section" aria-label={section.title || undefined}>
            {section.title ? <h2>{section.open === null ? section.title : <button type="button" className="link-button" aria-expanded={isOpen} onClick={() => setClosed({ ...closed, [i]: isOpen })}>{isOpen ? '▾' : '▸'} {section.title}</button>}</h2> : null}
            {isOpen ? (
              <div className="dash-grid" style={{ gridAutoRows: ROW, gap: GAP }}>
                {section.items.map((item, j) => {
                  const panel = detail.document.spec.panels[item.panel];
                  return panel ? (
                    <div key={`${item.panel}${j}${Object.values(item.values).join()}`} className="dash-cell" style={{ gridColumn: `${item.x + 1} / span ${item.width}`, gridRow: `${item.y + 1} / span ${item.height}` }}>
                      <Panel dashboard={detail.name} id={item.panel} spec={panel.spec} query={variableQuery(search, { ...section.values, ...item.values })} rows={item.height} markers={markers} bands={bands} />
                    </div>
                  ) : null;
                })}
              </div>
            ) : null}
          </section>
        );
      })}
    </div>
  );
}
