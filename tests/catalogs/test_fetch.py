"""Fetching against a small Table Access Protocol server on this machine; no network."""

import gc
import re
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import parse_qs

import numpy as np
import pytest
from astropy.table import Table

from zsds.catalogs import CatalogStore, archives, fetch
from zsds.core.errors import BadInput
from zsds.core.sphere import unit_vectors

pytestmark = [  # pyvo leaves the sockets of streamed answers to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
JOB = """<?xml version="1.0"?><uws:job xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0"
xmlns:xlink="http://www.w3.org/1999/xlink" version="1.1"><uws:jobId>{job}</uws:jobId>
<uws:phase>{phase}</uws:phase><uws:quote></uws:quote><uws:executionDuration>60</uws:executionDuration><uws:destruction></uws:destruction>
<uws:parameters></uws:parameters><uws:results><uws:result id="result"
xlink:href="{url}/async/{job}/results/result"/>
</uws:results></uws:job>"""


class Archive(ThreadingHTTPServer):
    """Answers cone queries on a table of stars; may fail at first."""

    def __init__(self, stars, failures=0, max_rows=10**9):
        super().__init__(("127.0.0.1", 0), Handler)
        self.stars, self.failures, self.max_rows = stars, failures, max_rows
        self.jobs, self.queries = {}, []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/tap"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def answer(self, query):
        ra, dec, radius = map(
            float, re.search(r"CIRCLE\('ICRS', ([\d.]+), ([-\d.]+), ([\d.]+)\)", query).groups()
        )
        chord = np.linalg.norm(
            unit_vectors(self.stars["ra"], self.stars["dec"]) - unit_vectors(ra, dec), axis=1
        )
        table = self.stars[chord <= 2 * np.sin(np.radians(radius) / 2)][: self.max_rows]
        out = BytesIO()
        table.write(out, format="votable")
        text = out.getvalue().decode()
        status = '<RESOURCE type="results"><INFO name="QUERY_STATUS" value="OK"/>'
        return re.sub(r"<RESOURCE[^>]*>", status, text, count=1).encode()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def reply(self, body, kind="text/xml"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def see(self, place):
        self.send_response(303)
        self.send_header("Location", f"{self.server.url}{place}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        if self.path.endswith("/async"):
            if self.server.failures > 0:
                self.server.failures -= 1
                self.send_error(503)
                return
            job = str(len(self.server.jobs))
            self.server.jobs[job] = form["QUERY"][0]
            self.server.queries.append(form["QUERY"][0])
            self.see(f"/async/{job}")
        else:
            self.see("/async/" + self.path.split("/async/")[1].split("/")[0])

    def do_GET(self):
        if "/async/" not in self.path:
            self.send_error(404)
            return
        job, *rest = self.path.split("/async/")[1].split("?")[0].split("/")
        if rest[:1] == ["results"]:
            self.reply(self.server.answer(self.server.jobs[job]))
        elif rest[:1] == ["phase"]:
            self.reply(b"COMPLETED", "text/plain")
        else:
            self.reply(JOB.format(job=job, phase="COMPLETED", url=self.server.url).encode())

    def do_DELETE(self):
        self.see("/async")


@pytest.fixture(autouse=True)
def no_sockets_left():
    yield
    gc.collect()


@pytest.fixture
def stars():
    rng = np.random.default_rng(1)
    table = Table({"source_id": np.arange(3000, dtype=np.int64) + 1})
    table["ra"], table["dec"] = rng.uniform(-2.5, 2.5, 3000) % 360, rng.uniform(-2.5, 2.5, 3000)
    table["phot_g_mean_mag"] = rng.uniform(12, 20, 3000)
    return table


@pytest.fixture
def archive(stars):
    server = Archive(stars)
    yield server
    server.shutdown()
    server.server_close()


def within(stars, radius):
    chord = np.linalg.norm(unit_vectors(stars["ra"], stars["dec"]) - unit_vectors(0.0, 0.0), axis=1)
    return sorted(stars["source_id"][chord <= 2 * np.sin(np.radians(radius) / 2)])


def test_cone_is_filled_once(tmp_path, archive, stars):
    store = CatalogStore(tmp_path)
    seen = []
    rows = fetch(
        "gaia", 0.0, 0.0, 0.8, store, archive.url, progress=lambda done, total: seen.append((done, total))
    )
    assert rows > len(within(stars, 0.8))
    assert sorted(store.cone("gaia", 0, 0, 0.8)["source_id"]) == within(stars, 0.8)
    assert seen[-1][0] == seen[-1][1] == len(archive.queries)
    assert fetch("gaia", 0.0, 0.0, 0.8, store, archive.url) == 0
    assert len(archive.queries) == seen[-1][1]
    assert "FROM gaiadr3.gaia_source" in archive.queries[0]


def test_goes_on_where_it_stopped(tmp_path, archive, stars):
    store = CatalogStore(tmp_path)

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("gaia", 0.0, 0.0, 1.0, store, archive.url, progress=stop)
    before = len(archive.queries)
    assert before == 2
    fetch("gaia", 0.0, 0.0, 1.0, store, archive.url)
    assert len(set(archive.queries)) == len(archive.queries)
    assert sorted(store.cone("gaia", 0, 0, 1.0)["source_id"]) == within(stars, 1.0)


def test_full_answers_are_asked_for_in_parts(tmp_path, archive, stars, monkeypatch):
    small = replace(archives.Archive.of("gaia", archive.url), max_rows=60)
    monkeypatch.setattr(archives.Archive, "of", lambda *_: small)
    archive.max_rows = 60
    store = CatalogStore(tmp_path)
    fetch("gaia", 0.0, 0.0, 0.3, store, archive.url)
    assert sorted(store.cone("gaia", 0, 0, 0.3)["source_id"]) == within(stars, 0.3)


def test_tries_again_and_then_says_so(tmp_path, archive, stars):
    archive.failures = 2
    assert fetch("gaia", 0.0, 0.0, 0.1, CatalogStore(tmp_path), archive.url, wait_seconds=0.01) > 0
    archive.failures = 100
    with pytest.raises(BadInput, match="does not answer") as error:
        fetch("gaia", 0.0, 2.0, 0.1, CatalogStore(tmp_path / "b"), archive.url, wait_seconds=0.01)
    assert "\n" not in str(error.value)


def test_kinds_without_an_archive(tmp_path):
    with pytest.raises(BadInput, match="cannot be fetched; download a file"):
        fetch("orbits", 0, 0, 1, CatalogStore(tmp_path))


def test_missing_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyvo", None)
    with pytest.raises(BadInput, match=r"pip install 'zsds\[fetch\]'"):
        fetch("ps1", 0, 0, 1, CatalogStore(tmp_path))
