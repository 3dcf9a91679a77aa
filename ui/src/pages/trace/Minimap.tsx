/** All spans at once, a hairline each. */
import { useComputedColorScheme } from '@mantine/core';
import { useEffect, useRef } from 'react';
import type { Node } from '../../lib/tree';
import { serviceColour } from './colour';

const HEIGHT = 54;

export function Minimap({ nodes, duration }: { nodes: Node[]; duration: number }) {
  const host = useRef<HTMLCanvasElement>(null);
  const scheme = useComputedColorScheme('dark');
  useEffect(() => {
    const canvas = host.current;
    if (!canvas) return;
    const draw = () => {
      const width = canvas.clientWidth;
      const ratio = devicePixelRatio;
      canvas.width = width * ratio;
      canvas.height = HEIGHT * ratio;
      const ctx = canvas.getContext('2d');
      if (!ctx || duration <= 0) return;
      ctx.scale(ratio, ratio);
      const style = getComputedStyle(canvas);
      const row = Math.min(3, HEIGHT / nodes.length);
      nodes.forEach((n, i) => {
        const colour = n.span.status_code === 'error' ? '--crit' : serviceColour(n.span.service_name).slice(4, -1);
        ctx.fillStyle = style.getPropertyValue(colour);
        ctx.fillRect((n.offset / duration) * width, i * row, Math.max(1, (n.span.duration / duration) * width), Math.max(1, row - 0.6));
      });
    };
    draw();
    const observer = new ResizeObserver(draw);
    observer.observe(canvas);
    return () => observer.disconnect();
  }, [nodes, duration, scheme]);
  return <canvas ref={host} className="minimap" style={{ height: HEIGHT }} aria-hidden />;
}
