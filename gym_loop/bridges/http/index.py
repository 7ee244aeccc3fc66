"""The page at ``/``: what runs here, and how to use it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from html import escape
from importlib.metadata import version

MOST_ROWS = 50

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>gym-loop: environments over HTTP</title>
<style>
:root {{ --text: #1b1f24; --quiet: #57606a; --page: #fff; --box: #f3f4f6; --line: #d0d7de;
  --link: #0550ae; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --text: #e6edf3; --quiet: #9da7b3; --page: #0d1117; --box: #161b22; --line: #30363d;
    --link: #79b8ff; }}
}}
body {{ color: var(--text); background: var(--page); font: 1rem/1.5 system-ui, sans-serif;
  max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; }} h2 {{ font-size: 1.15rem; margin-top: 2rem; }}
a {{ color: var(--link); }} .quiet {{ color: var(--quiet); }}
pre {{ background: var(--box); padding: 1rem; border-radius: .4rem; overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); }}
td.number, th.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
</style>
</head>
<body>
<main>
<h1>gym-loop serves Gymnasium environments</h1>
<p class="quiet">Protocol gym-http-api v1, gym-loop {version}.{token}</p>
<h2>Open environments</h2>
{table}
<h2>Try it</h2>
<pre tabindex="0"><code>{example}</code></pre>
<h2>More</h2>
<ul>
<li><a href="openapi.json">OpenAPI description</a> of every route</li>
<li><a href="v1/stats">Counts and latencies</a> since the start</li>
<li><a href="v1/envs/">Open environments</a> as JSON</li>
</ul>
</main>
</body>
</html>
"""
_TABLE = """<table>
<thead><tr><th scope="col">Environment</th><th scope="col" class="number">Open</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>"""
_EXAMPLE = """curl -X POST {url}/v1/envs/ {headers}\\
    -H 'Content-Type: application/json' -d '{{"env_id": "{env_id}"}}'
# {{"instance_id":"3c657dbc"}}
curl -X POST {url}/v1/envs/3c657dbc/reset/{end}
curl -X POST {url}/v1/envs/3c657dbc/step/ {headers}\\
    -H 'Content-Type: application/json' -d '{{"action": 0}}'
curl -X POST {url}/v1/envs/3c657dbc/close/{end}"""


def page(url: str, env_ids: Iterable[str], example_id: str, *, with_token: bool) -> bytes:
    """The page.

    Args:
        url: address of this server, as the reader wrote it.
        env_ids: the id of every open environment.
        example_id: an id that can be asked for.
        with_token: the server demands a token.
    """
    header = "-H 'Authorization: Bearer TOKEN' " if with_token else ""
    example = _EXAMPLE.format(
        url=url, env_id=example_id, headers=header, end=f" {header.rstrip()}" if header else ""
    )
    return _PAGE.format(
        version=escape(version("gym-loop")),
        token=" Every request needs the operator's token." if with_token else "",
        table=_table(Counter(env_ids)),
        example=escape(example, quote=False),
    ).encode()


def _table(counts: Counter[str]) -> str:
    if not counts:
        return "<p>None now.</p>"
    rows = [_row(env_id, count) for env_id, count in counts.most_common(MOST_ROWS)]
    others = counts.total() - sum(count for _, count in counts.most_common(MOST_ROWS))
    if others:
        rows.append(_row("others", others))
    return _TABLE.format(rows="\n".join(rows))


def _row(name: str, count: int) -> str:
    return f'<tr><td>{escape(name)}</td><td class="number">{count}</td></tr>'
