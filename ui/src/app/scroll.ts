/** Whatever scrolls can be reached by keyboard: a wide table in its panel on a phone, and the page itself. */
import { useEffect } from 'react';

const FOCUSABLE = 'a[href],button,input,select,textarea,[tabindex]';

function mark(region: Element): void {
  const scrolls = region.scrollWidth > region.clientWidth + 1 || region.scrollHeight > region.clientHeight + 1;
  const auto = /(auto|scroll)/.test(getComputedStyle(region).overflow);
  if (scrolls && auto && !region.querySelector(FOCUSABLE)) region.setAttribute('tabindex', '0');
  else if (region.getAttribute('tabindex') === '0') region.removeAttribute('tabindex');
}

/** Watches the page for regions that begin or cease to scroll. */
export function useScrollableRegions(): void {
  useEffect(() => {
    const main = document.getElementById('main');
    if (!main) return;
    let frame = 0;
    const all = () => {
      frame = 0;
      mark(main);
      main.querySelectorAll('.panel, .dash-body, .sql-result, .legend-table, .chart-table').forEach(mark);
    };
    const later = () => { if (frame === 0) frame = requestAnimationFrame(all); };
    const changes = new MutationObserver(later);
    changes.observe(main, { childList: true, subtree: true });
    window.addEventListener('resize', later);
    later();
    return () => { changes.disconnect(); window.removeEventListener('resize', later); cancelAnimationFrame(frame); };
  }, []);
}
