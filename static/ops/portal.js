"use strict";
/*
 * What the pages do beyond plain HTML. Everything works without this file too, by full page loads;
 * it adds live updates, dialogs, the reader's own time zone and a few names Django's widgets lack.
 *
 *   1 live region     polling, the age of the reading, the stale banner, one announcement a change
 *   2 history         the table follows the breaker
 *   3 dialogs, forms  native <dialog>, double-submit guard, length counter, copy button, leave guard
 *   4 menu
 *   5 enhancements    local times, running durations, accessible names
 */
(() => {
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));
  const setText = (element, text) => {
    // Writing the same text again would make screen readers repeat it.
    if (element && element.textContent !== text) element.textContent = text;
  };

  /* ------------------------------------------------------------ 1 live region */
  const STALE_AFTER_SECONDS = 5; // CB-10: a reading is never shown as fresh beyond this, unless its page says otherwise
  const GRACE_MS = 2000; // after a tab comes back, before its old reading is called stale
  const HISTORY_DELAYS_MS = [300, 2000, 6000]; // an external change is recorded up to 5 s later (CB-9)

  const region = one("[data-poll]");
  const staleAfter = Number.parseFloat(region?.dataset.staleAfter) || STALE_AFTER_SECONDS;
  const failedAfter = 2 * (Number.parseFloat(region?.dataset.poll) || 1); // one lost poll is no news, two are
  const live = { readAt: 0, failure: "", paused: false, graceUntil: 0, leaving: false, shown: "", announced: "", version: "", serverAt: Number.NaN };

  const ageSeconds = () => (performance.now() - live.readAt) / 1000;
  /** Now by the server's clock where the page tells it: the reader's own may be wrong, or be set while we look. */
  const serverNow = () => (Number.isFinite(live.serverAt) ? live.serverAt + ageSeconds() * 1000 : Date.now());
  const clock = new Intl.DateTimeFormat(document.documentElement.lang || undefined, { timeStyle: "medium", hourCycle: "h23" });

  function ageText(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    return whole < 120 ? `${whole} s` : `${Math.floor(whole / 60)} min`;
  }

  function bannerText(age) {
    if (performance.now() < live.graceUntil || one("[data-stale]", region)) return ""; // the card itself says it is stale
    const failed = live.failure !== "" && age > failedAfter;
    if (!failed && age <= staleAfter) return "";
    const since = clock.format(new Date(Date.now() - age * 1000));
    if (live.paused) return `Updates are paused. What is shown was read at ${since}.`;
    const trip = one("#trip-button:not([disabled])", region) ? " Trip is still offered." : "";
    const reset = one("#reset-button:not([disabled]), #reset-button[data-held]", region) ? " Reset is off until a fresh reading arrives." : "";
    return `Stale since ${since}${failed ? `: ${live.failure}` : ""}. What is shown may be wrong.${trip}${reset}`;
  }

  function showAge() {
    const age = ageSeconds();
    setText(one("[data-reading-age]"), `Read ${ageText(age)} ago${live.paused ? " (updates paused)" : ""}`);
    const banner = one("[data-stale-banner]");
    const text = bannerText(age);
    if (banner) {
      setText(banner, text);
      banner.hidden = text === "";
      banner.classList.toggle("banner--warn", live.paused);
      banner.classList.toggle("banner--bad", !live.paused);
    }
    region.toggleAttribute("data-aged", age > staleAfter); // nothing in it stays green (HM-4)
    holdReset(text !== "" && !live.paused);
  }

  function holdReset(hold) {
    const button = one("#reset-button", region);
    if (!button) return;
    if (hold && !button.disabled) {
      button.disabled = true;
      button.dataset.held = "";
    } else if (!hold && "held" in button.dataset) {
      button.disabled = false;
      delete button.dataset.held;
    }
  }

  const opened = new Set(); // what the reader had unfolded stays so

  /** The same HTML gives the same text, however the server spaced or quoted it. */
  function canonical(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.innerHTML.trim();
  }

  function pollNow() {
    window.htmx.trigger(region, "poll-now");
  }

  function beforePoll(event) {
    const { elt } = event.detail;
    if ((elt === region || "refresh" in elt.dataset) && (live.paused || document.hidden)) event.preventDefault();
  }

  /** A poll asks for what the address asks for: filters, a period, a page of a table. */
  function followAddress(event) {
    if (!("followAddress" in event.detail.elt.dataset)) return;
    new URLSearchParams(window.location.search).forEach((value, name) => { event.detail.parameters[name] = value; });
  }

  function afterPoll(event) {
    if (event.detail.elt !== region || live.leaving) return;
    const { xhr } = event.detail;
    if (xhr.status === 200 || xhr.status === 304) {
      const age = Number.parseFloat(xhr.getResponseHeader("X-Reading-Age"));
      live.readAt = performance.now() - (Number.isFinite(age) ? age : 0) * 1000;
      live.serverAt = Date.parse(xhr.getResponseHeader("X-Reading-At"));
      live.failure = "";
    } else {
      live.failure = xhr.status === 0 ? "connection lost" : `the portal answered with error ${xhr.status}`;
    }
    showAge();
  }

  /** An unchanged card is left alone, so that focus and selection never jump. */
  function beforeSwap(event) {
    all("details[open][id]", event.detail.target).forEach((details) => opened.add(details.id));
    if (event.detail.target !== region || event.detail.xhr.status !== 200) return;
    const fresh = event.detail.boosted ? "" : canonical(event.detail.serverResponse); // boosted: a whole page, to be swapped in
    event.detail.shouldSwap = fresh !== live.shown || event.detail.boosted;
    live.shown = fresh;
  }

  function afterSwap(event) {
    opened.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
    opened.clear();
    if (event.detail.target !== region) return;
    const card = one("[data-announce]", region);
    if (card && card.dataset.announce !== live.announced) {
      live.announced = card.dataset.announce;
      setText(document.getElementById("ops-announce"), live.announced);
    }
    if (card && card.dataset.version !== live.version) {
      live.version = card.dataset.version;
      HISTORY_DELAYS_MS.forEach((delay) => window.setTimeout(reloadHistory, delay));
    }
    showAge();
  }

  function togglePause(button) {
    live.paused = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(live.paused));
    if (!live.paused) resume();
    showAge();
  }

  function resume() {
    live.graceUntil = performance.now() + GRACE_MS;
    pollNow();
  }

  function startLiveRegion() {
    if (!region) return;
    const [navigation] = performance.getEntriesByType("navigation");
    const served = Number.parseFloat(one("[data-reading-age]")?.dataset.age) || 0;
    live.readAt = (navigation ? navigation.responseStart : 0) - served * 1000;
    live.serverAt = Date.parse(one("[data-reading-age]")?.dataset.at);
    live.shown = canonical(region.innerHTML);
    const card = one("[data-announce]", region);
    live.announced = card?.dataset.announce ?? "";
    live.version = card?.dataset.version ?? "";
    all("[data-poll-toggle]").forEach((button) => { button.hidden = false; });
    document.addEventListener("htmx:configRequest", followAddress);
    document.addEventListener("htmx:beforeRequest", beforePoll);
    document.addEventListener("htmx:afterRequest", afterPoll);
    document.addEventListener("htmx:beforeSwap", beforeSwap);
    document.addEventListener("htmx:afterSwap", afterSwap);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) resume(); });
    window.addEventListener("online", pollNow);
    window.addEventListener("pagehide", () => { live.leaving = true; }); // its aborted poll is no failure
    window.addEventListener("pageshow", () => { live.leaving = false; });
    window.setInterval(showAge, 1000);
    showAge();
  }

  /* ------------------------------------------------------------ 2 history */
  function reloadHistory() {
    const history = document.getElementById("history");
    if (!history || document.hidden || live.paused) return;
    window.htmx.ajax("GET", history.dataset.history + window.location.search, { target: "#history", swap: "innerHTML" });
  }

  /** Says how many rows a filter left; only for what the reader asked, never for refreshes. */
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.boosted) setText(document.getElementById("ops-announce"), one("[data-history-count], [data-result-count]")?.textContent ?? "");
  });

  /* ------------------------------------------------------------ 3 dialogs, forms */
  function openDialog(opener, event) {
    const dialog = document.getElementById(opener.dataset.dialogOpen);
    if (!dialog?.showModal) return; // the form then leads to the full page
    event.preventDefault();
    // The version on show when the form is opened: the server refuses it if the state has moved since.
    const version = one("[data-version]", region)?.dataset.version;
    const field = one("form[data-follows] input[name=expected_version]", dialog);
    if (field && version) field.value = version;
    dialog.dataset.opener = opener.id;
    dialog.showModal();
    one("textarea", dialog)?.focus();
  }

  // A swap may have replaced the button that opened it; the new one has the same id.
  document.addEventListener("close", (event) => {
    if (event.target instanceof HTMLDialogElement) document.getElementById(event.target.dataset.opener)?.focus();
  }, true);

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-dialog-open]");
    if (opener) openDialog(opener, event);
    if (event.target.closest("[data-dialog-close]")) event.target.closest("dialog").close();
    const pause = event.target.closest("[data-poll-toggle]");
    if (pause) togglePause(pause);
    if (event.target.closest(".ops-menu")) toggleMenu();
  });

  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-once]");
    if (!form) return;
    if ("sent" in form.dataset) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "";
    // Later, because a button disabled now would not be part of what is sent.
    window.setTimeout(() => all("button[type=submit]", form).forEach((button) => { button.disabled = true; }));
  });

  /* A list with ticks: all on the page at once, and how many are ticked. */
  function countSelected(form) {
    const ticks = all("input[type=checkbox]:not([data-select-all])", form);
    const ticked = ticks.filter((tick) => tick.checked).length;
    const allOfThem = one("[data-select-all]", form);
    if (allOfThem) {
      allOfThem.hidden = false;
      allOfThem.checked = ticked > 0 && ticked === ticks.length;
      allOfThem.indeterminate = ticked > 0 && ticked < ticks.length;
    }
    const told = one("[data-selection-count]", form);
    if (told && (ticked > 0 || "told" in told.dataset)) {
      told.dataset.told = "";
      setText(told, `${ticked} selected. The next page shows what would change before anything is done.`);
    }
  }

  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-selection]");
    if (!form) return;
    if ("selectAll" in event.target.dataset) {
      all("input[type=checkbox]:not([data-select-all])", form).forEach((tick) => { tick.checked = event.target.checked; });
    }
    countSelected(form);
  });

  window.addEventListener("pageshow", () => all("form[data-selection]").forEach(countSelected)); // a browser keeps ticks

  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    all("form[data-sent]").forEach((form) => {
      delete form.dataset.sent;
      all("button[type=submit]", form).forEach((button) => { button.disabled = false; });
    });
  });

  /** Counts as the server does: spaces at the ends and runs of spaces do not help. */
  function count(field) {
    const counter = one(`[data-counter="${CSS.escape(field.id)}"]`);
    if (!counter || field.minLength < 1) return;
    const length = Array.from(field.value.trim().replace(/\s+/g, " ")).length;
    const met = length >= field.minLength;
    counter.hidden = false;
    counter.classList.toggle("counter--met", met);
    setText(counter, met ? `${length} characters: enough` : `${length} of at least ${field.minLength} characters`);
    field.setCustomValidity(met || length === 0 ? "" : `At least ${field.minLength} characters are needed; there are ${length}.`);
  }

  document.addEventListener("input", (event) => {
    if (event.target instanceof HTMLTextAreaElement) count(event.target);
  });

  /** Copies a field's text. Without the clipboard's permission (plain HTTP) the selection is copied the old way. */
  async function copy(button) {
    const field = document.getElementById(button.dataset.copy);
    const said = document.getElementById(`${button.dataset.copy}-copied`);
    let done = true;
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      field.select();
      done = document.execCommand("copy");
    }
    setText(button, done ? "Copied" : "Copy");
    setText(said, done ? "Copied" : "The browser does not let this page copy. It is selected: copy it with Ctrl+C.");
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });

  /** What is shown once is not lost by a slip: the browser asks, until the tick says that it is stored. */
  window.addEventListener("beforeunload", (event) => {
    const guard = one("[data-leave-guard]");
    if (guard && !document.getElementById(guard.dataset.leaveGuard)?.checked) event.preventDefault();
  });

  /* ------------------------------------------------------------ 4 menu */
  function toggleMenu(open = !one("#ops-nav")?.classList.contains("is-open")) {
    const nav = one("#ops-nav");
    const button = one(".ops-menu");
    nav?.classList.toggle("is-open", open);
    button?.setAttribute("aria-expanded", String(open));
    if (open) one("a", nav)?.focus();
    else button?.focus();
  }

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && one("#ops-nav.is-open")) toggleMenu(false);
  });

  /* ------------------------------------------------------------ 5 enhancements */
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  // Filters and forms take UTC: who reads in another zone is told which, so that nobody mixes the two up.
  const zoneName = zone === "UTC" ? {} : { timeZoneName: "short" };
  const moment = new Intl.DateTimeFormat(document.documentElement.lang || undefined, {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", ...zoneName,
  });

  function localTimes() {
    all("time[data-local]:not([title])").forEach((time) => {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.valueOf())) return;
      time.title = time.textContent.trim(); // UTC on hover (Q-2)
      time.textContent = moment.format(at);
      time.toggleAttribute("data-zoned", "timeZoneName" in zoneName);
    });
  }

  const CLOCKS = { time: { timeStyle: "short", hourCycle: "h23" }, day: { weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" } };
  const clocks = Object.fromEntries(Object.entries(CLOCKS).map(([shape, options]) => [shape, new Intl.DateTimeFormat("en-GB", options)]));

  /** Charts: the axis in the reader's zone, what the pointer shows in both. */
  function localCharts() {
    all("[data-zone]:not([data-told])").forEach((element) => {
      element.dataset.told = "";
      setText(element, `Times are ${zone}.`);
    });
    all("text[data-clock]:not([data-told])").forEach((tick) => {
      tick.dataset.told = "";
      setText(tick, clocks[tick.dataset.clock].format(new Date(tick.dataset.at)));
    });
    all("title[data-at]:not([data-told])").forEach((title) => {
      title.dataset.told = "";
      if (zone !== "UTC") setText(title, `${clocks.time.format(new Date(title.dataset.at))} here. ${title.textContent}`);
    });
  }

  function durationText(seconds) {
    const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
    let rest = Math.floor(seconds);
    const parts = units.map(([unit, size]) => {
      const amount = Math.floor(rest / size);
      rest -= amount * size;
      return amount ? `${amount} ${unit}` : "";
    });
    return parts.filter(Boolean).slice(0, 2).join(" ") || "0 s";
  }

  function runningDurations() {
    const now = serverNow();
    const since = (text) => (now - new Date(text).valueOf()) / 1000;
    all("[data-elapsed]").forEach((element) => {
      const seconds = since(element.dataset.elapsed);
      if (seconds >= 0) setText(element, `(${durationText(seconds)}${"past" in element.dataset ? " ago" : ""})`);
    });
    all("time[data-ago]").forEach((time) => {
      if (!time.title) time.title = time.textContent; // UTC on hover (Q-2)
      setText(time, `${durationText(Math.max(0, since(time.dateTime)))} ago`);
    });
    // A status that a reply vouches for is taken back when that reply has grown too old, whether polls come or not (HM-4).
    all("[data-keeps]:not([data-keeps=''])").forEach((element) => {
      const reply = one("[data-ago], [data-past]", element);
      const at = reply?.dateTime ?? reply?.dataset.elapsed;
      element.toggleAttribute("data-aged", since(at) > Number.parseFloat(element.dataset.keeps));
    });
  }

  /** Names that Django's own widgets lack (axe: aria-allowed-attr, aria-input-field-name). */
  function nameWidgets() {
    all("span.help-tooltip[aria-label]:not([role])").forEach((tip) => tip.setAttribute("role", "img"));
    all("select.admin-autocomplete").forEach((select) => {
      const label = select.id && one(`label[for="${CSS.escape(select.id)}"]`);
      const box = one(".select2-selection[role=combobox]", select.parentElement);
      const value = box && one(".select2-selection__rendered", box);
      if (!label || !value || value.hasAttribute("aria-labelledby")) return;
      label.id = label.id || `${select.id}_label`;
      box.setAttribute("aria-labelledby", `${label.id} ${box.getAttribute("aria-labelledby") || ""}`.trim());
      value.setAttribute("aria-labelledby", label.id);
    });
  }

  /** Column names into the cells, for the one-card-a-row layout on phones. */
  function labelLists() {
    all("#result_list:not(.is-labelled)").forEach((table) => {
      const names = all("thead th", table).map((head) => one(".text", head)?.textContent.trim() ?? "");
      all("tbody tr", table).forEach((row) => Array.from(row.cells).forEach((cell, index) => {
        if (names[index]) cell.dataset.label = names[index];
      }));
      table.classList.add("is-labelled");
    });
  }

  function enhance() {
    localTimes();
    localCharts();
    nameWidgets();
    labelLists();
    runningDurations();
    all("[data-copy][hidden]").forEach((button) => { button.hidden = false; });
    all("[data-select-all][hidden]").forEach((tick) => { tick.hidden = false; }); // also of a table that was swapped in
    all("[data-counter]").forEach((counter) => {
      const field = document.getElementById(counter.dataset.counter);
      if (field && counter.hidden) count(field);
    });
  }

  startLiveRegion(); // first: it compares with the HTML as it came
  enhance();
  // Not on "load": swaps and Django's widgets add elements at any time.
  new MutationObserver(enhance).observe(document.body, { childList: true, subtree: true });
  window.setInterval(runningDurations, 1000);
})();
