"use strict";
/*
 * What the pages do beyond plain HTML. Everything works without this file too, by full page loads;
 * it adds live updates, dialogs, the reader's own time zone and a few names Django's widgets lack.
 *
 *   1 live region     polling, the age of the reading, the stale banner, one announcement a change
 *   2 history         the table follows the breaker
 *   3 dialogs, forms  native <dialog>, double-submit guard, length counter
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
  const STALE_AFTER_SECONDS = 5; // CB-10: a reading is never shown as fresh beyond this
  const FAILED_AFTER_SECONDS = 2; // one lost poll is no news, two are
  const GRACE_MS = 2000; // after a tab comes back, before its old reading is called stale
  const HISTORY_DELAYS_MS = [300, 2000, 6000]; // an external change is recorded up to 5 s later (CB-9)

  const region = one("[data-poll]");
  const live = { readAt: 0, failure: "", paused: false, graceUntil: 0, leaving: false, shown: "", announced: "", version: "" };

  const ageSeconds = () => (performance.now() - live.readAt) / 1000;
  const clock = new Intl.DateTimeFormat(document.documentElement.lang || undefined, { timeStyle: "medium", hourCycle: "h23" });

  function ageText(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    return whole < 120 ? `${whole} s` : `${Math.floor(whole / 60)} min`;
  }

  function bannerText(age) {
    if (performance.now() < live.graceUntil || one("[data-stale]", region)) return ""; // the card itself says it is stale
    const failed = live.failure !== "" && age > FAILED_AFTER_SECONDS;
    if (!failed && age <= STALE_AFTER_SECONDS) return "";
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
    if (event.detail.elt === region && (live.paused || document.hidden)) event.preventDefault();
  }

  function afterPoll(event) {
    if (event.detail.elt !== region || live.leaving) return;
    const { xhr } = event.detail;
    if (xhr.status === 200 || xhr.status === 304) {
      const age = Number.parseFloat(xhr.getResponseHeader("X-Reading-Age"));
      live.readAt = performance.now() - (Number.isFinite(age) ? age : 0) * 1000;
      live.failure = "";
    } else {
      live.failure = xhr.status === 0 ? "connection lost" : `the portal answered with error ${xhr.status}`;
    }
    showAge();
  }

  /** An unchanged card is left alone, so that focus and selection never jump. */
  function beforeSwap(event) {
    if (event.detail.target !== region || event.detail.xhr.status !== 200) return;
    const fresh = canonical(event.detail.serverResponse);
    event.detail.shouldSwap = fresh !== live.shown;
    live.shown = fresh;
  }

  function afterSwap(event) {
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
    live.shown = canonical(region.innerHTML);
    const card = one("[data-announce]", region);
    live.announced = card?.dataset.announce ?? "";
    live.version = card?.dataset.version ?? "";
    all("[data-poll-toggle]").forEach((button) => { button.hidden = false; });
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
    if (event.detail.boosted) setText(document.getElementById("ops-announce"), one("[data-history-count]")?.textContent ?? "");
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
  const moment = new Intl.DateTimeFormat(document.documentElement.lang || undefined, {
    dateStyle: "medium",
    timeStyle: "medium",
    hourCycle: "h23",
  });

  function localTimes() {
    all("time[data-local]:not([title])").forEach((time) => {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.valueOf())) return;
      time.title = time.textContent.trim(); // UTC on hover (Q-2)
      time.textContent = moment.format(at);
    });
  }

  function runningDurations() {
    all("[data-elapsed]").forEach((element) => {
      const seconds = (Date.now() - new Date(element.dataset.elapsed).valueOf()) / 1000;
      if (!(seconds >= 0)) return;
      const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
      let rest = Math.floor(seconds);
      const parts = units.map(([unit, size]) => {
        const amount = Math.floor(rest / size);
        rest -= amount * size;
        return amount ? `${amount} ${unit}` : "";
      });
      setText(element, `(${parts.filter(Boolean).slice(0, 2).join(" ") || "0 s"})`);
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
    nameWidgets();
    labelLists();
    runningDurations();
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
