import json, sys
from playwright.sync_api import sync_playwright

base = "http://127.0.0.1:8010"
creds = json.load(open("/work/main/.run/credentials.json"))
with sync_playwright() as p:
    b = p.chromium.launch(
        executable_path="/usr/bin/chromium",
        args=[
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ],
    )
    for who, scheme, w in [
        ("operator", "light", 1440),
        ("operator", "dark", 390),
        ("viewer", "light", 390),
        ("admin", "dark", 1440),
    ]:
        c = b.new_context(color_scheme=scheme, viewport={"width": w, "height": 900})
        pg = c.new_page()
        msgs = []
        pg.on("console", lambda m: msgs.append(m.text))
        pg.on("pageerror", lambda e: msgs.append(str(e)))
        pg.goto(base + "/admin/circuit/")
        if w == 1440 and who == "operator":
            pg.screenshot(path="/tmp/s_login.png")
        pg.fill("input[name=username]", who)
        pg.fill("input[name=password]", creds[who])
        pg.click("[type=submit]")
        pg.wait_for_load_state("networkidle") if False else pg.wait_for_timeout(2500)
        n = f"/tmp/s_{who}_{scheme}_{w}"
        pg.screenshot(path=n + "_circuit.png", full_page=True)
        if who == "operator" and w == 1440:
            pg.get_by_role("button", name="Trip").first.click()
            pg.wait_for_timeout(400)
            pg.screenshot(path=n + "_dialog.png")
            pg.fill("dialog[open] textarea", "Drawdown 6 % on book B; call ops@example.com")
            pg.select_option("dialog[open] select", "drawdown")
            pg.click("dialog[open] button[type=submit]")
            pg.wait_for_timeout(1800)
            pg.screenshot(path=n + "_tripped.png", full_page=True)
        pg.goto(base + "/admin/")
        pg.wait_for_timeout(800)
        pg.screenshot(path=n + "_overview.png", full_page=True)
        if who == "viewer":
            pg.goto(base + "/admin/circuit/trip/")
            pg.screenshot(path=n + "_403.png")
        if msgs:
            print(who, msgs)
    b.close()
