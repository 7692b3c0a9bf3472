//! Colours and lines, for light and dark.

/// Rules of style for charts, those of a page or of an SVG file alone. Eight colours that people with any sort of
/// colour vision can tell apart, each readable on its ground.
pub const STYLE: &str = "\
:root{--ink:#1c2024;--soft:#60646c;--line:#d0d4da;--ground:#ffffff;--panel:#f6f7f9;--s0:#0b62c4;--s1:#c2410c;--s2:#0f766e;\
--s3:#a21caf;--s4:#a16207;--s5:#4d7c0f;--s6:#be123c;--s7:#475569}
@media (prefers-color-scheme:dark){:root{--ink:#e6e8eb;--soft:#a0a5ad;--line:#3a4048;--ground:#14171a;--panel:#1d2126;\
--s0:#6cb2ff;--s1:#ff9457;--s2:#41d0bf;--s3:#e58cf2;--s4:#e0b340;--s5:#a3d15a;--s6:#ff7d95;--s7:#a9b5c6}}
@media print{:root{--ink:#000;--soft:#333;--line:#bbb;--ground:#fff;--panel:#fff;--s0:#0b62c4;--s1:#c2410c;--s2:#0f766e;\
--s3:#a21caf;--s4:#a16207;--s5:#4d7c0f;--s6:#be123c;--s7:#475569}}
.plot{font:12px system-ui,sans-serif;background:var(--ground)}
.plot text{fill:var(--soft)}
.plot .title{fill:var(--ink);font-weight:600;font-size:14px}
.plot .grid{stroke:var(--line);stroke-width:1;fill:none}
.plot .frame{stroke:var(--soft);stroke-width:1;fill:none}
.plot .cell{fill:var(--s0)}
.plot .in{fill:var(--ink)}
.plot .over{fill:var(--ground)}
.plot .box{fill:var(--panel);stroke:var(--soft)}
.plot .strong{fill:var(--ink);font-weight:600}
";

/// How many colours there are.
pub(crate) const COLOURS: usize = 8;
