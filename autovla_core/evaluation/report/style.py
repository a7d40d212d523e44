"""The look of a report; on a narrow screen each table row becomes a card, so that no page scrolls sideways."""

from __future__ import annotations

CSS = """
:root{--ink:#1c2329;--dim:#5f6b76;--paper:#fbfaf7;--card:#fff;--line:#e0ddd4;--main:#0b6e6e;--soft:#7fc4bd;
--warn:#8a4b00;--warnpaper:#fff2dc}
@media (prefers-color-scheme:dark){:root{--ink:#e6e8ea;--dim:#98a3ad;--paper:#14181c;--card:#1b2126;--line:#303941;
--main:#6fd6c9;--soft:#2f7d77;--warn:#ffc46b;--warnpaper:#33270f}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:20px 16px 60px}
h1{font-size:1.7rem;line-height:1.2;margin:.4em 0}
h2{font-size:1.25rem;margin:2em 0 .4em;padding-top:.7em;border-top:2px solid var(--line)}
h3{font-size:1.02rem;margin:1.6em 0 .5em}
.dim,.n{color:var(--dim)}.n{display:block;font-size:.78rem;font-weight:400}
p.dim{font-size:.88rem;margin:.3em 0}
code{font:.82em ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.broken{overflow-wrap:anywhere}
.warning p,.warning details{margin:.2em 0}.warning summary{padding:0}
.warning{background:var(--warnpaper);color:var(--warn);padding:.7em .9em;border-radius:8px}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:8px;margin:.5em 0}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;vertical-align:top;padding:8px 12px;border-top:1px solid var(--line)}
thead th{border-top:0;color:var(--dim);font-weight:600;font-size:.8rem}
tbody th{font-weight:600}
table.cards td{font-variant-numeric:tabular-nums}
.facts{background:var(--card);border:1px solid var(--line);border-radius:8px;border-collapse:separate;border-spacing:0}
.facts th{width:11em;color:var(--dim);font-weight:400}
.facts code{white-space:pre-wrap}
.facts tr:first-child>*{border-top:0}
.figure{white-space:nowrap}
.interval{color:var(--dim);font-size:.88em}
.unshown .verdict{color:var(--dim)}.shown .verdict{color:var(--main);font-weight:600}
details{margin:.8em 0}summary{cursor:pointer;font-weight:600;padding:.35em 0}
svg.whisker{display:block;width:100%;min-width:90px;max-width:240px;height:14px;margin-top:3px}
.rail{fill:var(--line)}.band{fill:var(--soft)}
.unsure{fill:var(--dim);opacity:.45}.mean{fill:var(--main)}.zero{fill:var(--dim)}
.bar{fill:var(--main)}.axis{stroke:var(--dim)}
svg.histogram{display:block;width:100%;max-width:520px;
background:var(--card);border:1px solid var(--line);border-radius:8px}
svg text{fill:var(--dim);font:11px system-ui,sans-serif}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(300px,100%),1fr));gap:14px}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:8px;overflow:hidden}
video{display:block;width:100%;background:#000}
figcaption{padding:9px 12px;font-size:.86rem;overflow-wrap:anywhere}
.nothing{margin:0;padding:34px 14px;text-align:center;color:var(--dim);font-size:.86rem;background:var(--line)}
.thought{margin:.5em 0 0;padding-left:.7em;border-left:3px solid var(--soft);font-style:italic}
@media (max-width:640px){
table.cards thead{display:none}
table.cards tr{display:block;padding:9px 12px;border-top:1px solid var(--line)}
table.cards tbody tr:first-child{border-top:0}
table.cards th,table.cards td{display:block;border:0;padding:3px 0}
table.cards td[data-label]::before{content:attr(data-label);display:block;color:var(--dim);font-size:.76rem}
svg.whisker{max-width:none}
table.cards td.short[data-label]::before{content:attr(data-label) ": ";display:inline}
.facts th,.facts td{display:block;width:auto;padding:4px 12px}.facts td{border:0;padding-top:0}
.figure{white-space:normal}}
"""
