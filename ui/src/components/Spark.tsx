/** A line without axes: shape only, so it carries its meaning in words for those who do not see it. */
export function Spark({ values, label, width = 90, height = 18 }: { values: (number | null)[]; label: string; width?: number; height?: number }) {
  const present = values.filter((v): v is number => v !== null);
  if (present.length < 2) return <span className="sub">—</span>;
  const max = Math.max(...present, 1e-9);
  const x = (i: number) => (i / (values.length - 1)) * (width - 2) + 1;
  const y = (v: number) => height - 2 - (v / max) * (height - 4);
  let path = '';
  let pen = false;
  values.forEach((v, i) => {
    if (v === null) { pen = false; return; }
    path += `${pen ? 'L' : 'M'}${x(i).toFixed(1)} ${y(v).toFixed(1)}`;
    pen = true;
  });
  return <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={label}><path d={path} fill="none" stroke="var(--s1)" strokeWidth="1.3" /></svg>;
}
