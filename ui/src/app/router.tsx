/** Routes. Each page is a chunk of its own; parameters are declared on their route, or the router drops them. */
import { type AnyRoute, createRootRoute, createRoute, createRouter, lazyRouteComponent, Outlet } from '@tanstack/react-router';
import { Shell } from './Shell';
import { globalSearch, pageSearch, prefixedSearch } from './search';

const root = createRootRoute({
  component: () => <Shell><Outlet /></Shell>,
  notFoundComponent: () => (
    <div className="empty-page"><h1>There is no such page</h1><p className="sub">The navigation on the left lists what there is.</p></div>
  ),
});

const at = <P extends string>(path: P) => ({ getParentRoute: () => root, path }) as const;

const routes: unknown[] = [
  createRoute({ ...at('/'), validateSearch: globalSearch, component: lazyRouteComponent(() => import('../pages/overview')) }),
  createRoute({ ...at('/services'), validateSearch: pageSearch('q', 'sort'), component: lazyRouteComponent(() => import('../pages/services')) }),
  createRoute({ ...at('/services/$name'), validateSearch: pageSearch('tab', 'route', 'version'), component: lazyRouteComponent(() => import('../pages/service/index')) }),
  createRoute({ ...at('/logs'), validateSearch: pageSearch('q', 'sel', 'view', 'cols'), component: lazyRouteComponent(() => import('../pages/logs/index')) }),
  createRoute({ ...at('/traces'), validateSearch: pageSearch('q', 'group', 'sel'), component: lazyRouteComponent(() => import('../pages/traces')) }),
  createRoute({ ...at('/traces/$id'), validateSearch: pageSearch('sel', 'tab', 'with'), component: lazyRouteComponent(() => import('../pages/trace/index')) }),
  createRoute({ ...at('/explore/metrics'), validateSearch: pageSearch('metric', 'expr', 'mode', 'service', 'type', 'unit', 'owner', 'sort', 'by', 'agg', 'match', 'cmp', 'tab'), component: lazyRouteComponent(() => import('../pages/metrics/index')) }),
  createRoute({ ...at('/explore/cardinality'), validateSearch: pageSearch('tab', 'metric'), component: lazyRouteComponent(() => import('../pages/cardinality')) }),
  createRoute({ ...at('/explore/sql'), validateSearch: pageSearch('query'), component: lazyRouteComponent(() => import('../pages/sql')) }),
  createRoute({ ...at('/dashboards'), validateSearch: pageSearch('q'), component: lazyRouteComponent(() => import('../pages/dashboards')) }),
  createRoute({ ...at('/dashboards/$name'), validateSearch: prefixedSearch(['var.'], 'tab', 'panel', 'version', 'before'), component: lazyRouteComponent(() => import('../pages/dashboard/index')) }),
  createRoute({ ...at('/slos'), validateSearch: globalSearch, component: lazyRouteComponent(() => import('../pages/slos')) }),
  createRoute({ ...at('/slos/$id'), validateSearch: pageSearch('window'), component: lazyRouteComponent(() => import('../pages/slo')) }),
  createRoute({ ...at('/alerts'), validateSearch: pageSearch('tab', 'state', 'sel'), component: lazyRouteComponent(() => import('../pages/alerts')) }),
  createRoute({ ...at('/alerts/$fingerprint'), validateSearch: globalSearch, component: lazyRouteComponent(() => import('../pages/alert')) }),
  createRoute({ ...at('/rules/edit'), validateSearch: prefixedSearch(['label.', 'annotation.'], 'name', 'expr', 'for', 'keep', 'interval', 'yaml', 'sel'), component: lazyRouteComponent(() => import('../pages/rule/index')) }),
  createRoute({ ...at('/runbooks'), validateSearch: pageSearch('q'), component: lazyRouteComponent(() => import('../pages/runbooks')) }),
  createRoute({ ...at('/runbooks/$id'), validateSearch: pageSearch('alert', 'step', 'run'), component: lazyRouteComponent(() => import('../pages/runbook/index')) }),
  createRoute({ ...at('/drills'), validateSearch: globalSearch, component: lazyRouteComponent(() => import('../pages/drills')) }),
  createRoute({ ...at('/drills/$id'), validateSearch: globalSearch, component: lazyRouteComponent(() => import('../pages/drill')) }),
  createRoute({ ...at('/status'), validateSearch: globalSearch, component: lazyRouteComponent(() => import('../pages/status')) }),
];

export const router = createRouter({ routeTree: root.addChildren(routes as AnyRoute[]), defaultPreload: 'intent', scrollRestoration: true });
