"""The page in a browser: lists, filters, map, operator view, keyboard and accessibility."""

import re
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright

from paged import HOSTILE
from segue.serve.settings import Settings
from serving import serving

WRITER, READER = "write-0123456789abcdef", "read-0123456789abcdef0"
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WAIT = 10_000  # milliseconds


@pytest.fixture
def server(paged_server):
    return paged_server


@pytest.fixture(scope="module")
def browser():
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found, "the page is tested in Chromium; tests/setup.sh installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def tab(browser, server):
    """An empty tab; the test fails on requests to other hosts and on errors in the console."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=server.url)
    context.set_default_timeout(WAIT)
    tab = context.new_page()
    urls, errors = [], []
    tab.on("request", lambda request: urls.append(request.url))
    tab.on(
        "console",
        lambda message: errors.append(message.text) if message.type in ("error", "warning") else None,
    )
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.errors = errors
    yield tab
    context.close()
    assert urls
    assert [url for url in urls if not url.startswith(f"{server.url}/")] == []
    # The tests read the canvas often.
    assert [text for text in errors if "Multiple readback operations" not in text] == []


@pytest.fixture
def page(tab, request):
    """The page of a new user, named after the test."""
    return opened(tab, request.node.name)


def opened(tab, user, view="explore"):
    tab.goto(f"/?user={user}#{view}")
    expect(tab.locator("#panel-best .item").first).to_be_attached()
    expect(tab.locator("#map-note")).not_to_be_empty()
    return tab


def shown(page, panel):
    return [int(one) for one in page.locator(f"#panel-{panel} .item").evaluate_all(
        "rows => rows.map((row) => row.dataset.id)")]  # fmt: skip


@contextmanager
def settled(page):
    """Run a block that changes the lists, and wait until they have changed."""
    with page.expect_response(re.compile("/v1/users/")):
        yield
    expect(page.locator("main")).to_have_attribute("aria-busy", "false")


def best(server, user, query="k=8"):
    return [one["item_id"] for one in server.get(f"/v1/recommend/{user}?{query}")["items"]]


def like(page, place=0, panel="best", kind="like"):
    """Press a button in a panel, wait for the new lists, and return the item id."""
    item = shown(page, panel)[place]
    done = page.locator("#history .item").count()
    page.locator(f"#panel-{panel} .{kind}").nth(place).click()
    expect(page.locator("#history .item")).to_have_count(done + 1)
    return item


def test_search_shows_and_announces_results(page, server):
    title = server.get("/v1/items/7")["title"]
    page.get_by_role("searchbox", name="Search items").fill(title)
    expect(page.locator("#panel-search .title").first).to_have_text(title)
    assert 7 in shown(page, "search")
    expect(page.locator("#status")).to_contain_text("results for")
    page.fill("#query", "no such film at all")
    expect(page.locator("#panel-search .empty")).to_have_text("No results for “no such film at all”.")


def test_a_like_changes_the_lists_and_undo_restores_them(page, server, request):
    user = request.node.name
    expect(page.locator("#source")).to_contain_text("Nothing is known about this user yet")
    before = shown(page, "best")
    assert before == best(server, user)
    item = like(page, 2)
    after = shown(page, "best")
    assert item not in after
    assert after == best(server, user)
    assert after != [one for one in before if one != item] + after[7:]
    expect(page.locator("#source")).to_contain_text("events since training")
    expect(page.locator("#status")).to_contain_text("Liked")
    events = server.get(f"/v1/users/{user}")["events"]
    assert [(one["item_id"], one["kind"]) for one in events] == [(item, "like")]
    page.get_by_role("button", name="Undo last").click()
    expect(page.locator("#history .item")).to_have_count(0)
    assert shown(page, "best") == before
    expect(page.locator("#undo")).to_be_disabled()


def test_a_dislike_changes_the_lists_and_a_second_press_removes_it(page, server, request):
    like(page)
    like(page)
    before = shown(page, "best")
    title = server.get(f"/v1/items/{before[0]}")["title"]
    item = like(page, 0, kind="dislike")
    assert item == before[0]
    assert shown(page, "best") not in (before, before[1:])
    page.fill("#query", title)
    mark = page.locator(f'#panel-search .item[data-id="{item}"] .dislike')
    expect(mark).to_have_attribute("aria-pressed", "true")
    expect(mark).to_have_attribute("aria-label", f"Dislike {title}")
    page.locator(f'#panel-search .item[data-id="{item}"] .like').click()
    expect(mark).to_have_attribute("aria-pressed", "false")
    events = server.get(f"/v1/users/{request.node.name}")["events"]
    assert [one["kind"] for one in events if one["item_id"] == item] == ["like"]
    page.locator(f'#panel-search .item[data-id="{item}"] .like').click()
    expect(page.locator("#history .item")).to_have_count(2)
    assert shown(page, "best") == before


def test_panels_differ_and_show_propensities(page):
    page.fill("#query", "a")
    expect(page.locator("#panel-search .item")).to_have_count(8)
    like(page, 1)
    lists = [tuple(shown(page, panel)) for panel in ("search", "best", "noise", "buckets")]
    assert len(set(lists)) == 4
    assert {len(one) for one in lists} == {8}
    assert [len(set(one)) for one in lists] == [8] * 4
    expect(page.locator("#panel-buckets .reason").first).to_contain_text("% chance")
    expect(page.locator("#panel-best .reason").first).not_to_contain_text("chance")
    with settled(page):
        page.get_by_role("button", name="Resample").click()
    assert shown(page, "best") == list(lists[1])
    assert tuple(shown(page, "noise")) != lists[2]


def test_filters_apply_to_every_list(page, server):
    like(page)
    with settled(page):
        page.get_by_label("genres").select_option("Drama")
    with settled(page):
        page.get_by_label("year from").fill("1985")
    with settled(page):
        page.fill("#query", "a")
    expect(page.get_by_role("button", name="Remove all filters")).to_be_visible()
    for panel in ("search", "best", "noise", "buckets"):
        known = [server.get(f"/v1/items/{one}") for one in shown(page, panel)]
        assert known, panel
        assert all("Drama" in one["genres"] and one["year"] >= 1985 for one in known), panel
    with settled(page):
        page.get_by_role("button", name="Remove all filters").click()
    genres = [server.get(f"/v1/items/{one}")["genres"] for one in shown(page, "best")]
    assert not all("Drama" in one for one in genres)
    expect(page.get_by_label("genres")).to_have_value("")


def set_slider(page, name, value):
    with settled(page):
        page.get_by_label(re.compile(f"^{name}")).fill(value)


def test_sliders_change_only_their_lists(page):
    like(page, 3)
    set_slider(page, "Exploration", "0")
    still = shown(page, "best")
    assert shown(page, "noise") == still
    assert shown(page, "buckets") == still
    set_slider(page, "Exploration", "2")
    expect(page.locator("#exploration-value")).to_have_text("2.0")
    assert shown(page, "best") == still
    wild = shown(page, "noise"), shown(page, "buckets")
    assert still not in wild
    set_slider(page, "Diversity", "0.9")
    assert shown(page, "best") != still
    assert (shown(page, "noise"), shown(page, "buckets")) == wild


def test_reasons_and_similar_items(page, server):
    first = server.get(f"/v1/items/{like(page, 1)}")["title"]
    expect(page.locator("#panel-best .reason").first).to_contain_text(f"Because of {first} (")
    item = shown(page, "best")[0]
    page.locator("#panel-best .title").first.click()
    dialog = page.get_by_role("dialog", name=server.get(f"/v1/items/{item}")["title"])
    expect(dialog.get_by_role("heading", name="Why it is recommended")).to_be_visible()
    shares = [int(one.removesuffix("%")) for one in dialog.locator("dt").all_inner_texts() if "%" in one]
    assert abs(sum(shares) - 100) <= 2
    expect(dialog).to_contain_text(f"{server.get(f'/v1/items/{item}')['year']}")
    similar = [str(one["item_id"]) for one in server.get(f"/v1/similar/{item}?k=8")["items"]]
    rows = dialog.locator(".item")
    assert rows.evaluate_all("rows => rows.map((row) => row.dataset.id)") == similar
    rows.locator(".like").nth(1).click()
    expect(rows.locator(".like").nth(1)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator("#panel-best")).to_be_visible()


def count_colors(page):
    """Count the pixels of the map in each color of the legend."""
    return page.evaluate("""() => {
        const canvas = document.getElementById("map");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height), count = {};
        const probe = document.createElement("canvas").getContext("2d");
        for (const name of ["warm", "good", "bad", "accent"]) {
            probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
            probe.fillRect(0, 0, 1, 1);
            const [red, green, blue] = probe.getImageData(0, 0, 1, 1).data;
            count[name] = 0;
            for (let at = 0; at < data.length; at += 4)
                if (data[at] === red && data[at + 1] === green && data[at + 2] === blue && data[at + 3])
                    count[name]++;
        }
        count.any = data.filter((value, at) => at % 4 === 3 && value > 0).length;
        return count;
    }""")


def test_the_map_shows_items_picks_and_the_path(page, server):
    before = count_colors(page)
    assert before["any"] > 1000
    assert before["accent"] > 20
    assert (before["warm"], before["good"], before["bad"]) == (0, 0, 0)
    like(page, 0)
    one = count_colors(page)
    assert one["warm"] > 50
    like(page, 5)
    like(page, 7, kind="dislike")
    after = count_colors(page)
    assert after["warm"] > one["warm"]
    assert after["bad"] > 20
    assert after["good"] > 20
    chart = page.get_by_role("application", name="Item map")
    chart.focus()
    names = []
    for key in ("ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowDown"):
        chart.press(key)
        names.append(page.locator("#map-hover").inner_text())
    assert names[0] == server.get("/v1/map?most=1")["items"][0]["title"]
    assert len(set(names)) >= 3
    chart.press("Enter")
    expect(page.get_by_role("dialog", name=names[-1])).to_be_visible()
    page.get_by_role("button", name="Close").click()
    box = chart.bounding_box()
    for across in np.linspace(0.2, 0.8, 13):
        page.mouse.move(box["x"] + across * box["width"], box["y"] + box["height"] / 2)
        if page.locator("#map-hover").inner_text():
            break
    page.mouse.down()
    page.mouse.up()
    expect(page.get_by_role("dialog")).to_be_visible()


def test_html_in_titles_is_text(page, server):
    page.fill("#query", "onerror")
    expect(page.locator("#panel-search .title")).to_have_text([HOSTILE])
    like(page, panel="search")
    expect(page.locator("#history .title")).to_have_text(HOSTILE)
    expect(page.locator("#panel-best .reason").first).to_contain_text("<img src=x")
    page.locator("#panel-search .title").click()
    expect(page.get_by_role("dialog").get_by_role("heading", level=2)).to_have_text(HOSTILE)
    assert page.locator("img").count() == 1
    assert page.locator("main b").count() == 0
    assert page.title() == "segue"


def test_everything_by_keyboard(page):
    page.evaluate(
        "document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex')"
    )
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the lists")).to_be_focused()
    seen = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
        if page.evaluate("document.activeElement.matches('#panel-best .like')"):
            break
    assert seen >= {"to-operator", "user", "exploration", "diversity", "resample", "query", "title", "like"}
    before = shown(page, "best")
    page.keyboard.press("Space")
    expect(page.locator("#history .item")).to_have_count(1)
    expect(page.locator("#panel-best .like").first).to_be_focused()
    assert shown(page, "best")[0] != before[0]
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#history .item")).to_have_count(2)
    expect(page.locator("#history .reason").first).to_contain_text("dislike")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#panel-best .title").first).to_be_focused()


NAMELESS = """() => [...document.querySelectorAll("button, input, select, a, canvas, section, dialog, table")]
    .filter((one) => !(one.getAttribute("aria-label") || one.labels?.length || one.caption
        || one.textContent.trim() && !one.matches("section, dialog")
        || document.getElementById(one.getAttribute("aria-labelledby"))))
    .map((one) => one.outerHTML.slice(0, 80))"""
LOW_CONTRAST = """() => {
    const parts = (color) => color.match(/[\\d.]+/g).map(Number);
    const light = ([red, green, blue]) => [red, green, blue].map((one) => one / 255)
        .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
        .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
    const ground = (one) => {
        for (; one; one = one.parentElement) {
            const color = parts(getComputedStyle(one).backgroundColor);
            if (color[3] !== 0) return color;
        }
    };
    const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let count = 0;
    while (walk.nextNode()) {
        const one = walk.currentNode.parentElement;
        if (!walk.currentNode.data.trim() || !one.checkVisibility()) continue;
        if (one.closest("script, :disabled")) continue;
        const both = [light(parts(getComputedStyle(one).color)), light(ground(one))];
        const [high, low] = both.sort((a, b) => b - a);
        count++;
        if ((high + 0.05) / (low + 0.05) < 4.5) found.push(`${one.className} ${walk.currentNode.data}`);
    }
    return [count, found];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", ["explore", "operator"])
def test_names_headings_and_contrast(tab, scheme, view):
    tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    opened(tab, "reader", view) if view == "explore" else opened_operator(tab)
    if view == "explore" and not tab.locator("#history .item").count():
        like(tab)
    assert tab.evaluate(NAMELESS) == []
    count, pale = tab.evaluate(LOW_CONTRAST)
    assert count > 40
    assert pale == []
    assert tab.get_by_role("heading", level=1).count() == 1
    assert tab.get_by_role("main").count() == 1
    assert tab.get_by_role("navigation").count() == 1
    assert tab.evaluate("document.documentElement.lang") == "en"
    ids = tab.locator("[id]").evaluate_all("every => every.map((one) => one.id)")
    assert len(ids) == len(set(ids))


def test_dark_and_light_differ(page):
    grounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        grounds.append(sum(int(one) for one in re.findall(r"\d+", color)))
    assert grounds[0] > 3 * 200
    assert grounds[1] < 3 * 60


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_width_scrolls_horizontally(tab, width):
    tab.set_viewport_size({"width": width, "height": 700})
    opened(tab, "narrow")
    if not tab.locator("#history .item").count():
        like(tab)
    tab.fill("#query", "onerror")
    expect(tab.locator("#panel-search .item")).to_have_count(1)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("document.getElementById('settings').open") == (width >= 1000)
    tab.locator("#panel-search .title").click()
    box = tab.get_by_role("dialog").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    tab.keyboard.press("Escape")
    if width < 1000:
        tab.locator("summary").click()
        expect(tab.get_by_role("slider").first).to_be_visible()
    opened_operator(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def opened_operator(tab):
    tab.goto("/?user=reader#operator")
    expect(tab.locator("#routes table")).to_be_visible()
    expect(tab.locator("#explore")).to_be_hidden()
    return tab


def test_the_operator_view_shows_model_metrics_index_and_requests(tab, server):
    model = server.get("/v1/model")
    opened_operator(tab)
    expect(tab.locator("#version")).to_have_text(f"model {model['model_version']}")
    expect(tab.locator("#model")).to_contain_text(model["model"])
    assert tab.get_by_role("table", name="Evaluation").locator("td").all_inner_texts() == ["0.3125", "0.2500"]
    rows = tab.get_by_role("table", name="Indexes measured").locator("tbody tr")
    cells = [row.locator("th, td").all_inner_texts() for row in rows.all()]
    assert cells[0] == ["Exact(metric='dot')", "240", "–", "1.000", "9.5", "–", "40 kB", "chosen"]
    assert cells[1] == ["HNSW(metric='dot')", "240", "64", "0.970", "21.5", "400 ms", "90 kB", ""]
    assert cells[2][-1] == "recall too low"
    marks = tab.get_by_role("img", name="Recall and time").locator("circle")
    assert marks.evaluate_all("all => all.map((one) => one.getAttribute('class'))") == [
        "chosen",
        "mark",
        "mark",
    ]
    places = marks.evaluate_all("all => all.map((one) => [one.cx.baseVal.value, one.cy.baseVal.value])")
    assert places[2][0] < places[0][0] < places[1][0]
    assert places[0][1] < places[1][1] < places[2][1]
    expect(tab.locator(".tile", has_text="items").locator("b").first).to_have_text("240")
    counted = counts(tab)
    server.get("/v1/similar/1")
    server.get("/v1/similar/2")
    tab.get_by_role("button", name="Refresh").click()
    row = "/v1/similar/{item_id}"
    expect(tab.locator("#routes tr", has_text=row).locator("td").first).to_have_text(
        str(counted.get(row, 0) + 2)
    )
    tab.get_by_role("link", name="Explore").click()
    expect(tab.locator("#operator")).to_be_hidden()
    expect(tab.locator("#explore")).to_be_visible()


def counts(tab):
    return {
        row.locator("th").inner_text(): int(row.locator("td").first.inner_text())
        for row in tab.locator("#routes tbody tr").all()
    }


def test_trained_users_and_new_visitors(page, server):
    page.get_by_label("User id").fill("3")
    page.get_by_role("button", name="Go").click()
    expect(page.locator("#source")).to_have_text("Based on the training data.")
    expect(page.locator("#history-note")).to_contain_text("items in training")
    assert shown(page, "best") == best(server, 3)
    page.get_by_role("button", name="New visitor").click()
    expect(page.locator("#source")).to_contain_text("Nothing is known about this user yet")
    user = page.get_by_label("User id").input_value()
    assert user.startswith("visitor-")
    page.goto("/")
    expect(page.get_by_label("User id")).to_have_value(user)
    opened(page, "a%2Fb%20%3F%23")
    like(page)
    assert len(server.get("/v1/users/a/b%20%3F%23")["events"]) == 1


def test_a_failed_request_is_reported(page):
    page.route("**/v1/events", lambda route: route.abort())
    page.locator("#panel-best .like").first.click()
    expect(page.get_by_role("alert")).to_have_text("The service cannot be reached. Try again in a moment.")
    page.unroute("**/v1/events")
    like(page)
    expect(page.locator("#error")).to_be_hidden()
    assert "ERR_FAILED" in page.errors.pop()


def test_keys(browser, paged_folder, tmp_path):
    (tmp_path / "keys").write_text(f"writer read,write {WRITER}\nreader read {READER}\n")
    settings = Settings(str(paged_folder), f"sqlite:///{tmp_path}/events.sqlite", keys=str(tmp_path / "keys"))
    with serving(settings) as server:
        context = browser.new_context(base_url=server.url)
        tab = context.new_page()
        tab.goto("/")
        dialog = tab.get_by_role("dialog", name="This service requires an API key")
        for key in ("wrong", READER):
            dialog.get_by_label("API key").fill(key)
            dialog.get_by_role("button", name="Use key").click()
            if key == "wrong":
                expect(dialog.locator("#key-note")).to_contain_text("unknown")
        expect(tab.locator("#panel-best .item")).to_have_count(8)
        tab.locator("#panel-best .like").first.click()
        expect(tab.get_by_role("alert")).to_have_text("this API key lacks the write scope")
        context.close()
