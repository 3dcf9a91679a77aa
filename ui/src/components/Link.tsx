/** Links inside the pages keep environment and range; anything else is given. */
import { Link as RouterLink, useSearch } from '@tanstack/react-router';
import type { CSSProperties, ReactNode } from 'react';
import type { GlobalSearch } from '../app/search';

export interface LinkProps {
  /** Path, e.g. `/traces/4bf9…`. */
  to: string;
  search?: Record<string, string | number | undefined>;
  children: ReactNode;
  className?: string;
  title?: string;
  style?: CSSProperties;
  'aria-label'?: string;
  'data-testid'?: string;
}

export function Link({ to, search = {}, children, ...rest }: LinkProps) {
  const current = useSearch({ strict: false }) as GlobalSearch;
  const { env, from, to: until, live } = current;
  const merged = { env, from, to: until, live, ...search };
  const clean = Object.fromEntries(Object.entries(merged).filter(([, v]) => v !== undefined && v !== ''));
  return (
    <RouterLink to={to as never} search={clean as never} {...rest}>
      {children}
    </RouterLink>
  );
}
