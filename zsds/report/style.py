"""The page's style sheet and its script; the page is complete without the script."""

CSS = """
:root{--ink:#1d2733;--quiet:#5b6672;--line:#dfe4e8;--soft:#f5f7f9;--bad:#b3261e;--badsoft:#fde7e4;
--warn:#8a5a00;--warnsoft:#fff3d6;--good:#1e6b34;--goodsoft:#e3f4e7}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem 1.5rem 3rem;max-width:88rem;color:var(--ink);background:#fff;
font:15px/1.45 system-ui,"Segoe UI","DejaVu Sans","Liberation Sans",sans-serif}
h1{font-size:1.6rem;margin:.4rem 0}
h2{font-size:1.2rem;margin:2rem 0 .6rem;border-bottom:2px solid var(--line)}
h3{font-size:1rem;margin:1.2rem 0 .4rem}h4{font-size:1rem;margin:0}small,.quiet,figcaption{color:var(--quiet)}
h4 small{font-weight:400;overflow-wrap:anywhere}
nav{font-size:.9rem}nav a{margin-right:1rem}a{color:#1c5a99}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(10.5rem,1fr));gap:.6rem;margin:1rem 0}
.tile{border:1px solid var(--line);border-radius:.4rem;padding:.5rem .7rem;background:var(--soft)}
.tile b{display:block;font-size:1.35rem;font-variant-numeric:tabular-nums}.tile small{display:block}
.tile.bad{background:var(--badsoft);border-color:var(--bad)}.tile.good{background:var(--goodsoft);border-color:#9fceab}
.tile.warn{background:var(--warnsoft);border-color:#d9b45c}
.scroll{overflow:auto;max-height:34rem;width:fit-content;max-width:100%;border:1px solid var(--line)}
table{border-collapse:collapse;font-size:.8rem;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .5rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th{background:var(--soft);vertical-align:bottom;font-weight:600}
thead th{position:sticky;top:0;z-index:2}
th small{display:block;font-weight:400}
td.t,th.t{text-align:left}td.w{white-space:normal;min-width:13rem}
.scroll th:first-child,.scroll td:first-child{position:sticky;left:0;background:var(--soft);z-index:1}
.scroll thead th:first-child{z-index:3}
td:first-child,.id{font-family:ui-monospace,"DejaVu Sans Mono","Liberation Mono",monospace;font-size:.76rem}
td.hi,td.lo,td.failed,td.rejected{background:var(--badsoft);color:var(--bad);font-weight:600}
td.hi::after{content:" \\2191"}td.lo::after{content:" \\2193"}
td.waiting{background:var(--warnsoft);color:var(--warn)}td.done{color:var(--good)}
th button{all:unset;cursor:pointer;font-weight:600}th button:focus-visible{outline:2px solid #1c5a99}
th button:hover{text-decoration:underline}
th[aria-sort=ascending] button::after{content:" \\25B2"}
th[aria-sort=descending] button::after{content:" \\25BC"}
.trouble{border-left:4px solid var(--bad);background:var(--soft);padding:.5rem .8rem;margin:.6rem 0}
.trouble.waiting{border-color:#d9b45c}.trouble p{margin:.2rem 0}.trouble h3{margin:0}
.trouble .id{overflow-wrap:anywhere}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(34rem,100%),1fr));gap:1rem 1.5rem}
figure{margin:0}.plots .wide{grid-column:1/-1}.plots img{width:100%;height:auto}
.plots figure{border:1px solid var(--line);border-radius:.4rem;padding:.6rem}
.plots h3{margin:.1rem 0 .3rem}figcaption{font-size:.82rem}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(25rem,100%),1fr));gap:1rem}
.card{border:1px solid var(--line);border-radius:.4rem;padding:.6rem .8rem;break-inside:avoid}
.card p{margin:.2rem 0;font-size:.85rem}.doubt{color:var(--bad);font-weight:600}
.stamps{display:flex;gap:.5rem;margin:.4rem 0}.stamps figure{flex:1;text-align:center}
.stamp{width:100%;image-rendering:pixelated;border:1px solid var(--line);display:block}
.nostamp{aspect-ratio:1;display:flex;align-items:center;justify-content:center;background:var(--soft);
color:var(--quiet);font-size:.8rem;padding:.5rem}
.curve{width:100%;height:auto}.features{color:var(--quiet)}
dl{columns:24rem;font-size:.82rem}
dl div{break-inside:avoid}dt{font-weight:600;display:inline}dd{display:inline;margin:0 0 0 .4rem}
@media print{body{max-width:none;padding:0;font-size:10pt}nav{display:none}
.scroll{overflow:visible;max-height:none;border:0}table{font-size:5.2pt}
th,td{padding:.05rem .12rem;white-space:normal}
td:first-child{font-size:5pt}.scroll th:first-child,.scroll td:first-child,thead th{position:static}
td.w{min-width:0}.plots figure,.trouble,.tile{break-inside:avoid}
td.hi,td.lo,td.failed,td.rejected,.tile{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""

SCRIPT = """
"use strict";
document.querySelectorAll("table.sortable").forEach(function (table) {
  var heads = Array.from(table.tHead.rows[0].cells), body = table.tBodies[0];
  function key(row, column) {
    var text = row.cells[column].textContent.trim(), value = Number(text);
    return text === "" || text === "\\u2013" ? null : Number.isNaN(value) ? text : value;
  }
  function compare(a, b) {
    if (typeof a === typeof b) { return a < b ? -1 : a > b ? 1 : 0; }
    return typeof a === "number" ? -1 : 1;
  }
  heads.forEach(function (head, column) {
    var button = document.createElement("button");
    button.type = "button";
    while (head.firstChild) { button.appendChild(head.firstChild); }
    head.appendChild(button);
    button.addEventListener("click", function () {
      var down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      Array.from(body.rows)
        .map(function (row, place) { return {row: row, key: key(row, column), place: place}; })
        .sort(function (a, b) {
          if (a.key === null || b.key === null) {
            return (a.key === null) - (b.key === null) || a.place - b.place;
          }
          return (down ? -1 : 1) * compare(a.key, b.key) || a.place - b.place;
        })
        .forEach(function (item) { body.appendChild(item.row); });
    });
  });
});
"""
