/** The mark: four pale arcs of a moonbow over the moon that makes it. */

export const SPECTRUM = ["#f2a3b3", "#f0bd92", "#efe0a0", "#9bdcb2", "#8fcdee", "#a3b1f7", "#cdaaf0"];

export function Logo({ size = 28 }: { size?: number }) {
  const arcs: [string, number][] = [["#f2a3b3", 11.5], ["#f0dfa0", 9.1], ["#8fd6b0", 6.7], ["#9fb4f5", 4.3]];
  return (
    <svg width={size} height={size} viewBox="3 8 26 18" aria-hidden="true" focusable="false">
      <g fill="none" strokeWidth="1.8" strokeLinecap="round">
        {arcs.map(([colour, r]) => (
          <path key={r} d={`M${16 - r} 23a${r} ${r} 0 0 1 ${2 * r} 0`} stroke={colour} />
        ))}
      </g>
      <circle cx="16" cy="23" r="2" fill="#f6efd9" />
    </svg>
  );
}

/** The night sky behind the door: one wide arc, a low moon, a few stars. */
export function Sky() {
  const stars = [[8, 18], [17, 9], [26, 28], [35, 12], [46, 22], [58, 7], [66, 19], [74, 31], [83, 11], [92, 24], [12, 40], [88, 44]];
  return (
    <svg className="sky" viewBox="0 0 100 70" preserveAspectRatio="xMidYMax slice" aria-hidden="true" focusable="false">
      <defs>
        <radialGradient id="glow" cx="50%" cy="100%" r="75%">
          <stop offset="0" stopColor="#33407f" stopOpacity="0.9" />
          <stop offset="1" stopColor="#0c1128" stopOpacity="0" />
        </radialGradient>
        <filter id="soft" x="-20%" y="-20%" width="140%" height="140%">
          <feGaussianBlur stdDeviation="0.55" />
        </filter>
      </defs>
      <rect width="100" height="70" fill="url(#glow)" />
      {stars.map(([x, y], i) => (
        <circle key={`${x}-${y}`} cx={x} cy={y} r={i % 3 === 0 ? 0.22 : 0.14} fill="#dfe5ff" opacity={0.35 + (i % 4) * 0.15} />
      ))}
      <g fill="none" strokeWidth="1.05" filter="url(#soft)" opacity="0.5">
        {SPECTRUM.map((colour, i) => {
          const r = 62 - i;
          return <path key={colour} d={`M${50 - r} 70a${r} ${r} 0 0 1 ${2 * r} 0`} stroke={colour} />;
        })}
      </g>
    </svg>
  );
}
